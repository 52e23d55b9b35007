# SPDX-License-Identifier: Apache-2.0
"""The page as a reader uses it; every test also fails on any complaint of the browser and on any request to the network."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from page_cases import HOSTILE, RUN, SIGN, WIDTHS, hills, value_of

from lipbench.contract.values import Column, Entry, Table
from lipbench.leaderboard.board import make_board, render
from lipbench.leaderboard.page import Board

RESULTS = "#t-results"
FEW = "results.f.width=1&all-values.f.width=2&results.ranks=1"
"""What is looked at place by place is quicker with few rows."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a suite with several seeds, failures, long tables, plots, logs, and names that are meant to do harm."""
    folder = tmp_path_factory.mktemp("page")
    hills(folder / "results" / "hills")
    (folder / "page.html").write_text(render([make_board(folder / "results" / "hills", [])], "html"))
    return folder / "page.html"


Open = Callable[..., Any]


@pytest.fixture
def visit(browser: Any, built: Path) -> Iterator[Open]:
    """Open the page at a hash; whatever it complains of, or asks the network for, fails the test at its end."""
    complaints: list[str] = []
    contexts: list[Any] = []

    def call(hash: str = "#/hills", *, strict: bool = True, **options: Any) -> Any:
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | options))
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: strict and complaints.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: asked.url.startswith(("file:", "data:")) or complaints.append(asked.url))
        page.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}") or dialog.dismiss())
        page.goto(f"{built.as_uri()}{hash}")
        if hash.startswith("#/h"):
            page.locator("html[data-ready=hills]").wait_for(state="attached")
        return page

    yield call
    for context in contexts:
        context.close()
    assert not complaints


def column(page: Any, number: int) -> list[str]:
    return page.locator(f'{RESULTS} tbody td[data-column="{number}"]').all_inner_texts()


def numbers(page: Any) -> list[float]:
    """The steepness of the rows in sight, without its half-width."""
    return [float(text.split("±")[0]) for text in column(page, 2) if text.strip() not in ("failed", "")]


def rows_said(page: Any) -> str:
    return page.locator(f"{RESULTS} .count").inner_text()


def test_overview_leads_to_the_suite(visit: Open) -> None:
    page = visit("")
    assert page.locator("h1").inner_text() == "Leaderboards"
    page.locator(".contents h2 a").click()
    page.locator("html[data-ready=hills]").wait_for(state="attached")
    assert page.url.endswith("#/hills")
    page.go_back()
    page.wait_for_selector("#overview:visible")


def test_only_the_rows_in_sight_exist_and_scrolling_brings_the_others(visit: Open) -> None:
    page = visit()
    assert 20 < len(column(page, 0)) < WIDTHS
    page.locator(f"{RESULTS} .scroller").evaluate("box => box.scrollTop = box.scrollHeight")
    page.wait_for_selector(f'{RESULTS} td[data-row="{WIDTHS - 1}"]')


def test_sort_goes_best_first_then_the_other_way_then_back(visit: Open) -> None:
    page = visit()
    before = column(page, 2)
    head = page.locator(f"{RESULTS} th", has_text="steepness")
    head.locator("button").click()
    assert numbers(page)[:3] == [float(WIDTHS - 1 - k) + 0.1 for k in range(3)] == sorted(numbers(page), reverse=True)[:3]
    assert head.get_attribute("aria-sort") == "descending"
    head.locator("button").click()
    assert numbers(page) == sorted(numbers(page))
    head.locator("button").click()
    assert column(page, 2) == before
    assert "sort" not in page.url


def test_failed_cells_stay_last_and_say_why(visit: Open) -> None:
    page = visit("#/hills?results.sort=steepness")
    page.locator(f"{RESULTS} .scroller").evaluate("box => box.scrollTop = box.scrollHeight")
    last = page.locator(f'{RESULTS} td[data-row="{WIDTHS - 1}"][data-column="2"]')
    last.click()
    panel = page.locator("#panel")
    assert "failed" in last.inner_text()
    assert panel.locator(".value").inner_text() == "failed"
    assert f"crash: it fell <b>hard</b>; log: {RUN}-1.log" in panel.inner_text()
    assert "Traceback </pre><script>alert(4)</script>" in panel.inner_text()


def test_filter_by_a_role_that_the_address_keeps(visit: Open) -> None:
    page = visit()
    page.get_by_role("button", name="Filter").locator("visible=true").first.click()
    box = page.locator(":popover-open")
    box.locator("summary", has_text="network").click()
    box.locator("label", has_text="mlp").click()
    assert rows_said(page) == f"{WIDTHS // 3} of {WIDTHS} rows"
    assert set(column(page, 0)) == {"mlp"}
    page.keyboard.press("Escape")
    again = visit(page.url[page.url.index("#") :])
    assert set(column(again, 0)) == {"mlp"}
    again.get_by_role("button", name="Reset").click()
    assert rows_said(again) == f"{WIDTHS} rows"


