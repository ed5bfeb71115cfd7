"""What a long answer lists is found wherever its bytes are cut, and nothing else is taken for it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ai_gateway.listeners.listings import BEFORE, LONGEST, MOST, Listing

ITEMS, QUERIES = b'"web_search_call"', b'SearchQueries"'
SEARCHED = {"type": "web_search_call", "action": {"type": "search", "query": "who won"}}
GROUNDED = {"groundingMetadata": {"webSearchQueries": ["who won", "and when"], "imageSearchQueries": ["a cup"]}}


def found(mark: bytes, *pieces: bytes) -> Mapping[str, Sequence[object]]:
    listing = Listing(mark)
    *begin, end = pieces
    for piece in begin:
        listing.take(piece)
    return listing.with_end(end)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    ("mark", "document", "listed"),
    [
        (ITEMS, {"output": [SEARCHED, {"type": "message"}, SEARCHED]}, {"output": [{"type": "web_search_call"}] * 2}),
        (QUERIES, [GROUNDED], GROUNDED["groundingMetadata"]),
    ],
    ids=["items", "queries"],
)
def test_it_is_found_wherever_the_bytes_are_cut(
    mark: bytes, document: Any, listed: dict[str, list[object]], indent: int | None
) -> None:
    body = json.dumps(document, indent=indent).encode()
    for place in range(len(body) + 1):
        assert found(mark, body[:place], body[place:]) == listed
    assert found(mark, *(body[place : place + 1] for place in range(len(body)))) == listed


def test_each_is_found_once_however_much_stands_between() -> None:
    body = json.dumps([SEARCHED, "x" * 5000] * 50).encode()
    for size in (1000, LONGEST - 1, LONGEST, LONGEST + 1, len(body)):
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        assert len(found(ITEMS, *pieces)["output"]) == 50


@pytest.mark.parametrize(
    "document",
    [
        {"text": json.dumps(SEARCHED), "title": json.dumps(json.dumps(SEARCHED))},
        {"tools": [{"parameters": {"properties": {"kind": {"enum": ["web_search_call", "message"]}}}}]},
        {"type": "web_search_call_output"},
        {"metadata": {"web_search_call": "type"}},
    ],
)
def test_what_only_speaks_of_searches_is_none(document: Any) -> None:
    assert found(ITEMS, json.dumps(document).encode()) == {}


def test_what_is_no_list_of_queries_is_none() -> None:
    assert found(QUERIES, json.dumps({"text": json.dumps(GROUNDED), "webSearchQueries": "x"}).encode()) == {}
    assert found(QUERIES, b'{"webSearchQueries": [cut') == {"webSearchQueries": []}


def test_little_is_held_and_no_more_listed_than_anybody_searches() -> None:
    listing = Listing(ITEMS)
    body = json.dumps([SEARCHED] * 10 * MOST).encode()
    for start in range(0, len(body), 1000):
        listing.take(body[start : start + 1000])
        assert len(listing._held) <= LONGEST + BEFORE
    for _ in range(2):
        assert len(listing.with_end(b"")["output"]) == MOST


def test_it_may_be_asked_again_before_more_comes() -> None:
    listing = Listing(ITEMS)
    body = json.dumps([SEARCHED] * 3).encode()
    listing.take(body[:50])
    assert [len(listing.with_end(body[50:])["output"]) for _ in range(2)] == [3, 3]
    listing.take(body[50:])
    assert len(listing.with_end(json.dumps(SEARCHED).encode())["output"]) == 4
