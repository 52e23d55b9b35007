# SPDX-License-Identifier: Apache-2.0
"""What is said of a whole suite: an audit, tables and plots, all made from records alone, without torch."""