def test_search_finds_words_in_any_column(visit: Open) -> None:
    page = visit()
    page.get_by_label("Search rows of Results").fill("MLP 49")
    page.locator(f"{RESULTS} .count", has_text=" of ").wait_for()
    assert column(page, 0) == ["mlp"]
    assert "results.q=MLP+49" in page.url


def test_columns_and_rows_can_be_hidden(visit: Open) -> None:
    page = visit("#/hills?results.hide=width")
    assert page.locator(f"{RESULTS} th").all_inner_texts()[0].startswith("network")
    assert not page.locator(f"{RESULTS} th", has_text="width").count()
    page.locator(f'{RESULTS} td[data-row="0"][data-column="1"]').click()
    page.get_by_role("button", name="Hide this row").click()
    assert rows_said(page) == f"{WIDTHS - 1} of {WIDTHS} rows"


def test_panel_says_where_a_value_comes_from(visit: Open) -> None:
    page = visit()
    place = page.locator(f'{RESULTS} td[data-row="1"][data-column="2"]')
    place.click()
    said = page.locator("#panel").inner_text()
    for words in [
        str((value_of(1, 0) + value_of(1, 1)) / 2), "90 %, bootstrap", "250 ms", "1 MiB", "steps\n7", "c0ffee with changes",
        "lipbench run hills.yaml", "00010steep", "</script><b>bold</b>", RUN,
    ]:  # fmt: skip
        assert words in said
    page.locator("#panel summary", has_text="Versions").click()
    assert "2.9.0" in page.locator("#panel").inner_text()
    again = visit(page.url[page.url.index("#") :])
    assert again.locator("#panel").inner_text().startswith("Results\n\nsteepness")
    again.keyboard.press("Escape")
    assert again.locator("#panel").is_hidden()
    assert again.evaluate("document.activeElement.dataset.row") == "1"


def test_all_values_has_the_metrics_that_the_suite_leaves_out(visit: Open) -> None:
    page = visit()
    assert not page.locator(f"{RESULTS} th", has_text="effort").count()
    assert page.locator("#t-all-values th", has_text="effort").count() == 1


def test_table_is_used_by_keyboard_alone(visit: Open) -> None:
    page = visit()
    page.locator(f'{RESULTS} td[data-row="0"][data-column="0"]').focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.id") == "panel-title"
    page.keyboard.press("Escape")
    assert page.evaluate("[document.activeElement.dataset.row, document.activeElement.dataset.column]") == ["1", "2"]
    page.keyboard.press("Control+End")
    assert page.evaluate("document.activeElement.dataset.column") == "2"
    page.keyboard.press("Control+Home")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    assert page.locator(f"{RESULTS} th").last.get_attribute("aria-sort") == "descending"


