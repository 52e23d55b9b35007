# SPDX-License-Identifier: Apache-2.0
"""lipbench: a plugin-based evaluation harness for the geometry of learning."""

__version__ = "0.1.0"
