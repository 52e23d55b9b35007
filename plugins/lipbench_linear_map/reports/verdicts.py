# SPDX-License-Identifier: Apache-2.0
"""What a reader must know before believing an AUROC: one line each, with the figures behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from lipbench.api import Column, Entry, Record, Table

from .averages import deviation, mean, over_seeds, within
from .derived import adaptive, gap
from .matrices import Matrix, Published, Split, measured_matrix, published_matrix
from .reading import Found, Results, Setting, differences, numbers, said

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
        lambda: _noise(results, *_place(results, setting, "auroc_vs_noise", "pixel_auroc")),
        lambda: _limit(results, setting, published),
        lambda: _evasion(results, *_place(results, setting, "adaptive_auroc")),
        lambda: _cost(results, setting, published),
        lambda: _nulls(results, setting),
        lambda: _alarms(results, setting),
    )
    yield from (made for make in makers if (made := make()) is not None)


def _place(results: Results, setting: Setting, *metrics: str) -> tuple[Setting, list[str]]:
    """The setting itself, or one with the first of these metrics that was measured, and what it has otherwise."""
    for metric in metrics:
        other = setting if results.mapped(setting, metric) else results.headline(setting.label("data"), metric)
        if other is not None and results.mapped(other, metric):
            return other, _elsewhere(other, setting)
    return setting, []


def _elsewhere(other: Setting, setting: Setting, *but: str) -> list[str]:
    """A remark where figures are not those of the setting itself."""
    words = differences(other, setting, *but)
    return [f"measured with {words}"] if words else []


def _noise(results: Results, setting: Setting, where: Sequence[str]) -> Verdict | None:
    """Whether the detector tells adversarial images from images with noise of the same size."""
    records = {p: r for p, r in results.records(setting, "auroc_vs_noise").items() if not results.native(p)}
    against = {p: float(r.value or 0.0) for p, r in records.items()}
    noise = numbers(records, "noise_vs_clean")
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
    return Verdict(question="adversarial or merely noisy?", finding=finding, figures=[*figures, *where])


def _limit(results: Results, setting: Setting, published: Published) -> Verdict | None:
    """Whether sources or targets decide what a pair comes to."""
    split = measured_matrix(results, setting).split()
    if split is None:
        return None
    theirs = published_matrix(published, setting)
    their_split = theirs.split() if theirs is not None else None
    side = "source" if split.source > split.target else "target"
    single = 100 * (1 - split.source - split.target)
    finding = f"the {side} decides more" if single < 50 else f"neither: {single:.0f} % of the variance is due to single pairs"
    return Verdict(
        question="source- or target-limited?",
        finding=f"{finding}; two-way decomposition of the {split.rows} x {split.columns} matrix, diagonal included",
        figures=_split_figures(split),
        published=f"{theirs.title}: {'; '.join(_split_figures(their_split))}" if theirs and their_split else "",
    )


def _split_figures(split: Split) -> list[str]:
    figures = [f"source {100 * split.source:.0f} % of the variance, target {100 * split.target:.0f} %"]
    for name, r in (("source", split.with_source), ("target", split.with_target)):
        if r is not None:
            figures.append(f"correlation of {name} means with native AUROC of the {name} {r:.2f}")
    return figures


def _figures(*named: tuple[str, Found]) -> list[str]:
    """Name and mean of what there is."""
    return [f"{name} {found}" for name, values in named if (found := over_seeds(values)) is not None]


def _evasion(results: Results, setting: Setting, where: Sequence[str]) -> Verdict | None:
    """What is left against an attacker who knows the detector."""
    evaded, right = adaptive(results, setting)
    if not evaded:
        return None
    before = within(results.values(setting, "auroc"), evaded)
    accuracy = numbers(results.records(setting, "perturbation"), "adversarial_accuracy")
    after = mean(evaded.values())
    finding = "yes: the AUROC is no lower for images that were made to evade it"
    if after < 0.5:
        finding = "no: images that were made to evade it look more original than originals"
    elif before and after < mean(before.values()):
        finding = "in part: images that were made to evade it are told from originals less well, but not below chance"
    if right:
        finding += f"; the source is right on {100 * mean(right.values()):.0f} % of them"
    return Verdict(
        question="does it survive an attacker who knows it?",
        finding=finding,
        figures=[
            *_figures(
                ("AUROC before", before),
                ("after", evaded),
                ("accuracy of the source under the plain attack", within(accuracy, evaded)),
                ("under the adaptive one", right),
            ),
            *where,
        ],
    )


def _cost(results: Results, setting: Setting, published: Published) -> Verdict | None:
    """What the map loses, and whether it is needed."""
    auroc, lost = results.mapped(setting), gap(results, setting)
    direct = results.mapped(setting, "direct_auroc")
    own = results.own(setting, "source", direct or auroc)
    if not lost and not direct:
        return None
    findings = []
    if lost:
        found = mean(lost.values())
        findings.append("the map costs AUROC" if found < 0 else "the map costs nothing on average")
    if direct:
        same = within(auroc, direct)
        better = bool(same) and mean(direct.values()) >= mean(same.values())
        words = "at least as well as" if better else "less well than"
        findings.append(f"a detector trained on the source's rows of the map, without a map, works {words} the mapped one")
    theirs = published_matrix(published, setting)
    return Verdict(
        question="does the map cost anything?",
        finding="; ".join(findings),
        figures=_figures(("gap to the source's own detector", lost), ("direct", direct), ("native source", own)),
        published=_published_gap(theirs) if theirs is not None and lost else "",
    )


def _published_gap(theirs: Matrix) -> str:
    own = {pair: theirs.own[pair][1] for pair in theirs.off_diagonal}
    lost = [theirs.cells[pair] - native for pair, native in own.items() if native is not None]
    return f"{theirs.title}: gap to the source's own detector {mean(lost):.3f}" if lost else ""


def _nulls(results: Results, setting: Setting) -> Verdict | None:
    """Maps that carry nothing over, as a distribution: one of them is one fixed direction, not fresh noise."""
    same = _siblings(results, setting, ("map",), lambda group: len({s.null for s in group}) > 1)
    null = [v for s in same if s.null for v in results.mapped(s).values()]
    if not null:
        return None
    real = setting if setting in same else next(s for s in same if not s.null)
    spread, above = deviation(null), mean(results.mapped(real).values()) - mean(null)
    finding = f"{real.label('map')} lies {abs(above):.3f} {'above' if above >= 0 else 'below'} the mean of the null maps"
    if spread > 0:
        finding += f", {abs(above) / spread:.1f} of their standard deviations"
    return Verdict(
        question="better than a map that carries nothing?",
        finding=finding,
        figures=[*_spreads(results, same), *_elsewhere(real, setting, "map")],
    )


def _spreads(results: Results, settings: Iterable[Setting]) -> Iterator[str]:
    for s in settings:
        values = list(results.mapped(s).values())
        if values:
            yield f"{s.label('map')} {mean(values):.3f} (sd {deviation(values):.3f}, n = {len(values)})"


def _alarms(results: Results, setting: Setting) -> Verdict | None:
    """What the map alone makes the detector say, by what it is fitted on and by what the negatives are."""
    names = ("map_fit", "negatives")
    same = _siblings(
        results, setting, names, lambda group: len(group) > 1 and any(results.mapped(s, "clean_false_alarm") for s in group)
    )
    if not same:
        return None
    shown = [name for name in names if len({said(s, name) for s in same}) > 1]
    # What the map does to originals does not depend on which negatives are asked for.
    alarms = {s.apart("negatives"): found for s in same if (found := results.mapped(s, "clean_false_alarm"))}
    figures, worst = [], ("", 0.5)
    fits = "map_fit" in shown
    for s in same:
        which = ", ".join(f"{name} {said(s, name)}" for name in shown)
        alarm = alarms.get(s.apart("negatives"), {})
        parts = _figures(("attack", results.mapped(s)), ("originals alone", alarm))
        if parts:
            figures.append(f"{which}: {', '.join(parts)}")
        if alarm and abs(mean(alarm.values()) - 0.5) > abs(worst[1] - 0.5):
            worst = f"with map_fit {said(s, 'map_fit')}, " if fits else "", mean(alarm.values())
    finding = f"{worst[0]}originals that were only mapped are told from native ones with AUROC {worst[1]:.3f}"
    return Verdict(
        question="does the map alone raise the alarm?",
        finding=finding if worst[1] != 0.5 else "no",
        figures=[*figures, *_elsewhere(same[0], setting, *names)],
    )


def _siblings(
    results: Results, setting: Setting, names: Sequence[str], fits: Callable[[Sequence[Setting]], bool]
) -> Sequence[Setting]:
    """Settings of one dataset that differ in `names` alone: those of this setting if they fit, else the first that do."""
    groups: dict[tuple[tuple[str, str], ...], list[Setting]] = {setting.apart(*names): []}
    for s in results.settings:
        if s.label("data") == setting.label("data") and results.mapped(s):
            groups.setdefault(s.apart(*names), []).append(s)
    return next((group for group in groups.values() if fits(group)), [])
