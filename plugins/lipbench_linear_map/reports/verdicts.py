# SPDX-License-Identifier: Apache-2.0
"""What a reader must know before believing an AUROC: one line each, with the figures behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lipbench.api import Column, Entry, Record, Table

from .averages import deviation, mean, over_seeds, within
from .derived import adaptive, gap
from .matrices import Published, Split, measured_matrix, published_matrix
from .reading import Found, Results, Setting, said

_CAPTION = (
    "For each dataset the setting with the most pairs, off the diagonal, unless a line says otherwise. Figures are means over "
    "pairs and seeds; they decide the finding, and are AUROCs where nothing else is said."
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One line."""

    question: str
    finding: str
    figures: Sequence[str]
    published: str = ""
    """The same figures of the source of the method."""


def verdicts(records: Sequence[Record], published: Published = ()) -> Table:
    """At most six lines for each dataset; a line only where the suite has measured what it needs.

    Args:
        records: In the order of the plan.
        published: Entries of the suite's reference file.
    """
    results = Results(records)
    lines = [(data, line) for data in results.datasets for line in _lines(results, data, published)]
    several = len(results.datasets) > 1
    names = ["question", *(["data"] if several else []), "finding", "figures", *(["published"] if _any(lines) else [])]
    rows = []
    for data, line in lines:
        texts = {"question": line.question, "data": data, "finding": line.finding, "figures": "; ".join(line.figures)}
        rows.append([Entry(text=(texts | {"published": line.published})[name]) for name in names])
    if not rows:
        return Table(title="Verdicts", columns=(), rows=())
    return Table(title="Verdicts", columns=[Column(name=name) for name in names], rows=rows, caption=_CAPTION)


def _any(lines: Iterable[tuple[str, Verdict]]) -> bool:
    return any(line.published for _, line in lines)


def _lines(results: Results, data: str, published: Published) -> Iterator[Verdict]:
    setting = results.headline(data)
    if setting is None:
        return
    makers: Sequence[Callable[[], Verdict | None]] = (
        lambda: _noise(results, setting),
        lambda: _limit(results, setting, published),
        lambda: _evasion(results, setting),
        lambda: _cost(results, setting),
        lambda: _nulls(results, setting),
        lambda: _alarms(results, setting),
    )
    yield from (made for make in makers if (made := make()) is not None)


def _noise(results: Results, setting: Setting) -> Verdict | None:
    """Whether the detector tells adversarial images from images with noise of the same size."""
    records = {p: r for p, r in results.records(setting, "auroc_vs_noise").items() if not results.native(p)}
    against = {p: float(r.value or 0.0) for p, r in records.items()}
    noise = {p: float(r.extras["noise_vs_clean"]) for p, r in records.items() if "noise_vs_clean" in r.extras}
    pixels = [(f"pixels ({by})", results.values(setting, "pixel_auroc", by=by)) for by in ("svm", "zeros")]
    figures = _figures(("adversarial vs noise", against), ("noise vs original", noise), *pixels)
    if not figures:
        return None
    finding = "not measured against noise"
    if against and noise:
        apart, fooled = mean(against.values()), mean(noise.values())
        finding = (
            "the attack more than the noise: adversarial images are told from noise better than noise from originals"
            if apart > fooled
            else "noise as much as the attack: noise is told from originals at least as well as adversarial images from noise"
        )
    return Verdict(question="adversarial or merely noisy?", finding=finding, figures=figures)


def _limit(results: Results, setting: Setting, published: Published) -> Verdict | None:
    """Whether sources or targets decide what a pair comes to."""
    split = measured_matrix(results, setting).split()
    if split is None:
        return None
    theirs = published_matrix(published, setting)
    their_split = theirs.split() if theirs is not None else None
    side = "source" if split.source > split.target else "target"
    return Verdict(
        question="source- or target-limited?",
        finding=f"the {side} decides more: two-way decomposition of the {split.rows} x {split.columns} matrix, diagonal included",
        figures=_split_figures(split),
        published=f"{theirs.title}: {'; '.join(_split_figures(their_split))}" if theirs and their_split else "",
    )


def _split_figures(split: Split) -> list[str]:
    figures = [f"source {100 * split.source:.0f} % of the variance, target {100 * split.target:.0f} %"]
    for name, r in (("source", split.with_source), ("target", split.with_target)):
        if r is not None:
            figures.append(f"correlation of the mean by {name} with its native AUROC {r:.2f}")
    return figures


def _evasion(results: Results, setting: Setting) -> Verdict | None:
    """What is left against an attacker who knows the detector."""
    evaded, right = adaptive(results, setting)
    if not evaded:
        return None
    before = within(results.values(setting, "auroc"), evaded)
    records = results.records(setting, "perturbation")
    accuracy = {p: float(r.extras["adversarial_accuracy"]) for p, r in records.items() if "adversarial_accuracy" in r.extras}
    after = mean(evaded.values())
    return Verdict(
        question="does it survive an attacker who knows it?",
        finding="no: below chance, the attack looks more original than originals" if after < 0.5 else "in part" if before and after < mean(before.values()) else "yes",
        figures=_figures(
            ("before", before),
            ("after", evaded),
            ("accuracy of the source under the plain attack", within(accuracy, evaded)),
            ("accuracy of the source under the adaptive one", right),
        ),
    )
