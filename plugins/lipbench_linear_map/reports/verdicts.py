# SPDX-License-Identifier: Apache-2.0
"""What a reader must know before believing an AUROC: one line each, with the figures behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lipbench.api import Column, Entry, Record, Table

from .averages import Difference, deviation, difference, less, mean, over_seeds, within
from .derived import adaptive, gap
from .matrices import Matrix, Published, Split, matrix_points, measured_matrix, published_matrix
from .reading import Found, Point, Results, Setting, differences, numbers, said

_CAPTION = (
    "For each dataset the setting with the most pairs, off the diagonal, unless a line says otherwise. Figures are means over "
    "pairs and seeds, and AUROCs where nothing else is said. A difference is found where its 95 % t interval over seeds leaves "
    "out 0; with one seed, where that over pairs does, which says less: pairs share networks."
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


def _found(of: Difference, *, up: str, down: str, same: str = "") -> str:
    """What a difference says: that it is above 0, below, or neither."""
    if of.side == 0 and of.half is None:
        return f"{same or 'no difference'} that one pair with one seed could confirm"
    judges = "the pairs of the one seed" if of.one_seed else "the seeds"
    if of.side == 0:
        return f"{same or 'no difference'} that {judges} confirm"
    return (up if of.side > 0 else down) + (" (one seed)" if of.one_seed else "")


def _shift(found: Found, by: float) -> dict[Point, float]:
    return {p: v - by for p, v in found.items()}


def _noise(results: Results, setting: Setting, where: Sequence[str]) -> Verdict | None:
    """Whether the detector tells adversarial images from images with noise of the same size, and whether it takes a network."""
    records = {p: r for p, r in results.records(setting, "auroc_vs_noise").items() if not results.native(p)}
    against = {p: float(r.value or 0.0) for p, r in records.items()}
    noise = numbers(records, "noise_vs_clean")
    pixels = [(f"pixels ({by})", results.values(setting, "pixel_auroc", by=by)) for by in ("svm", "zeros")]
    apart, lead = difference(less(against, noise)), _pixel_lead(results, setting, [found for _, found in pixels])
    figures = [
        *_figures(("adversarial vs noise", against), ("noise vs original", noise)),
        *([f"difference {apart}"] if apart else []),
        *_figures(*pixels),
        *([f"best of pixels less mapped {lead}"] if lead else []),
    ]
    if not figures:
        return None
    findings = ["not measured against noise"]
    if apart:
        up = "the attack more than the noise: adversarial images are told from noise better than noise from originals"
        down = "noise more than the attack: noise is told from originals better than adversarial images from noise"
        findings = [_found(apart, up=up, down=down, same="attack and noise alike: no difference")]
    if lead:
        words = {1: "does better", 0: "does as well: no difference", -1: "does less well"}
        findings.append("a detector on pixels alone " + _found(lead, up=words[1], down=words[-1], same=words[0]))
    return Verdict(question="adversarial or merely noisy?", finding="; ".join(findings), figures=[*figures, *where])


def _pixel_lead(results: Results, setting: Setting, pixels: Sequence[Found]) -> Difference | None:
    """AUROC of the better detector on pixels less that through the map, on the same pairs."""
    auroc = results.mapped(setting)
    leads = [made for found in pixels if (made := difference(less(found, auroc))) is not None]
    return max(leads, key=lambda made: made.value, default=None)


def _limit(results: Results, setting: Setting, published: Published) -> Verdict | None:
    """Whether sources or targets decide what a pair comes to."""
    split = measured_matrix(results, setting).split()
    if split is None:
        return None
    theirs = published_matrix(published, setting)
    their_split = theirs.split() if theirs is not None else None
    single = 100 * (1 - split.source - split.target)
    finding = f"neither: {single:.0f} % of the variance is due to single pairs"
    if single < 50:
        finding = _decides(results, setting, split)
    return Verdict(
        question="source- or target-limited?",
        finding=f"{finding}; two-way decomposition of the {split.rows} x {split.columns} matrix, diagonal included",
        figures=_split_figures(split),
        published=f"{theirs.title}: {'; '.join(_split_figures(their_split))}" if theirs and their_split else "",
    )


def _decides(results: Results, setting: Setting, split: Split) -> str:
    """Which side has the larger share of the variance, in each seed's own matrix."""
    points = matrix_points(results, setting)
    leads: dict[Point, float] = {}
    for seed in dict.fromkeys(p.seed for p in points):
        cells = {p[:2]: v for p, v in points.items() if p.seed == seed}
        mine = Matrix(title="", cells=cells, diagonal=frozenset(), own={}).split()
        if mine is not None:
            leads[Point("", "", seed)] = mine.source - mine.target
    lead = difference(leads)
    if lead is None or lead.half is None:
        # The variance of one matrix is one number: nothing within it judges its parts.
        return f"the {'source' if split.source > split.target else 'target'} decides more (one seed)"
    same = "neither source nor target decides more by a difference"
    return _found(lead, up="the source decides more", down="the target decides more", same=same)


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
    finding = _survives(evaded, before)
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


