# SPDX-License-Identifier: Apache-2.0
"""Makes a new plugin: a package that installs, is discovered, runs in a suite of its own and passes its own tests."""
