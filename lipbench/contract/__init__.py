# SPDX-License-Identifier: Apache-2.0
"""The types that the core and its plugins share; plugins reach them through `lipbench.api`."""
