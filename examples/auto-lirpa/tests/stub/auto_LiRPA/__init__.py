# SPDX-License-Identifier: Apache-2.0
"""Stands in for auto_LiRPA where that cannot be imported: interval arithmetic, whichever method is asked for."""

import torch


class PerturbationLpNorm:
    """A box."""

    def __init__(self, norm, eps):
        assert norm == float("inf")
        self.eps = eps


class BoundedTensor(torch.Tensor):
    """A centre with a box around it."""

    @staticmethod
    def __new__(cls, centre, box):
        return torch.Tensor._make_subclass(cls, centre)

    def __init__(self, centre, box):
        self.box = box


class BoundedModule:
    """A network whose bounds can be asked for; it knows what an mlp consists of."""

    def __init__(self, module, example):
        self.module = module

    def compute_bounds(self, x, method):
        """Bounds on the outputs."""
        (given,) = x
        centre = given.as_subclass(torch.Tensor)
        lower, upper = centre - given.box.eps, centre + given.box.eps
        for layer in self.module.modules():
            if next(layer.children(), None) is not None:
                continue
            if isinstance(layer, torch.nn.Linear):
                middle, half = layer((lower + upper) / 2), (upper - lower) / 2 @ layer.weight.abs().T
                lower, upper = middle - half, middle + half
            else:  # flattening, rescaling and activations, none of which falls
                lower, upper = layer(lower), layer(upper)
        return lower, upper
