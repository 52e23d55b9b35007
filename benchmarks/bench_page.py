# SPDX-License-Identifier: Apache-2.0
"""The page of leaderboards with 20,000 rows in headless Chromium: opening, sorting, filtering, searching.

Run as `python benchmarks/bench_page.py [ROWS]`. Each step is timed by what the main thread of the page spends until what it
shows is laid out; the median of several is printed, and it exits 1 where one takes longer than 200 ms.
"""

from __future__ import annotations

import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from lipbench.contract.values import Column, Entry, Table
from lipbench.leaderboard.page import Board
from lipbench.leaderboard.render import html

LIMIT_MS, TIMES = 200.0, 7
METRICS = 8


def board(rows: int) -> Board:
    """A table of roles and metrics, the same for each call."""
    draw = random.Random(0)  # noqa: S311
    keys = [Column(name=name, key=True) for name in ("network", "data", "attack", "width")]
    columns = [*keys, *(Column(name=f"metric_{m}", direction="higher") for m in range(METRICS))]
    lines = []
    for row in range(rows):
        names = (f"net{row % 97}", f"data{row // 97 % 41}", f"attack{row % 7}", str(row))
        values = [draw.gauss(0, 1) for _ in range(METRICS)]
        lines.append([*(Entry(text=name) for name in names), *(Entry(text=f"{value:.4f}", value=value) for value in values)])
    return Board(suite="large", tables=[Table(title="Results", columns=columns, rows=lines)])


class Clock:
    """Times acts in a page: milliseconds of its main thread, script, style and layout, whatever else the machine does meanwhile."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.devtools = page.context.new_cdp_session(page)
        self.devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent(self) -> float:
        """Milliseconds spent so far."""
        metrics = {m["name"]: m["value"] for m in self.devtools.send("Performance.getMetrics")["metrics"]}
        return float(metrics["TaskDuration"]) * 1e3

    def timed(self, act: str) -> float:
        """Milliseconds of an act until what it changes is laid out."""
        before = self.spent()
        self.page.evaluate(f"""() => {{
            const box = document.querySelector("#t-results");
            {act};
            return box.getBoundingClientRect().height;
        }}""")
        return self.spent() - before


def measure(page: Page) -> dict[str, float]:
    """Median milliseconds of each step."""
    timed = Clock(page).timed
    head, reset = 'box.querySelectorAll("th button")[{}].click()', 'box.querySelector(".tool.quiet").click()'
    search = 'const field = box.querySelector(".search"); field.value = "{}"; field.dispatchEvent(new Event("search"))'
    found = {
        "sort by a number": [timed(head.format(4 + k % METRICS)) for k in range(TIMES)],
        "sort back and forth": [timed(head.format(4)) for _ in range(TIMES)],
        "sort by a name": [timed(head.format(k % 4)) for k in range(TIMES)],
    }
    timed(reset)
    page.locator("#t-results").get_by_role("button", name="Filter").click()
    page.locator(":popover-open summary", has_text="network").click()
    page.locator(":popover-open label").first.wait_for()
    tick = 'document.querySelectorAll(":popover-open details[open] input")[{}].click()'
    found["filter by a role"] = [timed(tick.format(k)) for k in range(TIMES)]
    found["sort what is filtered"] = [timed(head.format(5)) for _ in range(TIMES)]
    timed(reset)
    words = ("net5", "attack3", "data7 net1", "1999", "net12 attack2", "data40", "nothing")
    found["search, first"] = [timed(search.format(words[0]))]
    found["search"] = [timed(search.format(word)) for word in words[1:]]
    return {name: statistics.median(times) for name, times in found.items()}


def main() -> int:
    """Print the times; 1 where one is too long."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "page.html"
        path.write_text(html.render([board(rows)]))
        print(f"{rows:,} rows, {METRICS + 4} columns, {path.stat().st_size / 1e6:.2f} MB")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        start = time.perf_counter()
        page.goto(f"{path.as_uri()}#/large")
        page.locator("html[data-ready=large]").wait_for(state="attached")
        print(f"{'open from disk':24}{(time.perf_counter() - start) * 1e3:8.0f} ms")
        steps = measure(page)
        browser.close()
    for name, milliseconds in steps.items():
        print(f"{name:24}{milliseconds:8.0f} ms{'' if milliseconds < LIMIT_MS else '   too slow'}")
    return int(max(steps.values()) >= LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
