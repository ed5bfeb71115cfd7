"""Secrets and personal data are replaced by placeholders before a provider sees them, or anybody the answer.

What is found, and how, stands in `kinds.py`. A placeholder tells what stood there, and which of several: `[EMAIL_1]`,
the same each time in a call. If `restore` says so, a placeholder in the answer becomes what it stands for: the caller
sees no difference, and the provider never saw it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

from ai_gateway import beside
from ai_gateway.edits import Edit, in_order
from ai_gateway.guardrails.base import ANSWER, Change, Guardrail, Verdict, View
from ai_gateway.guardrails.expressions import compiled, found
from ai_gateway.guardrails.kinds import KINDS, Kind
from ai_gateway.guardrails.search import search
from ai_gateway.passages import Passage, edits_of

_PLACEHOLDER = compiled(r"\[[A-Z_]{2,40}_[0-9]{1,6}\]")


class Placeholders:
    """What stands for what in one call."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        """What each of them stands for."""
        self._given: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def of(self, name: str, value: str) -> str:
        """Give what stands for a value: the same each time."""
        if value not in self._given:
            self._counts[name] += 1
            placeholder = self._given[value] = f"[{name}_{self._counts[name]}]"
            self.values[placeholder] = value
        return self._given[value]


class Redaction(Guardrail):
    """Replaces secrets and personal data by placeholders.

    `kinds` are names of KINDS, all by default; `patterns` are more of the operator's own, by name.
    """

    def __init__(
        self,
        *,
        kinds: Sequence[str] | None = None,
        patterns: Mapping[str, str] | None = None,
        restore: bool = False,
    ) -> None:
        unknown = sorted(set(kinds or ()) - set(KINDS))
        if unknown:
            raise ValueError(f"it knows {', '.join(KINDS)}, and not {', '.join(unknown)}")
        chosen = {name: KINDS[name] for name in KINDS if kinds is None or name in kinds}
        own = {_checked(name): _own(expression) for name, expression in (patterns or {}).items()}
        self._kinds = {**own, **chosen}
        self._restores = restore

    async def review(self, view: View) -> Verdict:
        """See Guardrail.review()."""
        known: Placeholders = view.memory.setdefault("placeholders", Placeholders())
        look = self._restored if view.stage == ANSWER and self._restores else self._replaced
        return await beside.done(view.length, look, view, known)

    def _replaced(self, view: View, known: Placeholders) -> Verdict:
        hits = [(passage, hit) for passage in view.passages for hit in self._found(passage)]
        if not hits:
            return None
        edits = edits_of(
            (passage, hit._replace(text=known.of(hit.text, passage.value[hit.start : hit.end])))
            for passage, hit in hits
        )
        return Change(edits, f"Found: {', '.join(sorted({hit.text for _, hit in hits}))}.")

    def _found(self, passage: Passage) -> list[Edit]:
        """Find what is to be replaced, for now by the name of its kind."""
        return in_order(
            Edit(start, end, name)
            for name, kind in self._kinds.items()
            for start, end in search(passage, kind.spans, goes_on=kind.goes_on, reach=kind.reach)
        )

    def _restored(self, view: View, known: Placeholders) -> Verdict:
        edits: dict[int, list[Edit]] = {}
        for number, text in enumerate(view.texts if known.values else ()):
            for start, end in found(_PLACEHOLDER, text.value):
                value = known.values.get(text.value[start:end])
                if value is not None:
                    edits.setdefault(number, []).append(Edit(start, end, value))
        return Change(edits, "Placeholders were restored.") if edits else None


def _checked(name: str) -> str:
    if not re.fullmatch("[A-Z_]{2,40}", name):
        raise ValueError(f"the name of a pattern is of capitals and _, and {name!r} is not")
    return name


def _own(expression: str) -> Kind:
    return Kind(partial(found, compiled(expression)))
