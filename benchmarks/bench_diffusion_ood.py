# SPDX-License-Identifier: Apache-2.0
"""How few evaluations Lift, Map, Detect needs: short chains against the longest one, and batches against single images.

Trains one small diffusion model on handwritten digits and tells them from silhouettes. Prints figures of one run, times as
ratios by processor time on one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

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
SHORT = 20
Scores = dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Case:
    """A fitted model, test images of both sets, and attempts for each."""

    model: DiffusionUNet
    inside: Tensor
    outside: Tensor
    attempts: int

    def lift(self, steps: int) -> Inpaint:
        """The source's masks: at 8x8 pixels a checkerboard of 4x4 squares."""
        return Inpaint(cells=4, attempts=self.attempts, steps=steps)

    def scores(self, steps: int, ctx: Context) -> Scores:
        """Scores of in-domain and foreign images by distance."""
        x = torch.cat([self.inside, self.outside])
        found = self.lift(steps).reconstruct(self.model, x, ctx)
        made = {d: lmd.score(x, self.model, {}, {"reconstructions": found}, ctx).scores for d, lmd in DETECTORS.items()}
        return {d: (s[: len(self.inside)], s[len(self.inside) :]) for d, s in made.items()}


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
    inside, outside = (unit(OodTiny(of=of), "test", CTX)[:images] for of in ("digits", "shapes"))
    return Case(model, inside, outside, attempts)


def batches(case: Case, images: int, steps: int = SHORT) -> None:
    """Print what it saves to send all attempts of all images through the network together."""
    lift, x = case.lift(steps), case.inside[:images]
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


def rank(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> float:
    """Spearman's rho of the scores of all images."""
    return float(spearmanr(torch.cat(one), torch.cat(other)).statistic)


def chains(case: Case, lengths: list[int]) -> None:
    """Print how well each length of the ancestral chain tells the sets apart, beside the longest one."""
    longest = max(lengths)
    other = case.scores(longest, replace(CTX, seed=1))
    made: dict[int, Scores] = {}
    seconds: dict[int, float] = {}
    for steps in sorted(lengths, reverse=True):
        start = time.process_time()
        made[steps] = case.scores(steps, CTX)
        seconds[steps] = time.process_time() - start
    for name in DETECTORS:
        full = made[longest][name]
        best, low, high, _ = delong(*full)
        print(f"lmd {name}, digits against shapes, {len(case.inside)} + {len(case.outside)} images, {case.attempts} attempts:")
        for steps in sorted(lengths):
            value, below, above, _ = delong(*made[steps][name])
            change, least, most, _ = delong_difference(*made[steps][name], *full)
            ceiling = f"(two seeds: {rank(full, other[name]):.3f})" if steps == longest else ""
            print(
                f"  {steps:4d} steps, {steps * case.attempts:6d} evaluations an image, {seconds[longest] / seconds[steps]:6.1f} times "
                f"as fast: AUROC {value:.3f} [{below:.3f}, {above:.3f}], less the longest {change:+.3f} [{least:+.3f}, {most:+.3f}], "
                f"rho to it {rank(made[steps][name], full):.3f} {ceiling}".rstrip()
            )
        short = delong(*made[SHORT][name])[0]
        print(
            f"  {SHORT} steps, {longest // SHORT} times fewer evaluations: {short:.3f} is "
            f"{'within' if low <= short <= high else 'OUTSIDE'} [{low:.3f}, {high:.3f}] of {longest} steps, {best:.3f}",
            flush=True,
        )


def main() -> None:
    """Train, then compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer images, attempts and lengths")
    parser.add_argument("--steps", type=int, default=600, help="steps of training")
    parser.add_argument("--images", type=int, help="images of each set; 80, or 30 with --quick")
    options = parser.parse_args()
    torch.set_num_threads(1)
    case = prepared(options.steps, images=options.images or (30 if options.quick else 80), attempts=6 if options.quick else 10)
    batches(case, 10 if options.quick else 40)
    chains(case, [5, SHORT, 100] if options.quick else [5, 10, SHORT, 50, 100, 1000])


if __name__ == "__main__":
    main()
