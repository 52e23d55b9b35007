# SPDX-License-Identifier: Apache-2.0
"""Renderers: marks, notes, units, and that no text of a plugin or a suite gets out of its place."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata

import pytest
from board_cases import table_of
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lipbench.contract.values import Column, Entry, Table
from lipbench.leaderboard.page import Board
from lipbench.leaderboard.render import csv_, json_, latex, markdown, terminal
from lipbench.leaderboard.render.text import visible

FORMS = (markdown, csv_, json_, latex, terminal)
NASTY = [
    "<script>alert(1)</script>", "a|b", "`rm -rf`", "*bold* _it_ [x](y)", "two\nlines",
    "back\\slash", "~~gone~~", "![i](u)", "# head",
    "&lt;b&gt;", "$x$", "<!-- -->",
]  # fmt: skip
BIDI = "abc\u202edef\u2066g\u200fh"


def board(*tables: Table, **words: str) -> Board:
    return Board(suite="hills", **{"title": "How steep?", **words}, tables=tables)


def marked() -> Table:
    return Table(
        title="Results",
        columns=[
            Column(name="network"),
            Column(name="line_search", direction="higher", unit="output / [0,1] input"),
            Column(name="product", direction="lower", unit="s"),
        ],
        rows=[
            [Entry(text="mlp"), Entry(text="1.5 ± 0.1", value=1.5, best=True), Entry(text="2", value=2.0, struck=True, note=1)],
            [Entry(text="cnn"), Entry(text="-1.25", value=-1.25), Entry(text="-", note=2)],
        ],
        notes=["rounding noise", "not run yet"],
        caption="How to read it.",
    )


def shown(text: str) -> str:
    """The text that a reader of the Markdown sees, without any markup."""
    html = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)
    assert "<script" not in html
    return re.sub(r"<[^>]*>", "", html)


# Markdown.


def test_markdown_shows_marks_notes_units_and_arrows() -> None:
    lines = markdown.render([board(marked(), description="One.\n\nTwo.", citation="Somebody 2020")]).splitlines()
    assert lines[:7] == ["# How steep?", "", "One.", "", "Two.", "", "Source: Somebody 2020"]
    assert "| network | line\\_search ↑ (output / \\[0,1\\] input) | product ↓ (s) |" in lines
    assert "| --- | ---: | ---: |" in lines
    assert "| mlp | **1.5 ± 0.1** | ~~2~~<sup>1</sup> |" in lines
    assert "| cnn | -1.25 | -<sup>2</sup> |" in lines
    assert lines[-2:] == ["1. rounding noise", "2. not run yet"]


def test_a_unit_that_all_columns_share_is_said_once() -> None:
    columns = [Column(name="a", unit="s"), Column(name="b", unit="s")]
    table = Table(title="T", columns=columns, rows=[[Entry(text="1", value=1.0), Entry(text="2", value=2.0)]])
    text = markdown.render([board(table)])
    assert "Values in s." in text
    assert "| a | b |" in text


def test_findings_are_shown_in_markdown() -> None:
    text = markdown.render([Board(suite="hills", tables=[marked()], findings=["lower > upper"])])
    assert text.startswith("# hills\n")
    assert "## Contradictions\n\n- lower &gt; upper\n" in text


def pipes(line: str) -> int:
    return len(re.findall(r"(?<!\\)(?:\\\\)*\|", line))


@pytest.mark.parametrize("nasty", NASTY)
def test_markdown_escapes_every_text(nasty: str) -> None:
    table = table_of(nasty, header=nasty, notes=[nasty])
    text = markdown.render([Board(suite="s", title=nasty, description=nasty, citation=nasty, tables=[table], findings=[nasty])])
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [pipes(row) for row in rows] == [3, 3, 3]
    assert shown(text).count(visible(nasty).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")) == 7


@pytest.mark.parametrize("start", ["- a", "+ a", "1. a", "12) a", "# a", "> a", "=== a", "    a", "--- a"])
def test_markdown_paragraphs_stay_paragraphs(start: str) -> None:
    text = markdown.render([Board(suite="s", description=f"x\n\n{start}", tables=[])])
    html = MarkdownIt().render(text)
    assert html.count("<p>") == 2
    assert not re.search("<(li|h[2-6]|blockquote|code|hr)", html)


@settings(deadline=None, derandomize=True)
@given(st.text(max_size=20))
def test_markdown_rows_have_their_pipes_whatever_the_text(text: str) -> None:
    rows = [r for r in markdown.render([board(table_of(text, header=text))]).split("\n") if r.startswith("|")]
    assert [pipes(row) for row in rows] == [3, 3, 3]


# CSV.


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_csv_has_numbers_marks_and_notes() -> None:
    header, first, second = read(csv_.render([board(marked())]))
    assert header == ["suite", "table", "network", "line_search", "product", "best", "second", "struck", "notes", "unit"]
    units = "line_search: output / [0,1] input; product: s"
    assert first == [
        "hills",
        "Results",
        "mlp",
        "1.5 ± 0.1",
        "2",
        "line_search",
        "",
        "product",
        "product: rounding noise",
        units,
    ]
    assert second == ["hills", "Results", "cnn", "-1.25", "", "", "", "", "product: not run yet", units]


@pytest.mark.parametrize("number", ["-1.5", "+2", "1e9", "-1.2e-7", "17", ".5"])
def test_csv_numbers_stay_numbers(number: str) -> None:
    assert read(csv_.render([board(table_of(number))]))[1][2] == number
    assert float(read(csv_.render([board(table_of(number))]))[1][2]) == float(number)


@pytest.mark.parametrize("formula", ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "-1.5 ± 0.1", "＝1+1"])  # noqa: RUF001
def test_csv_formulas_are_text(formula: str) -> None:
    rows = read(csv_.render([Board(suite=formula, tables=[table_of(formula, header=formula, notes=[formula])])]))
    for text in (rows[0][2], rows[1][0], rows[1][2]):
        assert text == f"'{visible(formula)}"
    assert rows[1][3] == "-1.5"


@settings(deadline=None, derandomize=True)
@given(st.text(max_size=20))
def test_csv_can_be_read_back(text: str) -> None:
    rows = read(csv_.render([board(table_of(text, header=text))]))
    assert [len(row) for row in rows] == [9, 9]
    back = rows[1][2]
    assert back in (visible(text), f"'{visible(text)}", "")
    assert re.fullmatch(r"[+-]?[\d.]+([eE][+-]?\d+)?", back) or not back.startswith(("=", "+", "-", "@"))


def test_csv_tables_are_parted_by_an_empty_line() -> None:
    parts = csv_.render([board(marked(), marked()), board(marked())]).split("\n\n")
    assert [len(read(part)) for part in parts] == [3, 3, 3]


# JSON.


def test_json_has_the_fields_of_the_tables() -> None:
    made = json.loads(json_.render([board(marked())]))
    assert (made["suite"], made["title"]) == ("hills", "How steep?")
    table = made["tables"][0]
    assert table["title"] == "Results"
    assert table["caption"] == "How to read it."
    assert table["columns"][1] == {"name": "line_search", "direction": "higher", "unit": "output / [0,1] input", "key": False}
    assert table["rows"][0]["product"] == {
        "text": "2",
        "value": 2.0,
        "best": False,
        "second": False,
        "struck": True,
        "note": 1,
    }
    assert table["notes"] == ["rounding noise", "not run yet"]


def test_json_of_several_boards_is_a_list_and_columns_of_one_name_are_told_apart() -> None:
    twice = Table(
        title="T", columns=[Column(name="a"), Column(name="a")], rows=[[Entry(text="1"), Entry(text="2", value=float("inf"))]]
    )
    made = json.loads(json_.render([board(twice), board()]))
    assert len(made) == 2
    assert {name: e["text"] for name, e in made[0]["tables"][0]["rows"][0].items()} == {"a": "1", "a (2)": "2"}


# LaTeX.


def test_latex_is_booktabs_with_marks() -> None:
    text = latex.render([board(marked())])
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 1
    assert r"\begin{tabular}{lrr}" in text
    assert r"network & line\_search $\uparrow$ (output / {[}0,1{]} input) & product $\downarrow$ (s) \\" in text
    assert r"mlp & \textbf{1.5 $\pm$ 0.1} & \sout{2}\textsuperscript{1} \\" in text
    assert r"cnn & $-$1.25 & -\textsuperscript{2} \\" in text
    assert [text.index(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")]
    for package in ("booktabs", "ulem"):
        assert re.search(rf"^% .*{package}", text, re.M)


def test_latex_escapes_every_special_sign() -> None:
    assert latex.escape("\\ & % $ # _ { } ~ ^") == (
        r"\textbackslash{} \& \% \$ \# \_ \{ \} \textasciitilde{} \textasciicircum{}"
    )
    assert latex.escape("--select <a> [b] -2 64-64 1e-7") == r"-{}-select \textless{}a\textgreater{} {[}b{]} $-$2 64-64 1e-7"


SAFE = re.compile(
    r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar|textasciigrave|textquotesingle|textquotedbl|ldots)\{\}"
    r"|\\[&%$#_{}]|\$(-|\\[a-z]+)\$|\{[\[\]*]\}|-\{\}"
)


@settings(deadline=None, derandomize=True)
@given(st.text(alphabet=st.characters(max_codepoint=0x2200), max_size=30))
def test_latex_leaves_no_special_sign_alone(text: str) -> None:
    assert not re.search(r"[\\&%$#_{}~^\[\]*]|--", SAFE.sub("", latex.escape(text)))


@pytest.mark.parametrize("nasty", [*NASTY, "100 % done", "\\input{/etc/passwd}", "% \\end{table}"])
def test_latex_rows_keep_their_number_of_columns(nasty: str) -> None:
    text = latex.render([Board(suite="s", title=nasty, description=nasty, tables=[table_of(nasty, header=nasty)])])
    for line in text.splitlines():
        if line.endswith(r" \\"):
            assert len(re.findall(r"(?<!\\)&", line)) == 1
            assert not re.search(r"(?<!\\)%", line)
    comments = [line for line in text.splitlines() if line.startswith("%")]
    assert len(comments) == 5 + 2


def test_latex_tables_with_many_columns_fit_the_line() -> None:
    wide = Table(title="W", columns=[Column(name=f"c{i}") for i in range(12)], rows=[[Entry(text="x")] * 12])
    assert r"\resizebox{\linewidth}" in latex.render([board(wide)])
    assert "resizebox" not in latex.render([board(marked())])


# All of them.


@pytest.mark.parametrize("form", FORMS)
def test_bidi_and_control_marks_are_seen(form: object) -> None:
    nasty = f"{BIDI}\x1b[31m\ud800"
    table = table_of(nasty, header=nasty, notes=[nasty])
    words = {"title": nasty, "description": nasty, "citation": nasty}
    text = form.render([Board(suite="s", **words, tables=[table], findings=[nasty])])  # type: ignore[attr-defined]
    assert not {c for c in text if unicodedata.category(c) in ("Cf", "Cs", "Cc")} - {"\n"}
    assert "U+202E" in text
    assert text.encode()


@pytest.mark.parametrize("form", FORMS)
def test_a_table_without_rows_is_no_error(form: object) -> None:
    text = form.render([board(Table(title="Empty", columns=[Column(name="a")], rows=[]))])  # type: ignore[attr-defined]
    assert "Empty" in text or form is csv_
