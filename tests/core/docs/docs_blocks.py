# SPDX-License-Identifier: Apache-2.0
"""The pages of the documentation, and the fenced blocks in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md")
    for path in ROOT.glob(pattern)
    if ".venv" not in path.parts
)
CHAINS = [
    [f"docs/tutorial/{name}.md" for name in ("first_run", "first_metric", "first_model", "first_task", "package")],
    ["docs/plugins.md", "docs/testing.md"],
]
"""Pages that go on in the folder of the one before."""
FENCE = re.compile(r"^```(.*)$")


@dataclass(frozen=True)
class Block:
    """A fenced block: ```LANGUAGE WORDS."""

    page: str
    line: int
    language: str
    words: tuple[str, ...]
    text: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def parse(text: str, page: str) -> list[Block]:
    """All blocks of a page; an AssertionError where one is not closed, or is code in another form than a plain fence."""
    found: list[Block] = []
    start, info, body = 0, "", []
    blank = True
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if fence and not start:
            start, info, body = number, fence[1], []
        elif fence:
            language, *words = info.split() or [""]
            found.append(Block(page, start, language, tuple(words), "\n".join(body)))
            start = 0
        elif start:
            body.append(line)
        else:
            assert not re.match(r"\s*(~~~|```)", line), f"{page}:{number}: write fences as ``` at the beginning of a line"
            assert not (blank and line.startswith(("    ", "\t"))), f"{page}:{number}: code by indentation; write a fence"
        blank = not line.strip()
    assert not start, f"{page}:{start}: this block is not closed"
    return found


def blocks(page: str) -> list[Block]:
    return parse((ROOT / page).read_text(), page)


def prose(page: str) -> str:
    """A page without its fenced blocks."""
    text = (ROOT / page).read_text()
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
