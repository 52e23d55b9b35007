# SPDX-License-Identifier: Apache-2.0
"""What a plugin declares, and the base classes of the five kinds of component.

The constructor of a component is its parameter schema: keyword parameters with type annotations and defaults, ranges and
choices by `Annotated[int, Field(ge=1)]` (pydantic) and `Literal`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from lipbench.contract.context import Context
from lipbench.contract.errors import InvalidInput, NotApplicable, PluginError
from lipbench.contract.values import Value

if TYPE_CHECKING:
    import numpy as np
    import torch

Kind = Literal["task", "model", "dataset", "metric", "method"]
KINDS: tuple[Kind, ...] = ("task", "model", "dataset", "metric", "method")


@dataclass(frozen=True, kw_only=True)
class Component:
    """A declaration: a plugin has this component. Cheap to make; the factory is imported when it is first needed."""

    kind: Kind
    name: str
    """What a suite writes after `use:`; letters, digits, `_` and `-`."""
    factory: str
    """`package.module:Class`."""
    summary: str
    """One line for `lipbench list`."""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """A declaration: a pure function of a suite's records, run after the suite and by `lipbench leaderboard`.

    By kind the function takes a `Sequence[Record]`, and as a second parameter `published` the entries of the suite's
    reference file where it has one, and gives: `audit` an iterable of sentences, each a contradiction that
    fails the run; `table` a `Table`; `plot` a mapping of file stems to matplotlib figures. Its module must not import torch.
    """

    kind: Literal["audit", "table", "plot"]
    name: str
    task: str
    """Name of the task whose records it reads."""
    factory: str
    """`package.module:function`."""
    summary: str


@dataclass(frozen=True, kw_only=True)
class Format:
    """A declaration: a format in which `lipbench leaderboard --format NAME` writes leaderboards.

    The function takes a `Sequence[Board]` and gives the text of the file.
    """

    name: str
    factory: str
    """`package.module:function`."""
    summary: str
    """One line for `lipbench list formats`."""


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """What is known of a dataset before it is read in full."""

    shape: tuple[int, ...]
    """Shape of one input, such as (64,) or (3, 224, 224)."""
    low: float
    """Smallest possible input value."""
    high: float
    """Largest possible input value."""
    unit: float = 1.0
    """How much of the raw input is one [0,1] unit: 255 for 8-bit images, 1 where inputs are used as they are."""
    classes: int | None = None
    """Number of classes; None where there are no labels."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """A part of a dataset, in memory."""

    inputs: np.ndarray
    """(N, *shape) float32, in the raw unit of the dataset."""
    targets: np.ndarray | None = None
    """(N,) int64 class labels, or None."""
    ids: np.ndarray | None = None
    """(N,) what each row is called, such as the stem of its file; rows of one id belong together. None for row numbers."""


KEPT_BYTES = 16 * 2**20
"""A split that takes no more than this stays in memory with its dataset."""


class Dataset(ABC):
    """Where arrays come from."""

    licence: ClassVar[str] = ""
    """Licence of the data, for the reader of a leaderboard."""

    @abstractmethod
    def spec(self) -> DataSpec:
        """Shape, range and classes, as cheaply as they can be known."""

    @abstractmethod
    def load(self, split: str, ctx: Context) -> Split:
        """Read or draw one split, `train` or `test`; random draws come from `ctx` alone."""

    def files(self) -> Sequence[Path]:
        """The files it reads: a change of one recomputes what used this dataset.

        Raises:
            InvalidInput: A file is missing; the message says where it was looked for.
        """
        return ()

    def split(self, name: str, ctx: Context) -> Split:
        """Load a split and check it. This is what tasks and models call; small ones are loaded once by each object.

        Raises:
            InvalidInput: No rows, a wrong shape, or a value that is not finite; the message names split and row.
        """
        kept: dict[tuple[str, int], Split] = vars(self).setdefault("_kept_splits", {})
        key = name, ctx.seed
        if key not in kept:
            part = _loaded(self, name, ctx)
            if part.inputs.nbytes > KEPT_BYTES:
                return part
            kept[key] = part
        return deepcopy(kept[key])  # because who asks may write to it


def _loaded(data: Dataset, name: str, ctx: Context) -> Split:
    """Load a split and check it."""
    import numpy as np  # here, so that listing plugins does not pay for it

    # The streams of a dataset hang on its class, the split and the seed alone: whoever asks gets the same rows.
    part = data.load(name, replace(ctx, scope=f"dataset {type(data).__name__} {name}"))
    shape = data.spec().shape
    who = f"dataset {type(data).__name__}, split {name!r}"
    if len(part.inputs) == 0:
        raise InvalidInput(f"{who}: there are no rows")
    if part.inputs.shape[1:] != shape:
        raise InvalidInput(f"{who}: rows have shape {part.inputs.shape[1:]}, but its spec says {shape}")
    finite = np.isfinite(part.inputs.reshape(len(part.inputs), -1)).all(axis=1)
    if not finite.all():
        raise InvalidInput(f"{who}: row {int(np.argmin(finite))} holds NaN or an infinite value; clean the data first")
    return part


class Model(ABC):
    """Something that may be fitted on a dataset.

    The harness calls `build`, then either `load_state` with a stored artifact or `fit`, then hands it to the task.
    """

    fitted: ClassVar[bool] = False
    """True where `fit` learns something; its state is then kept as an artifact and fitted once however many cells need it."""
    picks: ClassVar[tuple[str, ...]] = ()
    """Parameters that say only what is read of the state, and `seed` for the seed of the job: uses that differ in nothing else share
    one fit, which sees the defaults of these parameters, and seed 0. `build` before `load_state` has those of the job."""

    def files(self) -> Sequence[Path]:
        """The files it reads, such as weights: a change of one recomputes what used this model.

        Raises:
            InvalidInput: A file is missing; the message says where it was looked for.
        """
        return ()

    @abstractmethod
    def build(self, spec: DataSpec, ctx: Context) -> None:
        """Make everything that depends on the shape of the data; initial weights come from `ctx.generator()`."""

    def fit(self, data: Dataset, ctx: Context) -> None:
        """Learn from `data.split("train", ctx)`. Called once, only where `fitted` is True."""
        raise NotApplicable(f"{type(self).__name__} has nothing to fit")

    def state(self) -> Mapping[str, torch.Tensor]:
        """The learned tensors by name; all that is stored."""
        return {}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over learned tensors; the inverse of `state`."""
        if state:
            raise NotApplicable(f"{type(self).__name__} gives a state but does not define load_state")


