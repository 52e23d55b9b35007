# SPDX-License-Identifier: Apache-2.0
"""The user's own network as a torch.export file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export.graph_signature import InputKind, OutputKind

from lipbench.api import Context, DataSpec, InvalidInput, Network, data_root

from .layers import check_shapes
from .pt2 import load_program


class Exported(Network):
    """A network from a `.pt2` file, its source code not needed.

    Make the file with `torch.export.save(torch.export.export(net.eval(), (x,), dynamic_shapes=({0: Dim("batch")},)), path)`,
    where `x` is a batch of two raw inputs: any change of units belongs into the network. The batch must be dynamic. The file
    is read as data, never as code: one that holds Python objects, compiled code or operators outside torch's own is refused.
    White-box estimators, and `layer: embedding`, need a network with layers and do not apply; use `imported` for those.

    Args:
        path: The file, absolute, from the working directory, or from the data folder.
    """

    def __init__(self, *, path: str) -> None:
        self.path = path

    def files(self) -> Sequence[Path]:
        """The file."""
        return [find_weights(self.path)]

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """The program as a module."""
        file = find_weights(self.path)
        module = Program(load_program(file), str(file))
        module.check(spec)
        check_shapes(module, spec, str(file))
        return module


class Program(nn.Module):
    """An exported program with its weights as parameters, so that it can be copied, moved and cast like any module."""

    def __init__(self, program: torch.export.ExportedProgram, who: str) -> None:
        super().__init__()
        self.who = who
        self.graph = program.graph_module
        self.places: list[str | None] = []
        """For each argument of the graph, the attribute that holds it; None for the input."""
        outputs = [spec.kind for spec in program.graph_signature.output_specs]
        if outputs != [OutputKind.USER_OUTPUT]:
            raise InvalidInput(f"{who} must give one tensor and change nothing; export net.eval() with a single output")
        held: dict[str, object] = {**program.constants, **program.state_dict}
        for i, spec in enumerate(program.graph_signature.input_specs):
            self.places.append(None if spec.kind is InputKind.USER_INPUT else self._hold(i, held.get(str(spec.target))))
        if self.places.count(None) != 1:
            raise InvalidInput(f"{who} takes {self.places.count(None)} inputs, one batch is what it must take")
        node = [n for n in self.graph.graph.nodes if n.op == "placeholder"][self.places.index(None)]
        value = node.meta.get("val")
        self.shape: tuple[object, ...] = tuple(value.shape) if isinstance(value, Tensor) else ()

    def _hold(self, i: int, value: object) -> str:
        if not isinstance(value, Tensor):
            raise InvalidInput(f"{self.who} is damaged: the tensor of its argument {i} is missing")
        if isinstance(value, nn.Parameter):
            self.register_parameter(f"value_{i}", nn.Parameter(value.detach(), requires_grad=False))
        else:
            self.register_buffer(f"value_{i}", value.detach())
        return f"value_{i}"

    def check(self, spec: DataSpec) -> None:
        """Compare with the data.

        Raises:
            InvalidInput: A fixed batch, or another shape of input.
        """
        if not self.shape or isinstance(self.shape[0], int):
            raise InvalidInput(
                f"{self.who} has a fixed batch; export it with dynamic_shapes=({{0: torch.export.Dim('batch')}},)"
            )
        if self.shape[1:] != spec.shape:
            raise InvalidInput(f"{self.who} takes inputs of shape {self.shape[1:]}, the data has {spec.shape}")

    def forward(self, x: Tensor) -> Tensor:
        """Run the graph on a batch."""
        result = self.graph(*[x if place is None else getattr(self, place) for place in self.places])
        return result[0] if isinstance(result, (tuple, list)) else result


def find_weights(path: str) -> Path:
    """A file given absolutely, from the working directory, or from the data folder.

    Raises:
        InvalidInput: It is in none of these places.
    """
    given = Path(path).expanduser()
    for place in (given, data_root() / given):
        if place.is_file():
            return place
    looked = " and ".join(dict.fromkeys(str(p.absolute()) for p in (given, data_root() / given)))
    raise InvalidInput(f"no file {looked}; mend path:, or set LIPBENCH_DATA to the folder that has it")
