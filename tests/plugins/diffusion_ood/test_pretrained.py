# SPDX-License-Identifier: Apache-2.0
"""Features of a network that the user brings: as exported, resized, grey as RGB; as a backbone and as a distance."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from detector_toys import CTX, random_images, toy_denoiser
from lipbench_diffusion_ood.detectors.features import Mahalanobis
from lipbench_diffusion_ood.detectors.lmd import LiftMapDetect
from lipbench_diffusion_ood.models.pretrained import PretrainedFeatures
from torch import Tensor, nn

from lipbench.api import DataSpec, InvalidInput

GREY = DataSpec(shape=(1, 8, 8), low=0.0, high=1.0)


def net(side: int = 12) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 5, 3, stride=2), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def exported(path: Path, side: int = 12, module: nn.Module | None = None, colours: int = 3) -> str:
    batch = torch.export.Dim("batch", min=1, max=1024)
    program = torch.export.export(module or net(), (torch.rand(2, colours, side, side),), dynamic_shapes=({0: batch},))
    torch.export.save(program, path)
    return str(path)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return exported(tmp_path_factory.mktemp("network") / "net.pt2")


def loaded(file: str) -> PretrainedFeatures:
    model = PretrainedFeatures(path=file)
    model.build(GREY, CTX)
    return model


def expected(x: Tensor) -> Tensor:
    large = nn.functional.interpolate(x.expand(-1, 3, -1, -1), size=(12, 12), mode="bicubic", align_corners=False)
    with torch.no_grad():
        return net()(large.clamp(0, 1))


def test_features_are_those_of_the_network(file: str) -> None:
    x = random_images(6, 1, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(file).embedding(x), expected(x))
        colour = random_images(2, 3, 12, 12)
        torch.testing.assert_close(loaded(file).embedding(colour), net()(colour))


def test_mahalanobis_reads_them(file: str) -> None:
    train, x, model, detector = random_images(50, 1, 8, 8), random_images(4, 1, 8, 8, seed=1), loaded(file), Mahalanobis()
    scored = detector.score(x, model, detector.calibrate(train, model, CTX), {}, CTX)
    assert scored.evaluations == 1
    assert bool((scored.scores > 0).all())


def test_the_cosine_distance(file: str) -> None:
    x, found = random_images(4, 1, 8, 8, seed=1), random_images(3, 4, 1, 8, 8, seed=2)
    detector = LiftMapDetect(distance="cosine", trunk=file)
    assert [str(f) for f in detector.files()] == [file]
    distances = detector.score(x, toy_denoiser(), {}, {"reconstructions": found}, CTX).extras["distances"]
    for k in range(3):
        cosine = nn.functional.cosine_similarity(expected(x).double(), expected(found[k]).double())
        torch.testing.assert_close(distances[k], 1 - cosine, rtol=1e-4, atol=1e-7)
    with pytest.raises(InvalidInput, match=r"trunk: FILE\.pt2"):
        LiftMapDetect(distance="cosine").files()
    with pytest.raises(InvalidInput, match="cosine reads no heads:"):
        LiftMapDetect(distance="cosine", trunk=file, heads=file)


def test_networks_that_do_not_fit(file: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no file"):
        PretrainedFeatures(path=str(tmp_path / "absent.pt2")).files()
    grey = exported(tmp_path / "grey.pt2", module=nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()), colours=1)
    with pytest.raises(InvalidInput, match="network of square RGB images"):
        loaded(grey)
    maps = loaded(exported(tmp_path / "maps.pt2", module=nn.Conv2d(3, 2, 3)))
    with pytest.raises(InvalidInput, match=r"export one that gives \(B, d\)"):
        maps.embedding(random_images(2, 1, 8, 8))
    with pytest.raises(InvalidInput, match="grey or RGB"):
        PretrainedFeatures(path=file).build(DataSpec(shape=(2, 8, 8), low=0.0, high=1.0), CTX)
