# SPDX-License-Identifier: Apache-2.0
"""Many dense networks of one shape, trained at once as stacked tensors; each learns what it would learn alone."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.utils import parametrize

from lipbench.api import InvalidInput, NotFinite

from .constraints import SETTLING, Frobenius, Orthonormal, settle
from .layers import plain
from .losses import evaluate, signs, total

ROWS = 2**16
"""Rows of all networks together that go through at once when all training rows are looked at."""


class Stack:
    """S = R M networks of one shape on R samples, M on each: see `Trainee`.

    Kernels are stacked as (S, out, in), constrained by batched products of matrices and called under `vmap`. The loss is a sum, so
    no network sees another: its numbers are those of a stack of it alone, to the bit where a batched product of matrices does not
    depend on how many there are from two on, as with MKL, and otherwise up to rounding.

    Args:
        networks: S constrained or free networks, those of one sample one after the other; `settle` writes the weights back.
        weights: (4, S) of `losses.terms`.
        x: (R, N, *shape) training inputs.
        y: (R, N) classes.
        margin: Of the hinge that is looked at.

    Raises:
        InvalidInput: A network has layers that cannot be stacked.
    """

    def __init__(self, networks: Sequence[nn.Sequential], weights: Tensor, x: Tensor, y: Tensor, margin: float) -> None:
        if len(networks) == 1:
            # Libraries multiply one matrix in another way than many, and a network should be the same in any stack.
            networks, weights = [*networks, copy.deepcopy(networks[0])], weights.expand(-1, 2)
        self.networks, self.weights, self.x, self.y, self.margin = networks, weights.to(x), x, y, margin
        self.skeleton = plain(networks[0]).to(x.device)
        self.each = len(networks) // len(x)
        self.raw: dict[str, Tensor] = {}
        self.constraints: dict[str, nn.Module] = {}
        for i, part in enumerate(networks[0]):
            if isinstance(part, nn.Linear):
                parts = [net[i] for net in networks]
                self.raw[f"{i}.weight"] = _stacked([_raw(p) for p in parts], x)
                self.raw[f"{i}.bias"] = _stacked([_bias(p) for p in parts], x)
                self.constraints[f"{i}.weight"] = _constraint(parts).to(x.device).train()

    def parameters(self) -> Iterable[Tensor]:
        """Stacked kernels and biases."""
        return self.raw.values()

    def loss(self, rows: Tensor) -> Tensor:
        """The sum of all losses on rows (R, B), those of each sample."""
        take = torch.arange(len(rows), device=rows.device)[:, None], rows
        s = self._spread(signs(self.y[take]))
        return total(self._outputs(self._used(self.constraints), self._spread(self.x[take])), s, self.weights).sum()

    def _spread(self, samples: Tensor) -> Tensor:
        """(R, ...) -> (S, ...)."""
        return samples[:, None].expand(-1, self.each, *samples.shape[1:]).flatten(0, 1)

    def _used(self, constraints: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        return {name: constraints[name](raw) if name in constraints else raw for name, raw in self.raw.items()}

    def _outputs(self, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """(S, B, *shape) -> (S, B)."""
        f: Tensor = vmap(lambda w, rows: functional_call(self.skeleton, w, (rows,)))(dict(weights), x)
        return f[..., 0]

    @torch.no_grad()
    def look(self) -> Mapping[str, Tensor]:
        """Of all training rows: each value of `training.look` for each network, (S, ...)."""
        settled = copy.deepcopy(self.constraints)
        for part in settled.values():
            if isinstance(part, Orthonormal):
                part.niter_spectral = SETTLING
        used = self._used(settled)
        size = max(1, ROWS // len(self.networks))
        f = torch.cat([self._outputs(used, self._spread(part)) for part in self.x.split(size, dim=1)], 1).cpu()
        y = self._spread(self.y).cpu()
        pairs = [evaluate(f[i][:, None], y[i], self.margin) for i in range(len(f))]
        found = {name: torch.tensor([p[name] for p in pairs], dtype=torch.float64) for name in ("kr", "hinge")}
        for kind, kernels in (("raw", self.raw), ("bound", used)):
            values = [_singular(kernels[name]) for name in self.constraints]
            found[f"{kind}_min"] = torch.stack([v[:, -1] for v in values], 1)
            found[f"{kind}_max"] = torch.stack([v[:, 0] for v in values], 1)
        return found

    @torch.no_grad()
    def settle(self) -> None:
        """Give the networks their weights back and bring their estimates up to them."""
        for i, net in enumerate(self.networks):
            for j, part in enumerate(net):
                if isinstance(part, nn.Linear):
                    _raw(part).copy_(self.raw[f"{j}.weight"][i])
                    _bias(part).copy_(self.raw[f"{j}.bias"][i])
                    constraint = self.constraints[f"{j}.weight"]
                    if isinstance(constraint, Orthonormal):
                        constraint.give(i, _parts(part)[0])
            settle(net)


def _raw(layer: nn.Module) -> Tensor:
    kernel = layer.parametrizations["weight"].original if parametrize.is_parametrized(layer, "weight") else layer.weight  # type: ignore[index, union-attr]
    assert isinstance(kernel, Tensor)  # noqa: S101  (the kernel of a layer is one)
    return kernel


def _bias(layer: nn.Module) -> Tensor:
    assert isinstance(layer.bias, Tensor)  # noqa: S101  (dense networks have them)
    return layer.bias


def _parts(layer: nn.Module) -> list[nn.Module]:
    """The constraints of a layer's kernel, in the order in which they are applied."""
    return list(layer.parametrizations["weight"])  # type: ignore[index]


def _stacked(tensors: Sequence[Tensor], like: Tensor) -> Tensor:
    return torch.stack([t.detach() for t in tensors]).to(like.device).requires_grad_()


def _constraint(layers: Sequence[nn.Module]) -> nn.Module:
    """One constraint for the stacked kernels of layers that have the same one."""
    if not parametrize.is_parametrized(layers[0], "weight"):
        return nn.Identity()
    first, *others = (_parts(layer)[0] for layer in layers)
    if isinstance(first, Orthonormal):
        return Orthonormal.stack([first, *(p for p in others if isinstance(p, Orthonormal))])
    if isinstance(first, Frobenius):
        return Frobenius(first.factor, stacked=True)
    raise InvalidInput("layers of deel-torchlip stop by a tolerance, so they cannot be stacked; write norm: bjorck")


def _singular(kernels: Tensor) -> Tensor:
    """(S, k) float64, in descending order."""
    if not bool(kernels.isfinite().all()):
        raise NotFinite("a kernel is not finite while training; write a smaller lr:")
    return torch.linalg.svdvals(kernels.detach().double().cpu())
