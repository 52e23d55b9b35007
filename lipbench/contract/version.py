# SPDX-License-Identifier: Apache-2.0
"""Version of the public surface."""

API_VERSION = 1
"""It changes when a plugin written for it could break; a plugin may state it as `lipbench_api = 1`."""
