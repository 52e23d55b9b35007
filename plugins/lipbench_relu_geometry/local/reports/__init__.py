# SPDX-License-Identifier: Apache-2.0
"""Tables and plots of the task `locally_linear`."""
