"""The arguments of a call, piece by piece: what can be parsed at any time, and nothing where there are none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_gateway.protocols.arguments import Arguments
from ai_gateway.protocols.jsontext import arguments_object


def added(*pieces: str) -> list[str]:
    """What comes out for each piece."""
    return list(map(Arguments().add, pieces))


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ((" ", '{"a":', " 1}"), ["", '{"a":', " 1}"]),
        (('\n {"a"', ":1}"), ['{"a"', ":1}"]),
        ((" ", "\n"), ["", ""]),
        (("null",), [""]),
        ((" nu", "ll", "\n"), ["", "", ""]),
        (("nu", "mber"), ["", "number"]),
        ((), []),
    ],
)
def test_what_means_nothing_is_held_back(pieces: tuple[str, ...], expected: list[str]) -> None:
    assert added(*pieces) == expected


OBJECTS = st.dictionaries(st.text(max_size=3), st.none() | st.integers() | st.text(max_size=3), max_size=3)
BLANK = st.text(" \t\r\n", max_size=3)


@given(BLANK, OBJECTS | st.none(), BLANK, st.integers(1, 5))
def test_however_they_are_cut_they_mean_the_same(before: str, value: object, behind: str, size: int) -> None:
    raw = before + json.dumps(value) + behind
    pieces = [raw[start : start + size] for start in range(0, len(raw), size)]
    assert arguments_object("".join(added(*pieces))) == (value or {})
