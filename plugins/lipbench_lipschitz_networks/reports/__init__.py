# SPDX-License-Identifier: Apache-2.0
"""The audit, tables and plots; no torch here."""
