# SPDX-License-Identifier: Apache-2.0
"""Artifacts at a URL: published whole, fetched by machines that lack them, gone on from where a fit was cut off."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from conftest import Cli
from fsspec.implementations.memory import MemoryFileSystem

from lipbench.api import InvalidInput
from lipbench.execution.mirror import artifacts_at


class Bucket(MemoryFileSystem):
    """Objects by name, without folders, as a bucket has them."""

    protocol = "bucket"

    @classmethod
    def _strip_protocol(cls, path: str) -> Any:
        return super()._strip_protocol(path.replace("bucket://", "memory://"))


STATE = {"weight": torch.arange(6.0).reshape(2, 3)}


@pytest.fixture(params=["file", "bucket"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    fsspec.register_implementation("bucket", Bucket, clobber=True)
    yield f"file://{tmp_path}/far/away" if request.param == "file" else "bucket://far/away"
    Bucket.store.clear()


@pytest.fixture
def _machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each machine has a cache of its own."""
    monkeypatch.setenv("LIPBENCH_CACHE", str(tmp_path / "one"))


def move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIPBENCH_CACHE", str(tmp_path / "two"))


@pytest.mark.usefixtures("_machine")
def test_what_one_machine_stores_another_one_finds(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not artifacts_at(url).has("a")
    artifacts_at(url).save("a", STATE, {"seconds": 1.5})
    move(tmp_path, monkeypatch)
    found = artifacts_at(url)
    assert (found.has("a"), found.has("b")) == (True, False)
    assert torch.equal(found.load("a")["weight"], STATE["weight"])
    assert json.loads((found.folder / "a.json").read_text())["seconds"] == 1.5
    with pytest.raises(InvalidInput, match="cannot be used"):
        found.load("b")
    system, root = fsspec.core.url_to_fs(url)
    assert sorted(Path(name).name for name in system.ls(root, detail=False)) == ["a.json", "a.safetensors"]


@pytest.mark.usefixtures("_machine")
def test_a_copy_that_is_damaged_or_old_is_fetched_again(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = artifacts_at(url)
    here.save("a", STATE, {})
    here.path("a").write_bytes(b"torn")
    assert torch.equal(artifacts_at(url).load("a")["weight"], STATE["weight"])
    move(tmp_path, monkeypatch)
    artifacts_at(url).save("a", {"weight": -STATE["weight"]}, {})
    monkeypatch.setenv("LIPBENCH_CACHE", str(tmp_path / "one"))
    assert torch.equal(artifacts_at(url).load("a")["weight"], -STATE["weight"])


@pytest.mark.usefixtures("_machine")
def test_a_fit_goes_on_on_another_machine(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = artifacts_at(url).checkpoint("a")
    assert checkpoint.load() is None
    checkpoint.save(STATE)
    move(tmp_path, monkeypatch)
    there = artifacts_at(url).checkpoint("a")
    state = there.load()
    assert state is not None
    assert torch.equal(state["weight"], STATE["weight"])
    there.drop()
    there.drop()
    assert artifacts_at(url).checkpoint("a").load() is None


def test_a_run_takes_its_fits_from_there(cli: Cli, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trace").mkdir()
    (tmp_path / "s.yaml").write_text(
        "lipbench: 1\nsuite: s\ntask: multiply\nmetrics: [mean]\n"
        f"matrix: {{model: {{use: learned, trace: {tmp_path / 'trace'}}}, data: numbers}}\n"
    )
    words = [tmp_path / "s.yaml", "--plugin", toy, "--artifacts", f"file://{tmp_path}/far", "--results"]
    assert cli("run", *words, tmp_path / "a", "--no-plots").code == 0
    assert "0 of 1 models to fit" in cli("plan", *words, tmp_path / "b").out
    assert cli("run", *words, tmp_path / "b", "--no-plots").code == 0
    assert len(list((tmp_path / "trace").iterdir())) == 1
    assert not (tmp_path / "a" / "artifacts").exists()
    shutil.rmtree(tmp_path / "far")
    assert "1 of 1 models to fit" in cli("plan", *words, tmp_path / "c").out


@pytest.mark.parametrize("place", ["nowhere://a/b", "s3://bucket/a", "ftp://127.0.0.1:1/a", "memory://a"])
def test_a_url_that_cannot_be_used_is_one_line(cli: Cli, toy: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "s.yaml").write_text(
        "lipbench: 1\nsuite: s\ntask: multiply\nmatrix: {model: fixed, data: numbers}\nmetrics: [mean]\n"
    )
    for command in ("run", "plan"):
        done = cli(command, tmp_path / "s.yaml", "--plugin", toy, "--results", tmp_path / "out", "--artifacts", place)
        assert done.code == 2
        assert done.err.startswith(f"error: --artifacts {place}: ")
        assert len(done.err.strip().splitlines()) == 1
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("far", "said"), [("/proc/lipbench", "written"), ("FOLDER/file/far", "listed")])
def test_a_url_that_cannot_be_written_is_found_out_before_a_fit(
    cli: Cli, toy: Path, tmp_path: Path, far: str, said: str
) -> None:
    (tmp_path / "trace").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "s.yaml").write_text(
        "lipbench: 1\nsuite: s\ntask: multiply\nmetrics: [mean]\n"
        f"matrix: {{model: {{use: learned, trace: {tmp_path / 'trace'}}}, data: numbers}}\n"
    )
    url = "file://" + far.replace("FOLDER", str(tmp_path))
    done = cli("run", tmp_path / "s.yaml", "--plugin", toy, "--results", tmp_path / "out", "--artifacts", url)
    assert done.code == 1
    assert done.err.startswith(f"error: {url} cannot be {said}: ")
    assert len(done.err.strip().splitlines()) == 1
    assert list((tmp_path / "trace").iterdir()) == []
