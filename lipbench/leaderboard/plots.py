# SPDX-License-Identifier: Apache-2.0
"""Saves the plots of plugins, with the same bytes on every day and every machine."""

from __future__ import annotations

import importlib.util
import io
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lipbench.contract.components import Report
from lipbench.contract.values import Record
from lipbench.files import write_atomic
from lipbench.leaderboard.reports import call, fault

DPI = 130
WEBP_WIDTH, WEBP_QUALITY = 1100, 75
_PIXELS = b"data:image/png"
"""What an SVG holds where a figure shows pictures."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def draw(
    folder: Path,
    reports: Iterable[Report],
    records: Sequence[Record],
    published: Sequence[Mapping[str, Any]] = (),
    own: Callable[[], Mapping[str, Any]] = dict,
) -> list[Path]:
    """Save each figure of reports that are plots, and of our own, as PNG and SVG; nothing where matplotlib is not installed.

    One that shows pictures is there as a small WebP too.
    A report that raises is logged and the others are drawn: a plot that fails must not cost the run its table.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return []
    saved: dict[Path, None] = {}
    figures = own()
    if figures:
        with _canvas():
            saved |= dict.fromkeys(_save(folder, "ranks", figures, ()))
    for report in reports:
        with _canvas():
            try:
                for path in _save(folder, report.name, call(report, records, published), saved):
                    saved[path] = None
            except Exception as error:
                logging.getLogger("lipbench").warning(fault(report, error))
    return list(saved)


@contextmanager
def _canvas() -> Iterator[None]:
    """Plain matplotlib, without a screen; figures that pyplot keeps are closed at the end."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    plt.switch_backend("Agg")
    before = set(plt.get_fignums())
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams["svg.hashsalt"] = "lipbench"
        try:
            yield
        finally:
            for number in set(plt.get_fignums()) - before:
                plt.close(number)


def _save(folder: Path, name: str, figures: Mapping[str, Any], taken: Iterable[Path]) -> Iterator[Path]:
    names = {path.stem for path in taken}
    for wanted, figure in figures.items():
        clean = _UNSAFE.sub("-", wanted).strip(".-") or name
        stem = f"{name}-{clean}" if clean in names else clean
        # Software, Creator and Date would put version and time into the files.
        drawn: dict[str, bytes] = {}
        for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
            out = io.BytesIO()
            figure.savefig(out, format=suffix, dpi=DPI, metadata=metadata)
            drawn[suffix] = out.getvalue()
        if _PIXELS in drawn["svg"]:
            drawn["webp"] = _webp(drawn["png"])
        for suffix, content in drawn.items():
            path = folder / f"{stem}.{suffix}"
            write_atomic(path, content)
            yield path


def _webp(png: bytes) -> bytes:
    """A small picture for the page: photographs and sheets of samples take ten times as much in the other formats."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        small = picture.convert("RGB")
    if small.width > WEBP_WIDTH:
        small = small.resize((WEBP_WIDTH, round(small.height * WEBP_WIDTH / small.width)), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "WEBP", quality=WEBP_QUALITY, method=6)
    return out.getvalue()
