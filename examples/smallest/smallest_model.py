import math

import torch
from torch import nn

from lipbench.api import Component, Context, DataSpec, Network, hookimpl


class Rotation(Network):
    """A random rotation or reflection of the input; its Lipschitz constant is 1."""

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        size = math.prod(spec.shape)
        layer = nn.Linear(size, size, bias=False)
        noise = torch.randn(size, size, generator=ctx.generator("weights"))
        layer.weight.data = torch.linalg.qr(noise).Q
        return nn.Sequential(nn.Flatten(), layer)


@hookimpl
def lipbench_components():
    yield Component(kind="model", name="rotation", factory="smallest_model:Rotation", summary="a random rotation")
