"""Where something is found in what a model reads: in each text as it is written and in its plain form, and over the
parts of a message, and messages of one role.

Each text is searched once, and once more if its plain form is another one (`plain_forms.py`). Over several
texts only what lies about their seams is searched again. So the time is in proportion to the texts, however they are
cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ai_gateway.passages import Passage
from ai_gateway.plain_forms import Places

Span = tuple[int, int]
"""Where something begins and ends."""

Find = Callable[[str], Iterable[Span]]
"""Finds something in a text."""

REACH = 500
"""Letters before and behind a seam in which something is found that lies across it."""


def search(passage: Passage, find: Find, *, goes_on: bool = False, reach: int | None = REACH) -> list[Span]:
    """Find something in a passage; spans do not overlap. What one text has by itself is not looked for further in the
    next one, unless `goes_on`. Without a `reach` all of the passage is searched across its seams."""
    if len(passage.texts) == 1:  # Agents send thousands of short ones.
        found = list(_in_text(passage.value, passage.form, find))
        return _merged(found) if found else found
    found = []
    for (begin, text), form in zip(passage.parts(), passage.forms, strict=True):
        found += [(begin + start, begin + end) for start, end in _in_text(text, form, find)]
    across = [span for span in _across(passage, find, reach) if passage.crosses(*span)]
    return _merged(found + (across if goes_on else _apart_from(found, across)))


def _in_text(text: str, form: str, find: Find) -> Iterable[Span]:
    """Find something in a text as it is written, and in its plain form."""
    return find(text) if form == text else [*find(text), *_in_form(text, form, find)]


def _in_form(text: str, form: str, find: Find) -> Iterator[Span]:
    """Find something in the plain form of a text, and tell where in the text it is written."""
    spans = list(find(form))
    if spans:
        places = Places(text, form)
        yield from (places.span(start, end) for start, end in spans)


def _across(passage: Passage, find: Find, reach: int | None) -> Iterator[Span]:
    """Find something about the seams of a passage, and whatever else is found there."""
    whole = passage.value
    for begin, end in [(0, len(whole))] if reach is None else _about_seams(passage, reach):
        yield from ((begin + start, begin + stop) for start, stop in find(whole[begin:end]))
    if passage.form != whole:
        yield from _in_form(whole, passage.form, find)


def _about_seams(passage: Passage, reach: int) -> list[Span]:
    """Tell which letters are no further from a seam than that."""
    return _merged((max(seam - reach, 0), min(seam + reach, len(passage.value))) for seam in passage.seams)


def _apart_from(found: list[Span], others: Iterable[Span]) -> list[Span]:
    """Leave out of some spans those that overlap one that was found."""
    taken = _merged(found)
    kept, number = [], 0
    for start, end in sorted(others):
        while number < len(taken) and taken[number][1] <= start:
            number += 1
        if number == len(taken) or taken[number][0] >= end:
            kept.append((start, end))
    return kept


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Put spans in order, and make one of those that overlap."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
