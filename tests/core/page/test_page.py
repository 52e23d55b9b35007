# SPDX-License-Identifier: Apache-2.0
"""The page as a file: what is in it, what its policy lets it do, and that it is the same each time."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_cases import HOSTILE, hills
from PIL import Image

from lipbench.leaderboard.board import make_board, render
from lipbench.leaderboard.render.html import build
from lipbench.leaderboard.render.html.images import SVG, read_images, share
from lipbench.leaderboard.render.html.images import Image as Plot
from lipbench.leaderboard.render.html.slim import slim
from lipbench.results.store import RECORDS

ROOT = Path(__file__).parents[3]
PAGE = files("lipbench.leaderboard.render.html")
VENDOR = PAGE / "vendor"
FREE = {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT"}


class Reader(HTMLParser):
    """Elements with their attributes, and the texts of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag, attributes = self.elements[-1] if self.elements else ("", {})
        if tag in ("script", "style") and data.strip():
            self.texts.append((tag, attributes, data))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    hills(tmp_path / "hills")
    return tmp_path / "hills"


def page_of(folder: Path) -> str:
    return render([make_board(folder, [])], "html")


def test_vendored_files_are_those_of_the_manifest() -> None:
    manifest = json.loads((VENDOR / "manifest.json").read_text())
    assert {name: hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() for name in manifest["files"]} == {
        name: said["sha256"] for name, said in manifest["files"].items()
    }
    licences = (VENDOR / "LICENSES.txt").read_text()
    assert (VENDOR / "vendor.js").read_text().startswith(f"/*! Libraries of this page and their licences.\n\n{licences}*/")
    locked = json.loads((ROOT / "tools/vendor/package-lock.json").read_text())["packages"]
    for package in manifest["packages"]:
        assert package["licence"] in FREE
        assert f"{package['name']} {package['version']} ({package['licence']})" in licences
        assert locked[f"node_modules/{package['name']}"]["integrity"] == package["integrity"]


def test_same_records_give_the_same_bytes_anywhere(folder: Path, tmp_path: Path) -> None:
    first = page_of(folder)
    lines = (folder / RECORDS).read_text().splitlines(keepends=True)
    (folder / RECORDS).write_text("".join(reversed(lines)))
    moved = shutil.copytree(folder, tmp_path / "elsewhere" / "hills")
    assert page_of(moved) == first


def test_policy_names_just_the_scripts_and_styles_that_are_there(folder: Path) -> None:
    read = Reader(page_of(folder))
    policy = next(a["content"] for tag, a in read.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    rules = {name: values for name, *values in (rule.split() for rule in policy.split(";"))}
    assert rules["default-src"] == ["'none'"]
    assert rules["img-src"] == ["data:"]
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        texts = [text for kind, attributes, text in read.texts if kind == tag and "type" not in attributes]
        assert [f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'" for t in texts] == rules[
            f"{tag}-src"
        ]


def test_page_names_nothing_outside_itself(folder: Path) -> None:
    read = Reader(page_of(folder))
    addresses = [
        value for _, a in read.elements for name in ("src", "href", "srcset", "action") if (value := a.get(name)) is not None
    ]
    assert all(address.startswith(("#", "data:image/svg+xml,")) for address in addresses)
    assert not any(name.startswith("on") or name == "style" for _, attributes in read.elements for name in attributes)
    assert {tag for tag, _ in read.elements} & {"iframe", "object", "embed", "link", "base"} == {"link"}


def test_no_text_of_a_suite_becomes_markup(folder: Path) -> None:
    text = page_of(folder)
    assert HOSTILE not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert not re.search(r"</script|<!--", (VENDOR / "vendor.js").read_text(), re.IGNORECASE)
    assert not any(
        re.search(r"</script|<!--", f.read_text(), re.IGNORECASE) for f in (PAGE / "assets").iterdir() if f.name.endswith(".js")
    )


def test_own_script_never_parses_text_as_markup_or_code() -> None:
    ours = "".join(f.read_text() for f in (PAGE / "assets").iterdir() if f.name.endswith(".js"))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|fetch\(", ours)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1), st.integers(1, 300), st.booleans())
def test_slimmer_images_look_the_same(height: int, width: int, seed: int, colours: int, opaque: bool) -> None:
    draw = np.random.default_rng(seed)
    palette = draw.integers(0, 256, (colours, 4), dtype=np.uint8)
    palette[:, 3] |= 255 * opaque
    pixels = palette[draw.integers(0, colours, (height * 10, width * 10))]
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "png")
    svg = b'<svg><image href="data:image/png;base64,' + base64.b64encode(out.getvalue()) + b'"/></svg>'
    slimmer = slim(svg)
    inside = base64.b64decode(slimmer.split(b"base64,")[1].split(b'"')[0])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(inside)).convert("RGBA")), pixels)
    assert len(slimmer) <= len(svg)