class Network(Model):
    """A torch network, (B, *shape) in the raw unit of the data -> (B, m)."""

    module: torch.nn.Module
    """The network after `build`, float32 on the CPU."""

    @abstractmethod
    def make(self, spec: DataSpec, ctx: Context) -> torch.nn.Module:
        """The network for inputs of this shape and range, any change of units inside it."""

    def build(self, spec: DataSpec, ctx: Context) -> None:
        """Make the network and put it into eval mode."""
        self.module = self.make(spec, ctx).eval()

    def state(self) -> Mapping[str, torch.Tensor]:
        """The network's state dict."""
        return dict(self.module.state_dict())

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Load a state dict, every key of it."""
        self.module.load_state_dict(dict(state))
        self.module.eval()

    def at(self, layer: str) -> torch.nn.Module:
        """The network up to a named layer, (B, *shape) -> (B, m).

        Args:
            layer: `logits` for the whole network, `embedding` for all before its last linear layer.

        Raises:
            NotApplicable: The network has no such layer.
        """
        import torch

        if layer == "logits":
            return self.module
        parts = list(self.module.children()) if isinstance(self.module, torch.nn.Sequential) else []
        if layer == "embedding" and len(parts) > 1 and isinstance(parts[-1], torch.nn.Linear):
            return torch.nn.Sequential(*parts[:-1]).eval()
        raise NotApplicable(f"{type(self).__name__} has no layer {layer!r}; write layer: logits")

    def head(self) -> torch.nn.Module:
        """What follows the embedding, (B, d) -> (B, m): `head()(at("embedding")(x))` is `module(x)`.

        Raises:
            NotApplicable: The network has no embedding, or its end is not its last linear layer.
        """
        self.at("embedding")
        last: torch.nn.Module = list(self.module.children())[-1]
        return last


class Method(ABC):  # noqa: B024  (methods share nothing but their kind; each task defines the protocol that it needs)
    """An exchangeable algorithm that a task takes as a role: an attack, a sampler, a distance."""

    def files(self) -> Sequence[Path]:
        """The files it reads: a change of one recomputes what used this method.

        Raises:
            InvalidInput: A file is missing; the message says where it was looked for.
        """
        return ()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """An expensive part of a task's protocol that jobs share: computed once for the same inputs, and stored.

    It names a method of the task that gives a `Mapping[str, Tensor]`. Its id covers the components behind its inputs, the
    task's code, the parameters in `params` and the seed; jobs that agree on these get the same tensors.
    """

    method: str
    """Name of the method of the task; it takes the inputs and `ctx`."""
    inputs: Mapping[str, str]
    """Parameter of the method to a role, or to a stage that is declared before this one."""
    params: tuple[str, ...] = ()
    """The task's parameters that the method reads. In it all others have their defaults, so that none enters unseen."""
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """What must hold for this stage to apply, else the next one of its name is taken: a parameter of the task, or
    `ROLE.ATTRIBUTE`, a class attribute of the component that fills a role, to the values that it may have. Where none of a name
    applies, the parameter of `evidence` needs a default, which it then gets."""

    def __post_init__(self) -> None:
        """Refuse what would be read letter by letter.

        Raises:
            PluginError: A field is not of its kind.
        """
        if not isinstance(self.inputs, Mapping) or not isinstance(self.only, Mapping):
            raise PluginError(f"Stage({self.method!r}): inputs and only are mappings")
        if isinstance(self.params, str) or any(isinstance(v, str) or not isinstance(v, Sequence) for v in self.only.values()):
            raise PluginError(f"Stage({self.method!r}): params and the values of only are tuples, such as ('a',)")


