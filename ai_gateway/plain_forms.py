"""How a text reads when its letters have their plain forms, and nothing stands between them that is not seen.

A word in wide letters, in mathematical ones, or with a space of no width in it is the same word to a model, and to
people. The plain form is that of Unicode (NFKC), without the code points that are ignored by default. Letters of other
scripts that only look alike are other letters.

Most texts have their plain form already, which is found out in no time. Where each letter of another one stands in the
text as it is written is worked out only if somebody asks.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final
from unicodedata import category, is_normalized, normalize

FORM: Final = "NFKC"

_IGNORED = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
"""Code points that are not shown and mean nothing by themselves (Unicode's Default_Ignorable_Code_Point)."""

_GOES_ON = re.compile("[\u1160-\u11ff\u314f-\u3163\uff9e\uff9f\uffc2-\uffdc]")
"""Letters that make one with the letter before them, besides marks: vowels and ends of Hangul syllables, and the marks
of half-width Katakana."""

_RUN = re.compile(r"(?s:.)?[^\x00-\x7f]++")
"""Letters that may not be in their plain form, with the one before them, which they may change."""


def plain(text: str) -> str:
    """Give the plain form of a text: the very same one if it has it."""
    if text.isascii():
        return text
    seen = _IGNORED.sub("", text)
    return seen if is_normalized(FORM, seen) else normalize(FORM, seen)


class Places:
    """Where the letters of a plain form stand in the text that it is made of."""

    __slots__ = ("_begins", "_clusters", "_is_certain", "_length")

    def __init__(self, text: str) -> None:
        self._length = len(text)
        self._begins: list[int] = []
        self._clusters: list[tuple[int, int, int]] = []
        parts, place, count = [], 0, 0
        for start, end in _clusters(text):
            written = text[start:end]
            form = plain(written)
            if form == written:
                continue
            between = text[place:start]
            count += len(between)
            self._begins.append(count)
            self._clusters.append((count + len(form), start, end))
            count, place = count + len(form), end
            parts += [between, form]
        parts.append(text[place:])
        self._is_certain = "".join(parts) == plain(text)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Tell where some letters of the plain form stand in the text: all of it, if that cannot be said."""
        if not self._is_certain:
            return 0, self._length
        return self._place(start)[0], self._place(end - 1)[1]

    def _place(self, letter: int) -> tuple[int, int]:
        """Tell where one letter begins and ends."""
        number = bisect_right(self._begins, letter) - 1
        if number < 0:
            return letter, letter + 1
        after, start, end = self._clusters[number]
        if letter < after:
            return start, end
        place = end + letter - after
        return place, place + 1


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Give where letters stand whose plain form may be another one, each with all that makes one with it."""
    for run in _RUN.finditer(text):
        start = run.start()
        for place in range(start + 1, run.end()):
            if not _makes_one(text[place]):
                yield start, place
                start = place
        yield start, run.end()


def _makes_one(letter: str) -> bool:
    """Whether a letter makes one with the letter before it."""
    return category(letter)[0] == "M" or bool(_IGNORED.match(letter)) or bool(_GOES_ON.match(letter))
