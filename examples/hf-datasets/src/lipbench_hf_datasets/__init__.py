# SPDX-License-Identifier: Apache-2.0
"""Local files through Hugging Face datasets as a plugin of lipbench."""
