# SPDX-License-Identifier: Apache-2.0
"""One module a format; each turns the same boards into text and escapes every string for its format."""
