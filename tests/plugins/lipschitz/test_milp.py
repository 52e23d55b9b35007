# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from exact_networks import CTX, SCALAR, on_region, relu_network, seeded_mlp
from lipbench_lipschitz.estimators.milp import Milp
from lipbench_lipschitz.estimators.regions import Regions
from torch import nn

from lipbench.api import NotApplicable


@pytest.mark.parametrize("seed", SCALAR)
def test_program_and_regions_find_the_same_scalar_gains(seed):
    evidence = on_region(relu_network((2, 10, 10, 1), seed), 2, "linf")
    program, regions = Milp().compute(evidence, CTX), Regions().compute(evidence, CTX)
    assert program.value == pytest.approx(SCALAR[seed], abs=6e-7)
    assert program.value == pytest.approx(regions.value, rel=1e-9)
    assert (program.extras["kind"], program.extras["scope"]) == ("exact", "box")
    assert program.interval is not None
    assert program.interval.low <= program.value <= program.interval.high <= program.value * (1 + 2e-6)


@pytest.mark.parametrize("sizes", [(2, 8, 1), (2, 6, 2), (2, 5, 4, 4, 1), (1, 7, 5, 1)])
def test_other_depths_and_several_outputs_agree_with_regions(sizes):
    evidence = on_region(relu_network(sizes, seed=7), sizes[0], "linf")
    program = Milp().compute(evidence, CTX)
    assert program.value == pytest.approx(Regions().compute(evidence, CTX).value, rel=1e-7)
    assert program.extras["programs"] == sizes[-1]


def test_balls_agree_with_regions():
    evidence = on_region(relu_network((2, 10, 10, 1)), 2, "linf", radius=0.1, points=4)
    program = Milp().compute(evidence, CTX)
    assert program.value == pytest.approx(Regions().compute(evidence, CTX).value, rel=1e-7)
    assert program.extras["scope"] == "ball"


def test_a_stopped_program_is_an_upper_bound_that_is_not_ranked():
    evidence = on_region(relu_network((2, 10, 10, 1), seed=2), 2, "linf")
    stopped = Milp(node_limit=1).compute(evidence, CTX)
    assert stopped.extras["kind"] == "upper"
    assert not stopped.extras["certified"]
    assert stopped.unranked is not None
    assert "node limit" in stopped.unranked
    assert stopped.value >= SCALAR[2] - 1e-6


def test_what_the_program_cannot_read_is_said():
    relu = relu_network((2, 4, 1))
    with pytest.raises(NotApplicable, match="norm: linf"):
        Milp().compute(on_region(relu, 2, "l2"), CTX)
    with pytest.raises(NotApplicable, match="tanh"):
        Milp().compute(on_region(seeded_mlp((2, 4, 1), nn.Tanh()), 2, "linf"), CTX)
    with pytest.raises(NotApplicable, match="at most 1 outputs"):
        Milp(outputs=1).compute(on_region(relu_network((2, 4, 2)), 2, "linf"), CTX)
    with pytest.raises(NotApplicable, match="linear layer"):
        Milp().compute(on_region(nn.Sequential(relu, nn.ReLU()), 2, "linf"), CTX)
