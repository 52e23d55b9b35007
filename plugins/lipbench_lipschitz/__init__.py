# SPDX-License-Identifier: Apache-2.0
"""How steep is a network? Lower, upper and exact values of Lipschitz constants, and what rounding does to them."""
