# SPDX-License-Identifier: Apache-2.0
"""From records to tables: pure functions that touch no model and no method."""
