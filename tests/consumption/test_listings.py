"""What a long answer lists is found wherever its bytes are cut, and nothing else is taken for it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ai_gateway.listeners import listings
from ai_gateway.listeners.listings import AROUND, LONGEST, MOST, PLACES, Listing
from tests.consumption.tool_uses import FOUND, OPENED, SEARCHED

ITEMS, QUERIES = b'_search_call"', b'SearchQueries"'
CHARGED = {"type": "web_search_call"}
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
        (ITEMS, {"output": [SEARCHED, OPENED, {"type": "message"}, FOUND, SEARCHED]}, {"output": [CHARGED] * 2}),
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


def is_charged(item: dict[str, Any]) -> bool:
    """Whether an item is listed, however it is written and wherever it stands among others."""
    others = [{"type": "computer_call", "action": {"type": "click"}}, {"text": json.dumps(OPENED)}]
    [is_listed] = {
        bool(found(ITEMS, json.dumps([*others, written, *others], indent=indent).encode()))
        for written in (item, dict(sorted(item.items())), dict(reversed(item.items())))
        for indent in (None, 4)
    }
    return is_listed


@pytest.mark.parametrize("item", [OPENED, FOUND])
def test_pages_that_are_opened_and_read_are_not_listed_wherever_the_item_says_so(item: dict[str, Any]) -> None:
    assert not is_charged(item)
    assert not is_charged({**item, "action": {**item["action"], "url": "https://example.com/" + "a%20" * 500}})
    assert not is_charged({**item, "action": {**item["action"], "pattern": 'the "action": {"type": "search"}'}})
    assert not is_charged({**item, "action": {**item["action"], "pattern": "action"}})


@pytest.mark.parametrize("action", [SEARCHED["action"], None, {}, "open_page", {"type": None}, {"type": ["open_page"]}])
def test_what_searched_or_does_not_say_what_it_did_is_listed(action: Any) -> None:
    assert is_charged(SEARCHED)
    assert is_charged({**SEARCHED, "action": action})
    assert is_charged({name: value for name, value in SEARCHED.items() if name != "action"})


def test_what_an_item_says_behind_its_action_may_be_long() -> None:
    results = [{"text": "words " * LONGEST}]
    assert found(ITEMS, json.dumps({**OPENED, "results": results}).encode()) == {}
    assert found(ITEMS, json.dumps({**SEARCHED, "results": results}).encode()) == {"output": [CHARGED]}


@pytest.mark.parametrize("order", [("type", "results", "action"), ("action", "results", "type")])
def test_an_action_that_is_out_of_sight_is_listed(order: tuple[str, ...]) -> None:
    item = {**OPENED, "results": ["words " * LONGEST]}
    body = json.dumps([{name: item[name] for name in order}, "x" * 2 * LONGEST]).encode()
    for size in (1000, LONGEST, len(body)):
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        assert found(ITEMS, *pieces) == {"output": [CHARGED]}


def test_an_item_that_is_cut_is_listed() -> None:
    body = json.dumps(OPENED).encode()
    assert found(ITEMS, body[: body.index(b"https")]) == {"output": [CHARGED]}


def test_one_item_is_not_taken_for_another() -> None:
    silent = {"type": "web_search_call", "id": "ws_1"}
    last = dict(sorted(OPENED.items()))
    for items in ([OPENED, silent], [silent, OPENED], [last, silent], [silent, last]):
        assert found(ITEMS, json.dumps(items).encode()) == {"output": [CHARGED]}


def test_what_is_no_list_of_queries_is_none() -> None:
    assert found(QUERIES, json.dumps({"text": json.dumps(GROUNDED), "webSearchQueries": "x"}).encode()) == {}
    assert found(QUERIES, b'{"webSearchQueries": [cut') == {"webSearchQueries": []}


def test_little_is_held_and_no_more_listed_than_anybody_searches() -> None:
    listing = Listing(ITEMS)
    body = json.dumps([SEARCHED] * 10 * MOST).encode()
    for start in range(0, len(body), 1000):
        listing.take(body[start : start + 1000])
        assert len(listing._held) <= LONGEST + AROUND
    for _ in range(2):
        assert len(listing.with_end(b"")["output"]) == MOST


def test_no_more_queries_are_listed_than_anybody_asks_either() -> None:
    body = json.dumps([{"webSearchQueries": ["q"] * (MOST - 1)}] * 2).encode()
    assert found(QUERIES, body)["webSearchQueries"] == ["q"] * MOST


def test_a_word_before_an_item_is_none() -> None:
    body = b'["web_search_call", {"type": "web_search_call", "action": {"type": "search"}}]'
    assert found(ITEMS, body) == {"output": [CHARGED]}


def test_it_may_be_asked_again_before_more_comes() -> None:
    listing = Listing(ITEMS)
    body = json.dumps([SEARCHED] * 3).encode()
    listing.take(body[:50])
    assert [len(listing.with_end(body[50:])["output"]) for _ in range(2)] == [3, 3]
    listing.take(body[50:])
    assert len(listing.with_end(json.dumps(SEARCHED).encode())["output"]) == 4


class Counting(json.JSONDecoder):
    """Counts the values that are read."""

    count = 0

    def raw_decode(self, s: str, idx: int = 0) -> tuple[Any, int]:
        self.count += 1
        return super().raw_decode(s, idx)


@pytest.mark.parametrize(
    ("mark", "piece", "values"),
    [
        (ITEMS, b'"type":"web_search_call",' * 100 + b'"action":{"type":"open_page"},', 101),
        (ITEMS, b'"action":{"type":"open_page"},"type":"web_search_call",', 2),
        (QUERIES, b'"webSearchQueries":[', 0),
        (QUERIES, b'"webSearchQueries":["a",[', 0),
        (QUERIES, b'"webSearchQueries":["a"],', 1),
    ],
)
def test_no_value_is_read_for_two_of_them(
    monkeypatch: pytest.MonkeyPatch, mark: bytes, piece: bytes, values: int
) -> None:
    """Or an answer of nothing else would keep the loop busy: it is read for as long as it is, and not for its square.
    What an item did is looked for before its type and behind it."""
    counting = Counting()
    monkeypatch.setattr(listings, "_values", counting)
    number = PLACES // piece.count(mark)
    found(mark, piece * number, b"")
    assert counting.count <= 2 * values * number


def test_behind_more_of_them_than_anybody_has_nothing_is_read() -> None:
    silent = b'"x_search_call",' * PLACES
    assert found(ITEMS, silent, json.dumps(SEARCHED).encode()) == {}
    assert found(ITEMS, silent[: -len(b'"x_search_call",')], json.dumps(SEARCHED).encode()) == {"output": [CHARGED]}


def test_searches_of_files_are_listed_whatever_they_say() -> None:
    item = {"id": "fs_1", "type": "file_search_call", "status": "completed", "queries": ["x"], "results": None}
    asked = {"type": "tool_search_call", "action": {"type": "search"}}
    listed = {"output": [{"type": "file_search_call"}, CHARGED, {"type": "file_search_call"}]}
    assert found(ITEMS, json.dumps([item, asked, SEARCHED, OPENED, item]).encode()) == listed
