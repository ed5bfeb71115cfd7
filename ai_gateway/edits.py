"""Changes of a text: which letters are replaced by what. Two changes that follow each other can be made one.

A reader of a text that is still coming must know which letters of the original a change is about, not only how the
text reads afterwards. So whoever changes a text says it in edits.
"""

from __future__ import annotations

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
    return [
        Edit(_origin(start, first, spans), _origin(end, first, spans, is_end=True), _slice(changed, start, end, second))
        for start, end in merged
    ]


def _written(edits: Sequence[Edit]) -> list[tuple[int, int]]:
    """Tell where in the changed text each edit's letters stand."""
    spans, shift = [], 0
    for start, end, text in edits:
        spans.append((start + shift, start + shift + len(text)))
        shift += len(text) - (end - start)
    return spans


def _origin(place: int, first: Sequence[Edit], spans: Sequence[tuple[int, int]], *, is_end: bool = False) -> int:
    """Tell where in the original a place of the changed text is, which lies in no edit's letters, or at their edge."""
    shift = 0
    for edit, (start, end) in zip(first, spans, strict=True):
        if place < start or (place == start and not is_end):
            break
        if place == start and is_end and end > start:
            break
        shift = edit.end - end
    return place + shift


def _slice(changed: str, start: int, end: int, second: Sequence[Edit]) -> str:
    """Give a part of the changed text with the second change made."""
    inner = [Edit(e.start - start, e.end - start, e.text) for e in second if start <= e.start and e.end <= end]
    return applied(changed[start:end], inner)