class Task(ABC):
    """The protocol of an experiment.

    A subclass defines `evidence(self, ROLE: TYPE, ..., ctx: Context) -> EVIDENCE`: each parameter but `ctx` is a role, its
    annotation (a subclass of Model, Dataset or Method) says what may fill it, and the return annotation is the class that
    metrics read. The constructor's parameters are the task's own; a suite sets them, or lists them in its matrix.
    """

    fits: ClassVar[Mapping[str, str]] = {}
    """Which model role is fitted on which dataset role, such as {"network": "data"}."""
    stages: ClassVar[Mapping[str, Stage | tuple[Stage, ...]]] = {}
    """Stored results that jobs share, in the order in which they build on each other. A parameter of `evidence` that has the
    name of a stage gets its tensors instead of a component; they must not be written to."""
    shared: ClassVar[bool] = False
    """True where jobs are so short and harmless that they may share one worker process."""
    cpus: ClassVar[int] = 1
    """Threads that a job may use; fixed whatever the number of workers, because it can change the last bits of a sum."""
    gpus: ClassVar[float] = 1.0
    """Share of a GPU that a job needs, above 0 and at most 1, where the run is on GPUs; at 0.5 two jobs run on each."""
    memory: ClassVar[str] = ""
    """Main memory that a job needs, such as `4 GiB`, so that no more run at once than there is room for; empty for little."""
    timeout: ClassVar[float | None] = None
    """Seconds that one fit, one stage, one evidence or one metric may take where the suite does not say; None for an hour."""

    evidence: Any
    """See the class docstring; left untyped because every task names its own roles."""


class Metric(ABC):
    """Turns evidence into a value. The annotation of `evidence` in `compute` says which evidence it reads."""

    @abstractmethod
    def compute(self, evidence: Any, ctx: Context) -> Value:
        """Measure; random draws come from `ctx` alone.

        Raises:
            NotApplicable: The evidence is of the right class but this metric cannot read it (with the reason).
        """
