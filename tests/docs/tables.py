"""Tables and paragraphs in Markdown, of what the source says."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable


def table(*rows: Iterable[str]) -> str:
    """Write a table; the first row is its head."""
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def paragraphs(docstring: str | None) -> str:
    """Write a docstring as running text; pages that it names are linked."""
    text = inspect.cleandoc(docstring or "").strip()
    joined = "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
    return re.sub(r"(?<![`\w])docs/(\w+)\.md", r"[\1](\1.md)", joined)


def code(value: str) -> str:
    """Write code within a line."""
    return f"`` {value} ``" if "`" in value else f"`{value}`"
