# SPDX-License-Identifier: Apache-2.0
"""From a YAML file to the exact cells that run."""
