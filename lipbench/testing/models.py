# SPDX-License-Identifier: Apache-2.0
"""Checks of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from lipbench.contract.components import Dataset, Model, Network
from lipbench.execution.artifacts import Artifacts
from lipbench.testing.arrays import copied, different
from lipbench.testing.common import COMMON
from lipbench.testing.kit import Checks, Conformance, DoesNotApply, Subject, dataset_of, find, global_seed

Probe = Callable[[Any, torch.Tensor], torch.Tensor]
ROWS = 8
TOLERANCE = 1e-4
"""Relative to the largest output: what other batches and types of float32 may change."""


@dataclass(frozen=True, kw_only=True)
class ModelSubject(Subject):
    """A model under test, and the data that it is built for."""

    data: Dataset
    probe: Probe | None = None

    @cached_property
    def inputs(self) -> torch.Tensor:
        """(`ROWS` or less, *shape) test rows."""
        return torch.from_numpy(self.data.split("test", self.context()).inputs[:ROWS])

    @cached_property
    def ready(self) -> Model:
        """One that is built and, where it learns, fitted. Not to be changed."""
        return self.fit() if self.fitted else self.build()

    @property
    def fitted(self) -> bool:
        """Whether the harness calls its `fit`."""
        return bool(self.cls.fitted)  # type: ignore[attr-defined]

    def build(self, seed: int = 0, world: int = 0) -> Any:
        """A new one, built, with the global generators at `world`."""
        made: Model = self.make()
        with global_seed(world):
            made.build(self.data.spec(), self.context(seed))
        return made

    def fit(self, seed: int = 0) -> Any:
        """A new one, built and fitted, with the global generators as the harness would set them."""
        made = self.build(seed)
        with global_seed(7 + seed):
            made.fit(self.data, self.context(seed))
        return made

    def answer(self, model: Any, inputs: torch.Tensor | None = None) -> torch.Tensor:
        """What it makes of inputs, (B, *shape) -> (B, ...)."""
        rows = self.inputs if inputs is None else inputs
        if self.probe is None and not isinstance(model, Network):
            raise DoesNotApply("it is no Network; give probe=, a function of the model and inputs")
        with torch.inference_mode():
            return self.probe(model, rows) if self.probe else model.module(rows)

    def twin(self) -> Network:
        """Another one in the same state, which may be changed."""
        self.module()
        other: Network = self.build()
        if state := self.ready.state():
            other.load_state({name: tensor.clone() for name, tensor in state.items()})
        return other

    def module(self) -> torch.nn.Module:
        """The torch network."""
        if not isinstance(self.ready, Network):
            raise DoesNotApply("it is no Network")
        return self.ready.module


def building(subject: ModelSubject) -> Iterable[str]:
    """Building hangs on the seed of the context alone, and not on global generators."""
    one, elsewhere = (copied(dict(subject.build(world=w).state())) for w in (0, 1))
    for name in different(one, elsewhere):
        yield f"the initial {name!r} hangs on a global random generator; draw from ctx.generator()"


def fitting(subject: ModelSubject) -> Iterable[str]:
    """The same seed fits the same state, bit for bit; what is learned is finite and is in `state()`."""
    if not subject.fitted:
        if subject.cls.fit is Model.fit:  # type: ignore[attr-defined]
            raise DoesNotApply("it is not fitted")
        yield "it defines fit, but `fitted` is False, so the harness never calls it"
        return
    before = copied(subject.data.split("train", subject.context()))
    state, again = (copied(dict(model.state())) for model in (subject.ready, subject.fit()))
    if not state:
        yield "it is fitted, but state() is empty, so that nothing that it learned is kept"
    for name in different(state, again):
        yield f"fitting twice with one seed gives another {name!r}; draw from ctx alone"
    initial = copied(dict(subject.build().state()))
    if state and not different(initial, state):
        yield "fit changes nothing in state()"
    for name, tensor in state.items():
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            yield f"{name!r} is not finite after fit"
    if different(before, copied(subject.data.split("train", subject.context()))):
        yield "fit writes to the rows of its dataset; copy before writing"


def state(subject: ModelSubject) -> Iterable[str]:
    """`state()` goes through a file into a new one, which then answers the same, bit for bit."""
    kept = dict(subject.ready.state())
    for name, value in kept.items():
        if not isinstance(value, torch.Tensor):
            yield f"state()[{name!r}] is a {type(value).__name__}; a state holds tensors alone"
            return
    if not kept:
        raise DoesNotApply("its state is empty")
    with TemporaryDirectory() as folder:
        Artifacts(Path(folder)).save("state", kept, {})
        loaded = Artifacts(Path(folder)).load("state")
    other = subject.build(seed=1)
    other.load_state({name: tensor.clone() for name, tensor in loaded.items()})
    for name in different(copied(kept), copied(dict(other.state()))):
        yield f"{name!r} is not the same after state() and load_state()"
    if not torch.equal(subject.answer(subject.ready), subject.answer(other)):
        yield "after load_state it answers otherwise than the one whose state it took; something that it needs is not in state()"


def output(subject: ModelSubject) -> Iterable[str]:
    """One row an input, float32 and finite, and the same when asked again."""
    one, again = subject.answer(subject.ready), subject.answer(subject.ready)
    if one.ndim < 2 or len(one) != len(subject.inputs):
        yield f"{len(subject.inputs)} inputs give an output of shape {tuple(one.shape)}; it must be (B, m)"
    if subject.probe is None and one.dtype != torch.float32:
        yield f"the output is {one.dtype}, it must be torch.float32"
    if not bool(one.isfinite().all()):
        yield "the output is not finite on its own data"
    if not torch.equal(one, again):
        yield "asked twice, it answers differently; put dropout and the like into eval mode"


def batch_independence(subject: ModelSubject) -> Iterable[str]:
    """A row's output does not hang on the rows beside it, nor on their number."""
    whole = subject.answer(subject.ready)
    single = torch.cat([subject.answer(subject.ready, row[None]) for row in subject.inputs])
    if single.shape != whole.shape:
        yield f"row by row it gives {tuple(single.shape)}, all at once {tuple(whole.shape)}"
    elif _apart(whole, single):
        yield f"row by row it gives other numbers than all at once, by up to {float((whole - single).abs().max()):.3g}"
    turned = subject.answer(subject.ready, subject.inputs.flip(0)).flip(0)
    if turned.shape == whole.shape and _apart(whole, turned):
        yield "the order of rows changes their outputs"


