# SPDX-License-Identifier: Apache-2.0
"""The models of the plugin."""
