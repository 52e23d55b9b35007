# SPDX-License-Identifier: Apache-2.0
"""The structure of a suite file; what the components in it may be given is their own signatures' business."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lipbench.contract.execution import MEMORY, in_bytes

LONGEST_S = 1e8
"""Of a time limit, three years."""
Use = str | dict[str, Any]
"""A component: its name, or a mapping with `use: NAME`, an optional label `as: LABEL`, and its parameters."""
Count = Annotated[int, Field(strict=True, ge=1, le=10_000)]
Seeds = Count | Annotated[list[Annotated[int, Field(strict=True, ge=0)]], Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Block(_Strict):
    """A product of lists, with metrics and seeds of its own where the suite's do not fit."""

    matrix: dict[str, Any]
    """Role of the task, or parameter of its constructor, to a list of what it takes."""
    metrics: list[Use] | None = None
    """Instead of the suite's."""
    seeds: Seeds | None = None
    """Instead of the suite's."""
    exclude: list[dict[str, Any]] = []
    """Combinations that are left out, besides those of the suite."""


class Smallest(_Strict):
    """The smallest difference that matters; of two, the larger."""

    absolute: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """In the unit of the value."""
    relative: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """As a share of the base's value, such as 0.05."""


class CompareSpec(_Strict):
    """What `lipbench compare` takes for a difference that matters."""

    metrics: dict[str, Smallest] = {}
    """By label of the metric; of the others every difference beyond noise matters."""
    costs: dict[Literal["seconds", "forwards", "backwards", "peak_bytes"], Smallest] = {}
    """By cost; of one that is named here, a rise beyond it is a regression. The others are only shown."""


class LeaderboardSpec(_Strict):
    """How the cells become a table."""

    rows: list[str] | None = None
    """Roles and task parameters whose combinations are the rows; default all roles, and the parameters that vary."""
    blocks: Annotated[list[str], Field(min_length=1)] | None = None
    """Blocks whose rows the table shows; default all. The others are in the records, and in the tables of the task's plugin."""
    columns: Annotated[list[str], Field(min_length=1)] | None = None
    """Labels of the metrics that the table shows, in this order; default all. The others are in the records alone."""
    rank: Literal["row", "column", "none"] | Annotated[list[str], Field(min_length=1)] = "row"
    """`row`: metrics of one row compete within their group. `column`: the rows of one metric compete. A list of roles or task
    parameters: of one metric, those rows compete that differ in these alone."""
    rank_by: Annotated[list[str], Field(min_length=1)] | None = None
    """Labels of the metrics by which rows compete; default all. Needs `rank: column` or a list."""
    show: Annotated[list[Literal["mean", "ci95", "rank"]], Field(min_length=1)] = ["mean", "ci95"]
    """What a place of the table shows: the mean always, its interval, its rank."""
    digits: Annotated[int, Field(ge=1, le=17)] = 4
    """Significant digits shown."""
    compare: CompareSpec = CompareSpec()
    """Thresholds of `lipbench compare`."""


def _amount(memory: str) -> str:
    in_bytes(memory)
    return memory


class ResourcesSpec(_Strict):
    """What a fit, a step or a job asks for, instead of what the task says."""

    cpus: Annotated[int, Field(strict=True, ge=1, le=1024)] | None = None
    """Threads. Another number than the task's can change the last bits of a value, so it changes all ids."""
    gpus: Annotated[float, Field(strict=True, ge=0.01, le=1, allow_inf_nan=False)] | None = None
    """Share of a GPU, from 0.01: at 0.5 two jobs run on each."""
    memory: Annotated[str, Field(json_schema_extra={"pattern": MEMORY}), AfterValidator(_amount)] | None = None
    """Main memory, such as `4 GiB`."""


class SuiteFile(_Strict):
    """A suite."""

    lipbench: Literal[1]
    """Version of the format."""
    suite: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=100)]
    """Name, and that of the folder of results."""
    title: str = ""
    """Heading of the leaderboard; default the name."""
    description: str = ""
    """Words above the tables."""
    citation: str = ""
    """The source, below the description."""
    task: Use
    """A task; its parameters may also be listed in the matrix."""
    matrix: dict[str, Any] | None = None
    """Role of the task, or parameter of its constructor, to what it takes, one or a list; the product is run."""
    blocks: dict[str, Block] | None = None
    """Instead of `matrix`: named blocks."""
    metrics: list[Use] = []
    """What is measured in each combination."""
    seeds: Seeds = 1
    """A number n for the seeds 0..n-1, or a list."""
    exclude: list[dict[str, Any]] = []
    """Combinations that are left out: each rule maps roles and parameters to a label or value; where all hold it is not run."""
    profiles: dict[str, dict[str, Any]] = {}
    """Name to a patch of the suite, which `--profile NAME` merges over it."""
    leaderboard: LeaderboardSpec = LeaderboardSpec()
    """How the values become tables."""
    reference: str | None = None
    """File with a source's published numbers, beside the suite."""
    timeout: Annotated[float, Field(gt=0, le=LONGEST_S, allow_inf_nan=False, strict=True)] | None = None
    """Seconds that one fit, one step, one evidence or one metric may take; default what the task says, else 3600."""
    resources: ResourcesSpec = ResourcesSpec()
    """What a fit, a step or a job asks for, instead of what the task says."""
    requires_plugins: list[str] = []
    """Plugins without which it must not run."""
