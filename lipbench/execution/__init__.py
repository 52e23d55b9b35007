# SPDX-License-Identifier: Apache-2.0
"""Running a plan: work, workers, artifacts, and the one writer of records."""
