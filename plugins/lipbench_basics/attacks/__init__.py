# SPDX-License-Identifier: Apache-2.0
"""Adversarial attacks on classifiers, and controls for them, as methods that any task may take."""

from __future__ import annotations

from .adaptive import AdaptivePGD
from .base import Attack, Victim
from .carlini_wagner import CarliniWagnerL2
from .control import RandomSign
from .gradient import FGSM, PGD, Transfer
from .precomputed import Precomputed

__all__ = ["FGSM", "PGD", "AdaptivePGD", "Attack", "CarliniWagnerL2", "Precomputed", "RandomSign", "Transfer", "Victim"]
