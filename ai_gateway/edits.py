"""Changes of a text: which letters are replaced by what. Two changes that follow each other can be made one.

A reader of a text that is still coming must know which letters of the original a change is about, not only how the
text reads afterwards. So whoever changes a text says it in edits.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Edit(NamedTuple):
    """The letters from `start` to `end` become `text`."""

    start: int
    end: int
    text: str


def in_order(edits: Iterable[Edit]) -> list[Edit]:
    """Put edits in the order of the text. Of those that overlap the first stays, and the longer of two that begin at
    the same letter."""
    kept: list[Edit] = []
    for edit in sorted(edits, key=lambda each: (each.start, -each.end)):
        if not kept or edit.start >= kept[-1].end:
            kept.append(edit)
    return kept


def applied(text: str, edits: Iterable[Edit]) -> str:
    """Change a text. The edits are in order."""
    parts, place = [], 0
    for start, end, written in edits:
        parts += [text[place:start], written]
        place = end
    parts.append(text[place:])
    return "".join(parts)


def followed_by(text: str, first: Sequence[Edit], second: Sequence[Edit]) -> list[Edit]:
    """Make one change of two: `second` is about the text that `first` made. Both are in order. An edit of the second
    that touches what the first wrote takes all of that with it."""
    if not first or not second:
        return list(first or second)
    changed = applied(text, first)
    spans = _written(first)
    bounds = [(edit.start, edit.end) for edit in second]
    for start, end in spans:
        bounds.append((start, end))
    merged: list[tuple[int, int]] = []
    for start, end in sorted(bounds):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    places = _Places(first, spans)
    return [
        Edit(places.origin(start), places.origin(end, is_end=True), _slice(changed, start, end, second))
        for start, end in merged
    ]


def _written(edits: Sequence[Edit]) -> list[tuple[int, int]]:
    """Tell where in the changed text each edit's letters stand."""
    spans, shift = [], 0
    for start, end, text in edits:
        spans.append((start + shift, start + shift + len(text)))
        shift += len(text) - (end - start)
    return spans


class _Places:
    """Where places of a changed text are in the original."""

    def __init__(self, edits: Sequence[Edit], spans: Sequence[tuple[int, int]]) -> None:
        self._edits = edits
        self._spans = spans
        self._starts = [start for start, _ in spans]

    def origin(self, place: int, *, is_end: bool = False) -> int:
        """Tell where in the original a place of the changed text is, which lies in no edit's letters, or at their
        edge."""
        behind = bisect_left(self._starts, place)
        while is_end and behind < len(self._spans) and self._spans[behind] == (place, place):
            behind += 1
        return place + self._edits[behind - 1].end - self._spans[behind - 1][1] if behind else place


def _slice(changed: str, start: int, end: int, second: Sequence[Edit]) -> str:
    """Give a part of the changed text with the second change made."""
    first, last = bisect_left(second, start, key=_start), bisect_right(second, end, key=_start)
    inner = [Edit(e.start - start, e.end - start, e.text) for e in second[first:last] if e.end <= end]
    return applied(changed[start:end], inner)


def _start(edit: Edit) -> int:
    return edit.start
