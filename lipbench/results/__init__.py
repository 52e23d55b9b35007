# SPDX-License-Identifier: Apache-2.0
"""Records on disk, and where they came from."""
