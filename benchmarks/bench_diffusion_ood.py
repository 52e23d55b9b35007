# SPDX-License-Identifier: Apache-2.0
"""How few evaluations Lift, Map, Detect needs: short chains against the source's 1000 steps, and batches against single images.

Trains one small diffusion model on handwritten digits and tells them from other images. Prints figures of one run, times as
ratios by processor time on one thread; `--figure FILE` draws the curves.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from lipbench_basics.datasets.tiny import OodTiny
from lipbench_basics.statistics import delong, delong_difference
from lipbench_diffusion_ood.detectors.lmd import LiftMapDetect
from lipbench_diffusion_ood.lifts import Inpaint
from lipbench_diffusion_ood.models.unet import DiffusionUNet
from lipbench_diffusion_ood.task import unit
from scipy.stats import spearmanr
from torch import Tensor

from lipbench.api import Context

CTX = Context(scope="benchmark")
DETECTORS = {"mse": LiftMapDetect(distance="mse"), "perc_unet": LiftMapDetect(distance="perc_unet")}
OUTSIDE = {"shapes": OodTiny(of="shapes"), "geo": OodTiny(of="geo"), "digits mirror": OodTiny(of="digits", transform="mirror")}
REFERENCE = 1000
"""Steps of the source."""
TENTH = REFERENCE // 10
Scores = dict[str, dict[str, Tensor]]
"""Distance to set to scores (n,)."""


@dataclass(frozen=True)
class Case:
    """A fitted model, test images of each set, and attempts for each."""

    model: DiffusionUNet
    images: Mapping[str, Tensor]
    attempts: int

    def lift(self, steps: int, sampler: str = "ancestral") -> Inpaint:
        """The source's masks: at 8x8 pixels a checkerboard of 4x4 squares."""
        return Inpaint(cells=4, attempts=self.attempts, steps=steps, sampler=sampler)

    def scores(self, lift: Inpaint, ctx: Context) -> Scores:
        """Scores of all images by distance and set."""
        found = {name: lift.reconstruct(self.model, x, ctx) for name, x in self.images.items()}
        return {
            distance: {
                name: lmd.score(x, self.model, {}, {"reconstructions": found[name]}, ctx).scores
                for name, x in self.images.items()
            }
            for distance, lmd in DETECTORS.items()
        }


def timed(work: Callable[[], object]) -> float:
    """Processor seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def prepared(training: int, images: int, attempts: int) -> Case:
    """Train the model; say what it took."""
    digits = OodTiny(of="digits")
    model = DiffusionUNet(steps=training)
    model.build(digits.spec(), CTX)
    seconds = timed(lambda: model.fit(digits, CTX))
    last = float(model.loss_curve[-5:].mean())
    print(f"diffusion_unet, {training} steps on {digits.counts['train']} digits: {seconds:.0f} s, loss {last:.3f}", flush=True)
    return Case(
        model, {name: unit(data, "test", CTX)[:images] for name, data in {"digits": digits, **OUTSIDE}.items()}, attempts
    )


def batches(case: Case, images: int, steps: int = 20) -> None:
    """Print what it saves to send all attempts of all images through the network together."""
    lift, x = case.lift(steps), case.images["digits"][:images]
    lift.reconstruct(case.model, x[:2], CTX)
    found: list[Tensor] = []
    together = timed(lambda: found.append(lift.reconstruct(case.model, x, CTX)))
    apart = timed(lambda: found.append(torch.cat([lift.reconstruct(case.model, one, CTX) for one in x.split(1)], 1)))
    attempt = [Inpaint(cells=4, attempts=1, steps=steps)] * case.attempts
    single = timed(lambda: [one.reconstruct(case.model, image, CTX) for image in x[:4].split(1) for one in attempt])
    differ = float((found[0] - found[1]).abs().max())
    print(
        f"{len(x)} images, {case.attempts} attempts, {steps} steps, in one batch: {together:.2f} s; one image at a time takes "
        f"{apart / together:.1f} times as long, one attempt at a time {single / 4 * len(x) / together:.1f} times; "
        f"reconstructions differ by at most {differ:.0e}",
        flush=True,
    )


def rank(one: Mapping[str, Tensor], other: Mapping[str, Tensor], name: str) -> float:
    """Spearman's rho of the scores of digits and one other set."""
    return float(spearmanr(*(torch.cat([s["digits"], s[name]]) for s in (one, other))).statistic)


Made = dict[tuple[str, int], tuple[Scores, float]]
"""Sampler and steps to scores and seconds."""