def test_scatter_marks_the_pareto_front(visit: Open) -> None:
    page = visit("#/hills?all-values.plot.x=effort&all-values.plot.y=steepness&all-values.f.network=mlp")
    front = page.locator("#t-all-values .front")
    mlp = [(k // 3 + k % 3, (value_of(k, 0) + value_of(k, 1)) / 2) for k in range(0, WIDTHS, 3)]
    wanted = [(x, y) for x, y in mlp if not any((u <= x and v >= y) and (u, v) != (x, y) for u, v in mlp)]
    assert front.locator("summary").inner_text() == f"On the Pareto front: {len(wanted)} of {len(mlp)} rows"
    assert page.locator("#t-all-values .point:not(.behind)").count() >= len(wanted)
    page.locator("#t-all-values").get_by_label("x axis").select_option("cost:seconds")
    assert "all-values.plot.x=cost%3Aseconds" in page.url


def test_dark_mode_follows_the_system_and_the_button(visit: Open) -> None:
    page = visit(color_scheme="dark")
    shade = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(shade)
    page.locator("#theme").click()
    assert page.evaluate(shade) == "rgb(255, 255, 255)" != dark
    page.locator("#theme").click()
    page.emulate_media(color_scheme="light")
    assert page.evaluate(shade) == dark


def test_hostile_names_are_shown_as_text(visit: Open) -> None:
    page = visit()
    assert page.locator("h1").last.inner_text() == f"How steep? {HOSTILE}"
    assert column(page, 0)[1:3] == [HOSTILE, "ab[U+202E]dc"]
    assert page.locator("main script, main img[src=x], article svg script").count() == 0
    links = page.locator("#suite a").evaluate_all("all => all.map((a) => a.href)")
    assert links == ["https://example.org/a?b=1", "https://doi.org/10.1234/hills.5"]


def test_plots_are_images_that_run_nothing_and_load_nothing(visit: Open) -> None:
    page = visit()
    images = page.locator("#plots img")
    images.last.scroll_into_view_if_needed()
    for place in range(2):
        page.locator("#plots img[src]").nth(place).wait_for()
    widths = images.evaluate_all("all => Promise.all(all.map((image) => image.decode().then(() => image.naturalWidth)))")
    assert min(widths) > 0
    addresses = images.evaluate_all("all => all.map((image) => image.src)")
    assert {address.partition(",")[0] for address in addresses} == {"data:image/svg+xml;base64"}
    assert all(base64.b64decode(address.partition(",")[2]).decode().count(SIGN) == 1 for address in addresses)


def test_long_names_break_and_a_table_without_title_has_one(browser: Any, tmp_path: Path) -> None:
    name = "x" * 300
    columns = [Column(name="net", key=True), Column(name="v" * 300, direction="higher")]
    rows = [[Entry(text=text), Entry(text="1", value=1.0)] for text in (name, "e\u0301", "\u00e9")]
    tables = [Table(title="", columns=columns, rows=rows * 3)]
    boards = [Board(suite=f"suite_{k}", title=name, tables=tables) for k in range(9)]
    (tmp_path / "page.html").write_text(render(boards, "html"))
    page = browser.new_page(viewport={"width": 600, "height": 800})
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 600
    page.goto(f"{(tmp_path / 'page.html').as_uri()}#/suite_8?table.q=%C3%A9")
    page.locator("html[data-ready=suite_8]").wait_for(state="attached")
    assert page.evaluate("document.documentElement.scrollWidth") == 600
    assert page.locator("#t-table h2").inner_text() == "Table"
    assert page.locator("#t-table th").last.bounding_box()["width"] < 450
    assert page.locator("#t-table .count").inner_text() == "6 of 9 rows"
    link, bar = page.locator("a[aria-current]").bounding_box(), page.locator(".suites").bounding_box()
    assert bar["x"] <= link["x"]
    assert link["x"] + link["width"] <= bar["x"] + bar["width"] + 1
    page.close()


def test_address_of_a_view_shows_its_table(visit: Open) -> None:
    page = visit("#/hills?all-values.sort=-effort")
    assert 0 <= page.locator("#t-all-values").bounding_box()["y"] < 400


def test_plot_that_found_no_room_says_where_it_is(visit: Open) -> None:
    page = visit("")
    page.locator("script[id^=image-]").evaluate_all("all => all.forEach((image) => image.remove())")
    page.evaluate("location.hash = '#/hills'")
    assert "plots/climb.svg" in page.locator("#plots .absent").first.inner_text()


def test_policy_stops_what_is_not_in_it(visit: Open, built: Any) -> None:
    text = built.read_text()
    assert "unsafe" not in text.partition('content="')[2].partition('"')[0]
    page = visit(strict=False)
    ran = page.evaluate(
        """() => new Promise((done) => {
            document.addEventListener("securitypolicyviolation", (event) => done(event.violatedDirective), { once: true });
            try { document.body.insertAdjacentHTML("beforeend", "<b onclick='1'>x</b>"); } catch { /* trusted types */ }
            setTimeout(() => done("nothing"), 500);
        })"""
    )
    assert ran.startswith(("require-trusted-types-for", "script-src"))


def test_print_shows_all_rows(visit: Open) -> None:
    page = visit()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert len(column(page, 0)) == WIDTHS
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert len(column(page, 0)) < WIDTHS


def test_phone_shows_no_more_than_its_width(visit: Open) -> None:
    page = visit(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator(f'{RESULTS} td[data-row="1"][data-column="1"]').tap()
    assert page.locator("#panel").bounding_box()["width"] == 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("hash", ["", f"#/hills?cell=00010steep&{FEW}", f"#/hills?all-values.plot.x=effort&{FEW}"])
def test_axe_finds_nothing(visit: Open, scheme: str, hash: str) -> None:
    page = visit(hash, color_scheme=scheme)
    # Through the debugger: the page's own policy would not let a script in.
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text())
    # The themes differ by nothing but their colours.
    rules = "{}" if scheme == "light" else "{ runOnly: ['color-contrast'] }"
    found = page.evaluate(f"axe.run(document, {rules})")
    assert [(v["id"], [n["html"][:200] for n in v["nodes"]][:3]) for v in found["violations"]] == []
