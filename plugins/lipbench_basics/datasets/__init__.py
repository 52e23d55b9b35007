# SPDX-License-Identifier: Apache-2.0
"""Where the arrays come from; nothing here touches the network."""
