# SPDX-License-Identifier: Apache-2.0
"""The geometry engine: exact in float64 up to the tolerances that each module states; it knows no task and no suite."""
