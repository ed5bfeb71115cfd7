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
from functools import lru_cache
from typing import Final
from unicodedata import category, combining, is_normalized, normalize

FORM: Final = "NFKC"

_CONTROLS = bytes(set(range(32)).difference(b"\t\n\v\f\r") | {127})
"""Characters of ASCII that are not shown. They do not part words, as tabs and ends of lines do."""

_IGNORED = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
"""Code points that are not shown and mean nothing by themselves (Unicode's Default_Ignorable_Code_Point), and controls
that are not shown either."""

_GOES_ON = re.compile("[\u1160-\u11ff\u314f-\u3163\uff9e\uff9f\uffc2-\uffdc]")
"""Letters that make one with the letter before them, besides marks: vowels and ends of Hangul syllables, and the marks
of half-width Katakana."""

MOST_MARKS = 30
"""Marks on one letter that count, which is what Unicode's Stream-Safe Text Format allows: no language has as many. To
put them in order takes time by the square of how many there are, so that with a page of them nothing else would go on
for minutes."""

KNOWN_LETTERS = 8192
"""How many letters, and groups of letters that make one, are remembered. A text has few that differ."""

SHORT = 8
"""Letters of a group that is remembered."""


def plain(text: str) -> str:
    """Give the plain form of a text: the very same one if it has it."""
    if text.isascii():
        shown = text.encode().translate(None, _CONTROLS)
        return text if len(shown) == len(text) else shown.decode()
    seen = _IGNORED.sub("", text)
    return seen if is_normalized(FORM, seen) else normalize(FORM, _without_piles(seen))


def _without_piles(text: str) -> str:
    """Leave out the marks on a letter that are too many."""
    marks = "".join(filter(_is_mark, set(text)))
    return re.sub(f"([{marks}]{{{MOST_MARKS}}})[{marks}]++", r"\1", text) if marks else text


@lru_cache(KNOWN_LETTERS)
def _is_mark(letter: str) -> bool:
    """Whether a letter is, or is written for, a mark that has a place among those on a letter."""
    return not letter.isascii() and combining(normalize("NFKD", letter)[0]) != 0


class Places:
    """Where the letters of a plain form stand in the text that it is made of."""

    __slots__ = ("_begins", "_clusters", "_is_certain", "_length")

    def __init__(self, text: str, form: str) -> None:
        """`form` is the plain form of the text."""
        self._length = len(text)
        self._begins: list[int] = []
        self._clusters: list[tuple[int, int, int]] = []
        parts, place, count = [], 0, 0
        for start, end in _clusters(text):
            written = text[start:end]
            plainly = _plain(written) if len(written) <= SHORT else plain(written)
            if plainly == written:
                continue
            between = text[place:start]
            count += len(between)
            self._begins.append(count)
            self._clusters.append((count + len(plainly), start, end))
            count, place = count + len(plainly), end
            parts += [between, plainly]
        parts.append(text[place:])
        self._is_certain = "".join(parts) == form

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
    """Give where letters stand whose plain form may be another one, each with all that makes one with it.

    Which letters of this text these are is found out first, of each letter once: long texts have few that differ.
    """
    letters = [letter for letter in set(text) if not letter.isascii() or _IGNORED.match(letter)]
    joining = "".join(filter(_makes_one, letters))
    changing = "".join(letter for letter in letters if not _makes_one(letter) and _plain(letter) != letter)
    ways = [f"[^{joining}][{joining}]++|[{joining}]++"] if joining else []
    ways += [f"[{changing}]"] if changing else []
    if ways:
        for found in re.finditer("|".join(ways), text):
            yield found.span()


@lru_cache(KNOWN_LETTERS)
def _plain(letters: str) -> str:
    return plain(letters)


@lru_cache(KNOWN_LETTERS)
def _makes_one(letter: str) -> bool:
    """Whether a letter makes one with the letter before it."""
    return category(letter)[0] == "M" or bool(_IGNORED.match(letter)) or bool(_GOES_ON.match(letter))
