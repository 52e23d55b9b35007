# SPDX-License-Identifier: Apache-2.0
"""`python -m lipbench`."""

from lipbench.cli import main

main()
