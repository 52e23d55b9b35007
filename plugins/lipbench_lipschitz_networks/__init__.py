# SPDX-License-Identifier: Apache-2.0
"""Networks that are 1-Lipschitz by construction: layers, optimal-transport losses, certificates, and what holds of them."""