def _survives(evaded: Found, before: Found) -> str:
    """What the AUROC is after an evasion, against chance and against what it was before."""
    chance, lost = difference(_shift(evaded, 0.5)), difference(less(evaded, before))
    if chance is None or chance.side <= 0:
        down = "no: images that were made to evade it look more original than originals"
        same = "not shown: images that were made to evade it are told from originals by no difference from chance"
        return _found(chance, up="", down=down, same=same) if chance else ""
    if lost is None:
        return _found(chance, up="better than chance; what it was before is not measured there", down="")
    return _found(
        lost,
        up="yes: the AUROC is higher for images that were made to evade it",
        down="in part: images that were made to evade it are told from originals less well, but better than by chance",
        same="yes: the AUROC for images that were made to evade it is lower by nothing",
    )


def _cost(results: Results, setting: Setting, published: Published) -> Verdict | None:
    """What the map loses, and whether it is needed."""
    auroc, lost = results.mapped(setting), gap(results, setting)
    direct = results.mapped(setting, "direct_auroc")
    own = results.own(setting, "source", direct or auroc)
    if not lost and not direct:
        return None
    findings, made, ahead = [], difference(lost), difference(less(direct, auroc))
    if made:
        findings.append(_found(made, up="the map gains AUROC", down="the map costs AUROC", same="the map makes no difference"))
    if ahead:
        words = (f"works {how} the mapped one" for how in ("better than", "less well than", "as well as"))
        up, down, same = words
        finding = _found(ahead, up=up, down=down, same=f"{same}: no difference")
        findings.append(f"a detector trained on the source's rows of the map, without a map, {finding}")
    theirs = published_matrix(published, setting)
    return Verdict(
        question="does the map cost anything?",
        finding="; ".join(findings or ["not measured on the same pairs"]),
        figures=[
            *([f"gap to the source's own detector {made}"] if made else []),
            *_figures(("direct", direct)),
            *([f"direct less mapped {ahead}"] if ahead else []),
            *_figures(("native source", own)),
        ],
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
    name = real.label("map")
    found = difference(_above_nulls(results, real, [s for s in same if s.null]))
    finding = f"{name} and the null maps have no pair in common"
    if found:
        spread = deviation(null)
        words = f", {abs(found.value) / spread:.1f} of their standard deviations" if spread else ""
        up, down = (
            f"{name} lies {abs(found.value):.3f} {side} the mean of the null maps{words}" for side in ("above", "below")
        )
        finding = _found(found, up=up, down=down, same=f"{name} is apart from the mean of the null maps by no difference")
    return Verdict(
        question="better than a map that carries nothing?",
        finding=finding,
        figures=[
            *_spreads(results, same),
            *([f"{name} less the null maps on the same pairs {found}"] if found else []),
            *_elsewhere(real, setting, "map"),
        ],
    )


def _above_nulls(results: Results, real: Setting, nulls: Sequence[Setting]) -> dict[Point, float]:
    """AUROC of a map less the mean of the null maps of the same pair and seed."""
    drawn: dict[Point, list[float]] = {}
    for s in nulls:
        for point, value in results.mapped(s).items():
            drawn.setdefault(point, []).append(value)
    return less(results.mapped(real), {p: mean(values) for p, values in drawn.items()})


def _spreads(results: Results, settings: Iterable[Setting]) -> Iterator[str]:
    for s in settings:
        values = list(results.mapped(s).values())
        if values:
            spread = deviation(values)
            sd = "" if spread is None else f"sd {spread:.3f}, "
            yield f"{s.label('map')} {mean(values):.3f} ({sd}n = {len(values)})"


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
    figures = []
    for s in same:
        which = ", ".join(f"{name} {said(s, name)}" for name in shown)
        alarm = alarms.get(s.apart("negatives"), {})
        parts = _figures(("attack", results.mapped(s)), ("originals alone", alarm))
        if parts:
            figures.append(f"{which}: {', '.join(parts)}")
    return Verdict(
        question="does the map alone raise the alarm?",
        finding=_worst_alarm({s: alarms.get(s.apart("negatives"), {}) for s in same}, fits="map_fit" in shown),
        figures=[*figures, *_elsewhere(same[0], setting, *names)],
    )


def _worst_alarm(alarms: Mapping[Setting, Found], *, fits: bool) -> str:
    """The mean that is furthest from 0.5; of those that differ from it, where any does."""
    made = [(s, found) for s, alarm in alarms.items() if (found := difference(_shift(alarm, 0.5))) is not None]
    setting, worst = max(made, key=lambda item: (abs(item[1].side), abs(item[1].value)))
    words = f"with map_fit {said(setting, 'map_fit')}, " if fits else ""
    words += f"originals that were only mapped are told from native ones with AUROC {worst.value + 0.5:.3f}"
    same = "no: originals that were only mapped are told from native ones by no difference from chance"
    return _found(worst, up=words, down=words, same=same)


def _siblings(
    results: Results, setting: Setting, names: Sequence[str], fits: Callable[[Sequence[Setting]], bool]
) -> Sequence[Setting]:
    """Settings of one dataset that differ in `names` alone: those of this setting if they fit, else the first that do."""
    groups: dict[tuple[tuple[str, str], ...], list[Setting]] = {setting.apart(*names): []}
    for s in results.settings:
        if s.label("data") == setting.label("data") and results.mapped(s):
            groups.setdefault(s.apart(*names), []).append(s)
    return next((group for group in groups.values() if fits(group)), [])