def test_of_a_plot_in_several_forms_the_smallest_is_taken(tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8))
    for suffix in ("png", "webp"):
        picture.save(tmp_path / f"noise.{suffix}")
    found = [(image.name, image.kind, image.width, image.height) for image in read_images(tmp_path)]
    assert found == [("noise", "image/webp", 60, 40)]


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=9))
def test_coordinates_move_by_less_than_a_reader_sees(numbers: list[float]) -> None:
    text = " ".join(f"L {x:.6f},{x / 7:.6f}" for x in numbers)
    rounded = slim(f'<svg><path d="{text}" style="opacity: 0.123456"/><use x="{numbers[0]:.6f}"/></svg>'.encode())
    assert b"0.123456" in rounded
    pairs = zip(*(re.findall(r"-?[\d.]+", said.split('"')[1]) for said in (f'"{text}"', rounded.decode())), strict=True)
    assert all(abs(float(a) - float(b)) <= 5e-5 * abs(float(a)) + 1e-6 for a, b in pairs)


def test_paths_of_several_plots_stand_in_the_page_once() -> None:
    sign, own = b'<path id="A" d="M 0 0 L 1 1"/>', b'<path id="B" d="M 0 0"/>'
    texts = [
        b"<svg>" + sign + own + b"</svg>",
        b"<svg>" + sign + sign + b"</svg>",
        b"<svg/>",
        b"<svg><?shared 0?>" + sign + b"</svg>",
    ]
    shared, short = share([Plot(name=str(k), kind=SVG, content=text, width=0, height=0) for k, text in enumerate(texts)])
    assert shared == [sign.decode()]
    assert short == [b"<svg><?shared 0?>" + own + b"</svg>", b"<svg>" + b"<?shared 0?>" * 2 + b"</svg>", None, None]
    back = [text and re.sub(rb"<\?shared (\d+)\?>", lambda found: shared[int(found[1])].encode(), text) for text in short]
    assert back == [*texts[:2], None, None]


def test_largest_plots_give_way_where_a_page_would_be_too_long(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "plots" / "noise.png")
    keys = re.findall(r'id="image-(\w+)"', page_of(folder))
    assert len(keys) == 3
    monkeypatch.setattr(build, "_PAGE", 0)
    monkeypatch.setattr(build, "_PLOTS", 10_000)
    left = re.findall(r'id="image-(\w+)"', page_of(folder))
    assert left == [
        key for key in keys if key != hashlib.sha256((folder / "plots" / "noise.png").read_bytes()).hexdigest()[:16]
    ]


def test_image_that_is_none_stays_as_it_is() -> None:
    svg = b'<svg><image href="data:image/png;base64,AAAA"/></svg>'
    assert slim(svg) == svg


def test_of_a_plot_in_two_formats_the_smaller_is_taken(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), "red").save(tmp_path / "a.png")
    (tmp_path / "a.svg").write_text(
        "<svg viewBox='0 0 3 2'>" + "".join(f"<path d='M{k * 7919 % 10007}'/>" for k in range(999)) + "</svg>"
    )
    Image.new("RGB", (30, 20)).save(tmp_path / "b.png")
    (tmp_path / "notes.txt").write_text("no plot")
    assert [(i.name, i.kind, i.width, i.height) for i in read_images(tmp_path)] == [
        ("a", "image/png", 300, 200),
        ("b", "image/png", 30, 20),
    ]


def test_output_goes_to_a_file_in_any_format(folder: Path, cli) -> None:  # type: ignore[no-untyped-def]
    for form, words in {"html": "<!doctype html>", "csv": "suite,table", "text": "How steep?"}.items():
        target = folder.parent / "out" / f"board.{form}"
        done = cli("leaderboard", folder.parent, "--format", form, "--output", target)
        assert (done.code, done.out) == (0, "")
        assert target.read_text().lstrip().startswith(words)


def test_output_that_cannot_be_written_is_one_line(folder: Path, cli) -> None:  # type: ignore[no-untyped-def]
    (folder.parent / "file").write_text("")
    done = cli("leaderboard", folder.parent, "--format", "html", "--output", folder.parent / "file" / "page.html")
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "choose another file by --output" in done.err
