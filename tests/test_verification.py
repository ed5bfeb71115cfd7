"""The page of what is verified names tests that there are."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
PAGE = (TESTS.parent / "docs" / "verification.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| T(\d+) \|(?:[^|]*)\|(?:[^|]*)\| (.*) \|$", PAGE, re.MULTILINE)
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)))


@cache
def functions_of(file: str) -> frozenset[str]:
    """The names of the functions in a file of tests."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_situation_has_a_row_in_its_order() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, 97))


def test_every_row_says_how_it_is_verified() -> None:
    assert not [number for number, how in ROWS if "::test_" not in how and "benchmark" not in how]


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED}))
def test_every_test_that_is_named_exists(file: str) -> None:
    assert {name for named, name in NAMED if named == file} <= functions_of(file)
