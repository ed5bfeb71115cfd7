"""What is read as one: a text by itself, the parts in which one message says its text, or messages of one role.

A model reads the parts of a message one behind the other, as if nothing stood between them. In all formats a message
has them in a list, and each says its text in a member of the same name (`texts.PART`). Messages of one role that follow
each other are one to some providers, and to some models.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from ai_gateway.edits import Edit, in_order
from ai_gateway.plain_forms import plain
from ai_gateway.texts import INSTRUCTIONS, PART, TURNS, Text

_MEMBERS = INSTRUCTIONS.union(TURNS)
"""Members that hold what is said: in each of them a text may be read as one with those of others."""


class Passage:
    """Texts that are read as one. Places in it are letters from its beginning."""

    __slots__ = ("_begins", "_form", "_forms", "numbers", "texts", "value")

    def __init__(self, numbers: Sequence[int], texts: Sequence[str]) -> None:
        self.numbers = numbers
        """Which of all texts it is made of."""
        self.texts = texts
        """How these read."""
        self.value = texts[0] if len(texts) == 1 else "".join(texts)
        """How it reads."""
        self._begins = [0]
        for text in texts[:-1]:
            self._begins.append(self._begins[-1] + len(text))
        self._form: str | None = None
        self._forms: list[str] = []

    @property
    def form(self) -> str:
        """The plain form of it all. It is made once, however much is looked for in it."""
        if self._form is None:
            self._form = plain(self.value)
        return self._form

    @property
    def forms(self) -> Sequence[str]:
        """The plain forms of its texts."""
        if not self._forms:
            self._forms = [self.form] if len(self.texts) == 1 else [plain(text) for text in self.texts]
        return self._forms

    @property
    def seams(self) -> Sequence[int]:
        """Where one text ends and the next begins."""
        return self._begins[1:]

    def parts(self) -> Iterator[tuple[int, str]]:
        """Give each text with the place where it begins."""
        return zip(self._begins, self.texts, strict=True)

    def crosses(self, start: int, end: int) -> bool:
        """Whether some letters stand in more than one of the texts."""
        return bisect_right(self._begins, start) != bisect_right(self._begins, end - 1)

    def edits(self, edit: Edit) -> Iterator[tuple[int, Edit]]:
        """Make an edit of the passage to edits of its texts, each with the text's number. What is written stands where
        the edit begins; and in every text of which nothing would be left, for APIs refuse empty parts."""
        first = bisect_right(self._begins, edit.start) - 1
        for place in range(first, len(self.texts)):
            begin, text = self._begins[place], self.texts[place]
            if place > first and begin >= edit.end:
                return
            start, end = max(edit.start - begin, 0), min(edit.end - begin, len(text))
            is_left = text[:start].strip() or text[end:].strip()
            yield self.numbers[place], Edit(start, end, "" if place > first and is_left else edit.text)


def passages_of(texts: Iterable[Text]) -> list[Passage]:
    """Put texts together that are read as one: instructions that stand apart first, the others in their order."""
    found: dict[tuple[int, tuple[str, ...]], list[tuple[int, str]]] = {}
    for number, text in sorted(enumerate(texts), key=_comes_later):
        found.setdefault(_group(number, text), []).append((number, text.value))
    return [Passage([number for number, _ in each], [value for _, value in each]) for each in found.values()]


def _comes_later(numbered: tuple[int, Text]) -> bool:
    """Tell turns from instructions that stand apart, which are read before them wherever they are written."""
    _, text = numbered
    return not text.path or text.path[0] not in INSTRUCTIONS


def _group(number: int, text: Text) -> tuple[int, tuple[str, ...]]:
    """Tell what a text belongs to, in a way that is the same for all that are read as one."""
    if text.list_at < 0:
        return -1 - number, ()
    if text.path[:1] and text.path[0] in _MEMBERS:
        return text.list_at, ()  # Messages may say their texts in different members.
    return text.list_at, text.path[:-1] if text.path[-1:] == (PART,) else text.path


def edits_of(changes: Iterable[tuple[Passage, Edit]]) -> dict[int, list[Edit]]:
    """Make edits of passages to edits of texts, in order, by the number of the text. Of those of a passage that overlap
    the first stays."""
    by_passage: dict[Passage, list[Edit]] = {}
    for passage, edit in changes:
        by_passage.setdefault(passage, []).append(edit)
    edits: dict[int, list[Edit]] = {}
    for passage, whole in by_passage.items():
        for edit in in_order(whole):
            for number, piece in passage.edits(edit):
                edits.setdefault(number, []).append(piece)
    return edits
