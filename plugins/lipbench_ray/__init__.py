# SPDX-License-Identifier: Apache-2.0
"""An executor on a Ray cluster: works run on its machines, and what comes of them is streamed back to the one writer."""
