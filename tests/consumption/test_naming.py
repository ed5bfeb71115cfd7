"""The model of a long answer is found wherever its bytes are cut, and nothing else is taken for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ai_gateway.bodies import MAX_MODEL
from ai_gateway.listeners.naming import LONGEST, MOST, Naming


def named(*pieces: bytes) -> object:
    naming = Naming()
    *begin, end = pieces
    for piece in begin:
        naming.take(piece)
    assert naming.with_end(end) == naming.with_end(end)
    return naming.with_end(end).get("model")


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["gpt-5-mini", 'a "model"', "caf\u00e9"])
def test_it_is_found_wherever_the_bytes_are_cut(name: str, indent: int | None) -> None:
    body = json.dumps({"instructions": 'the "model": "x"', "model": name, "output": []}, indent=indent).encode()
    for place in range(len(body) + 1):
        assert named(body[:place], body[place:]) == name
    assert named(*(body[place : place + 1] for place in range(len(body)))) == name


@pytest.mark.parametrize(
    "document",
    [
        {"text": json.dumps({"model": "x"})},
        {"models": "x", "a model": "x"},
        {"model": None},
        {"model": ""},
        {"model": {"name": "x"}},
        {"kind": "model"},
        {"model": "x" * (MAX_MODEL + 1)},
    ],
)
def test_what_is_no_name_is_none(document: Any) -> None:
    assert named(json.dumps(document).encode()) is None
    assert named(json.dumps(document).encode(), b" " * 2 * LONGEST, b"") is None


def test_the_first_name_counts() -> None:
    body = json.dumps([{"model": None}, {"model": "gpt-5"}, {"model": "x"}]).encode()
    assert named(body, b"", body) == "gpt-5"
    assert named(b"", body) == "gpt-5"


def test_nobody_looks_for_it_for_ever() -> None:
    end = json.dumps({"model": "gpt-5"}).encode()
    assert named(b'"model":null,' * (MOST - 1), end) == "gpt-5"
    assert named(b'"model":null,' * MOST, end) is None


def test_little_is_held() -> None:
    naming = Naming()
    for _ in range(100):
        naming.take(b'"model":"' + b"x" * 1000)
        assert len(naming._held) <= LONGEST + 1009
