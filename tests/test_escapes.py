"""How JSON within a text reads, and how changes of that are written."""

from __future__ import annotations

import json

import pytest

from ai_gateway.edits import Edit, applied
from ai_gateway.escapes import Reading


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('{"q": "tea"}', '{"q": "tea"}'),
        (r'{"q": "secret\u0077ord"}', '{"q": "secretword"}'),
        (r'{"q": "\u00fcber\n\"x\" \\ \/"}', '{"q": "über\n"x" \\ /"}'),
        (r"\ud83d\ude00!", "😀!"),
        (r"\ud83d !", "\ud83d !"),
        (r"\\u0077", r"\u0077"),
        (r"C:\new \x", "C:\new \\x"),
        (r"x\u00", "x\\"),
        (r"x\ud83d\ud", "x\\"),
        ("x\\", "x\\"),
    ],
)
def test_escapes_are_undone(written: str, read: str) -> None:
    assert Reading(written).value == read


@pytest.mark.parametrize("word", ["tea", 'a"b', "x", "\n", "ü😀"])
def test_changes_of_what_is_read_are_written_as_json_wants_it(word: str) -> None:
    values = [f"{word}{word} and\n{word}", f"\\{word}", word]
    for written in (json.dumps(values), json.dumps(values, ensure_ascii=False)):
        reading = Reading(written)
        start, edits = 0, []
        while (found := reading.value.find(word, start)) >= 0:
            edits.append(Edit(found, found + len(word), '"\\ä'))
            start = found + len(word)
        changed = json.loads(applied(written, reading.written(edits)))
        assert changed == [value.replace(word, '"\\ä') for value in values]


def test_a_place_between_two_escapes_is_between_them() -> None:
    reading = Reading(r"a\u0062\u0063d")
    assert [reading.place(place) for place in range(5)] == [0, 1, 7, 13, 14]
