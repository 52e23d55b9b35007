from lipbench_diffusion_ood.evidence import OODScores

from lipbench.api import Component, Context, Metric, Value, hookimpl


class MedianGap(Metric):
    """How far the median score of the foreign images is above that of the known ones."""

    def compute(self, evidence: OODScores, ctx: Context) -> Value:
        return Value(value=float(evidence.outside.median() - evidence.inside.median()), direction="higher", unit="score")


@hookimpl
def lipbench_components():
    yield Component(kind="metric", name="median_gap", factory="smallest_metric:MedianGap", summary="gap of median scores")