def empty_batch(subject: ModelSubject) -> Iterable[str]:
    """No rows give no rows."""
    module = subject.module()
    with torch.inference_mode():
        none = module(subject.inputs[:0])
    if len(none):
        yield f"no inputs give {len(none)} outputs"


def nan_inputs(subject: ModelSubject) -> Iterable[str]:
    """A row with NaN gives an output that is not finite, and leaves the others as they are."""
    module, inputs = subject.module(), subject.inputs.clone()
    inputs[0] = float("nan")
    with torch.inference_mode():
        clean, dirty = module(subject.inputs), module(inputs)
    if bool(dirty[0].isfinite().all()):
        yield "a row of NaN gives finite outputs; let NaN through, so that it is seen"
    if len(inputs) > 1 and _apart(clean[1:], dirty[1:]):
        yield "NaN in one row changes the outputs of others"


def evaluation_mode(subject: ModelSubject) -> Iterable[str]:
    """All of the network is in eval mode."""
    for name, part in subject.module().named_modules():
        if part.training:
            yield f"{name or 'the network'} is in training mode; end make() or load_state() with .eval()"
            return


def dtype_moves(subject: ModelSubject) -> Iterable[str]:
    """Moved to float64 it takes and gives float64, and the numbers are those of float32 up to rounding."""
    network = subject.twin()
    with torch.inference_mode():
        wide = network.module.double()(subject.inputs.double())
    if wide.dtype != torch.float64:
        yield f"moved to float64 it gives {wide.dtype}; something inside makes a tensor of a fixed type"
    elif _apart(subject.answer(subject.ready).double(), wide, 1e-2):
        yield "moved to float64 it gives other numbers than in float32"


def device_moves(subject: ModelSubject) -> Iterable[str]:
    """Moved to another device, nothing of it stays behind: all tensors are parameters or buffers."""
    moved = subject.twin().module.to("meta")
    try:
        with torch.inference_mode():
            moved(torch.empty_like(subject.inputs, device="meta"))
    except NotImplementedError:
        raise DoesNotApply("it cannot run without numbers, so only a real second device could tell") from None
    except RuntimeError as error:
        if "device" in str(error):
            yield f"something stays behind on its device: {' '.join(str(error).split())[:200]}; register it as a buffer"
        else:
            raise DoesNotApply("it cannot run without numbers, so only a real second device could tell") from None


def _apart(one: torch.Tensor, other: torch.Tensor, tolerance: float = TOLERANCE) -> bool:
    size = max(float(one.abs().max()), float(other.abs().max()), 1e-12) if one.numel() else 1.0
    return not torch.allclose(one, other, rtol=0.0, atol=tolerance * size, equal_nan=True)


CHECKS: Checks[ModelSubject] = Checks(
    checks=(
        *COMMON, building, fitting, state, output, batch_independence, empty_batch, nan_inputs, evaluation_mode, dtype_moves,
        device_moves,
    )
)  # fmt: skip


def check_model(
    component: type[Model] | str,
    *,
    data: Dataset | str | Mapping[str, Any],
    params: Mapping[str, Any] | None = None,
    plugin: str | None = None,
    probe: Probe | None = None,
    waive: Mapping[str, str] | None = None,
) -> Conformance:
    """Check that a model keeps the contract: determinism, state, batches, types, devices, NaN, no rows.

    Args:
        component: Its name, or its class.
        data: What it is built for, and fitted on where it learns: a dataset, or as in a suite `NAME` or
            `{"use": NAME, PARAMETER: VALUE}`. A small one makes the check fast.
        params: Parameters that its constructor gets.
        plugin: File or module of a plugin that is not installed.
        probe: For a model that is no `Network`: what it makes of (B, *shape) float32 inputs, (B, ...).
        waive: Name of a check to the reason why it need not pass.

    Raises:
        ConformanceError: With a line for each fault.
        SuiteError: There is no such dataset, or it has no such parameter.
    """
    cls, declared = find("model", component, plugin)
    subject = ModelSubject(
        kind="model", cls=cls, declared=declared, params=params or {}, data=dataset_of(data, plugin), probe=probe
    )
    return CHECKS.run(subject, waive or {})