def chains(case: Case, lengths: Mapping[str, list[int]]) -> Made:
    """Print how well each length of each chain tells the sets apart, beside the longest ancestral one."""
    made: Made = {}
    for sampler, steps in ((sampler, k) for sampler, many in lengths.items() for k in many):
        start = time.process_time()
        scores = case.scores(case.lift(steps, sampler), CTX)
        made[sampler, steps] = scores, time.process_time() - start
    longest = max(lengths["ancestral"])
    full, slowest = made["ancestral", longest]
    again = case.scores(case.lift(longest), replace(CTX, seed=1))
    for distance in DETECTORS:
        for name in OUTSIDE:
            reference = full[distance]["digits"], full[distance][name]
            value, low, high, _ = delong(*reference)
            print(
                f"\nlmd {distance}, digits against {name}, {len(reference[0])} + {len(reference[1])} images, {case.attempts} "
                f"attempts: {longest} steps {value:.3f} [{low:.3f}, {high:.3f}], rho of two seeds "
                f"{rank(full[distance], again[distance], name):.3f}"
            )
            for (sampler, steps), (scores, seconds) in made.items():
                mine = scores[distance]["digits"], scores[distance][name]
                short = delong(*mine)[0]
                change, least, most, _ = delong_difference(*mine, *reference)
                print(
                    f"  {sampler:9s} {steps:4d} steps, {steps * case.attempts:5d} evaluations an image, {slowest / seconds:6.1f} "
                    f"times as fast: AUROC {short:.3f} {'within ' if low <= short <= high else 'OUTSIDE'}, less the longest "
                    f"{change:+.3f} [{least:+.3f}, {most:+.3f}], rho to it {rank(scores[distance], full[distance], name):.3f}"
                )
    return made


def verdict(made: Made, longest: int) -> None:
    """Print for each length in how many cases its AUROC lies within the interval of the longest chain."""
    print()
    full = made["ancestral", longest][0]
    for (sampler, steps), (scores, _) in made.items():
        if steps != longest:
            pairs = [(scores[d], full[d], name) for d in DETECTORS for name in OUTSIDE]
            ends = [delong(f["digits"], f[name])[1:3] for _, f, name in pairs]
            values = [delong(s["digits"], s[name])[0] for s, _, name in pairs]
            inside = sum(low <= v <= high for v, (low, high) in zip(values, ends, strict=True))
            print(
                f"{sampler} {steps} steps, {longest // steps} times fewer evaluations: within the interval of {longest} steps in "
                f"{inside} of {len(pairs)} cases"
            )


def draw(made: Made, case: Case, longest: int, file: Path) -> None:
    """AUROC against evaluations, a panel for each pair and distance, with the interval of the longest chain as a band."""
    from lipbench_basics.figures import legend_below, panels, styles

    cells = [(distance, name) for distance in DETECTORS for name in OUTSIDE]
    figure, axes = panels(len(cells), width=3.4, height=2.7, across=len(OUTSIDE))
    looks = styles(sampler for sampler, _ in made)
    for panel, (distance, name) in zip(axes, cells, strict=True):
        full = made["ancestral", longest][0][distance]
        _, low, high, _ = delong(full["digits"], full[name])
        panel.axhspan(low, high, color="#000000", alpha=0.08, label=f"95 % interval of {longest} steps")
        panel.axvline(longest * case.attempts / 10, color="#8A8A8A", linestyle=":", label="a tenth of their evaluations")
        for sampler, (colour, marker) in looks.items():
            points = [(k * case.attempts, s[distance]) for (kind, k), (s, _) in sorted(made.items()) if kind == sampler]
            values = [delong(s["digits"], s[name])[0] for _, s in points]
            panel.plot([x for x, _ in points], values, color=colour, marker=marker, markersize=4, linewidth=1.2, label=sampler)
        panel.set_xscale("log")
        panel.set_title(f"digits against {name}, {distance}", fontsize="small")
        panel.tick_params(labelsize="x-small")
        panel.grid(alpha=0.25, linewidth=0.5)
    for panel in axes[-len(OUTSIDE) :]:
        panel.set_xlabel("evaluations of the network for one image", fontsize="x-small")
    for panel in axes[:: len(OUTSIDE)]:
        panel.set_ylabel("AUROC", fontsize="small")
    legend_below(figure, axes)
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None, dpi=130)


def main() -> None:
    """Train, then compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer images, attempts and lengths")
    parser.add_argument("--steps", type=int, default=700, help="steps of training")
    parser.add_argument("--images", type=int, help="images of each set; 80, or 30 with --quick")
    parser.add_argument("--figure", type=Path, help="draw the curves into this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    case = prepared(options.steps, images=options.images or (30 if options.quick else 80), attempts=6 if options.quick else 10)
    batches(case, 10 if options.quick else 40)
    short = [5, 10, 20] if options.quick else [5, 10, 20, 50]
    longest = TENTH if options.quick else REFERENCE
    lengths = {
        "ancestral": [*short, *([] if options.quick else [TENTH]), longest],
        "ddim": [*short, TENTH],
        "sde_dpmsolver": short,
    }
    made = chains(case, lengths)
    verdict(made, longest)
    if options.figure:
        draw(made, case, longest, options.figure)


if __name__ == "__main__":
    main()
