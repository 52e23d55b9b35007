# SPDX-License-Identifier: Apache-2.0
"""Linear maps between embedding spaces and the detectors of adversarial inputs that they carry over."""
