"""The code blocks of the pages, as the parser of the pages sees them.

What stands in a comment before a block is for whoever runs it and is not shown:

* `<!-- not executed: reason -->`: the block is not run, and why.
* `<!-- before: code -->`: Python that is run before the block, for names that the page has from its context.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

COMMENT = re.compile(r"<!--\s*(not executed|before):(.*?)-->\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of code, and the comment before it."""

    page: str
    line: int
    language: str
    text: str
    marker: str = ""
    said: str = ""

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return f"{self.page}:{self.line}"

    @property
    def is_executed(self) -> bool:
        """Whether it is run, or read by a parser of its language."""
        return self.marker != "not executed"

    @property
    def before(self) -> str:
        """Python to run before it."""
        return self.said if self.marker == "before" else ""


def blocks_of(page: Path) -> list[Block]:
    """Find the blocks of a page, in order."""
    tokens = MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8"))
    name = str(page.relative_to(ROOT))
    return [
        _block(name, token, before)
        for before, token in zip([None, *tokens], tokens, strict=False)
        if token.type == "fence"
    ]


def _block(page: str, token: Token, before: Token | None) -> Block:
    line = token.map[0] + 1 if token.map else 0
    comment = COMMENT.fullmatch(before.content) if before is not None and before.type == "html_block" else None
    marker, said = comment.groups() if comment else ("", "")
    return Block(page, line, token.info.strip(), token.content, marker, said.strip())


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def of_page(*languages: str) -> dict[str, list[Block]]:
    """Group what is run of these languages by page."""
    pages: dict[str, list[Block]] = {}
    for block in BLOCKS:
        if block.language in languages and block.is_executed:
            pages.setdefault(block.page, []).append(block)
    return pages
