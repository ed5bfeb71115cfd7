"""The security model names a test for each of its measures, and the test exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))
THREATS = PAGE.split("## Threats, measures, tests", 1)[1].split("\n## ", 1)[0]


@cache
def functions_in(file: str) -> frozenset[str]:
    """The names of the functions in a file."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_exists(file: str, name: str) -> None:
    assert name in functions_in(file)


def test_each_threat_has_a_measure_and_a_test() -> None:
    rows = [line for line in THREATS.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 30
    for row in rows:
        threat, measure, tests = (cell.strip() for cell in row.strip("|").split(" | "))
        assert threat, row
        assert measure, row
        assert "::test_" in tests, row
