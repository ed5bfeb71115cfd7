"""What texts must not have in them, must have, or are to have replaced: regular expressions of the operator's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from ai_gateway import beside
from ai_gateway.edits import Edit
from ai_gateway.guardrails.base import Block, Change, Guardrail, Verdict, View
from ai_gateway.guardrails.expressions import compiled, found
from ai_gateway.guardrails.search import Span, search
from ai_gateway.passages import Passage, edits_of
from ai_gateway.texts import TURNS

MESSAGES = (*TURNS, "prompt")
"""Members that hold what is asked: of the texts of a request only these must fit what is allowed."""


class Patterns(Guardrail):
    """Blocks texts with a pattern that is denied, and texts with none that is allowed. With `replacement`, what is
    denied is replaced instead.

    What is denied is found in whatever form its letters are, and over the parts of a message and messages of one role
    (`search.py`). What is allowed must be written so, in each text by itself."""

    def __init__(
        self,
        *,
        deny: Sequence[str] = (),
        allow: Sequence[str] = (),
        ignore_case: bool = True,
        replacement: str | None = None,
        reason: str = "",
    ) -> None:
        self._deny = [compiled(each, ignore_case=ignore_case) for each in deny]
        self._allow = [compiled(each, ignore_case=ignore_case) for each in allow]
        self._replacement = replacement
        self._reason = reason

    async def review(self, view: View) -> Verdict:
        """See Guardrail.review()."""
        return await beside.done(view.length, self._verdict, view)

    def _verdict(self, view: View) -> Verdict:
        if self._allow and not view.is_upload:
            asked = [text for text in view.texts if view.stage != "request" or text.path[0] in MESSAGES]
            if any(not self._is_allowed(text.value) for text in asked):
                return Block(self._reason or f"A text of the {view.stage} is not of a form that is allowed.")
        hits = [(passage, span) for passage in view.passages for span in self._denied(passage)]
        if not hits:
            return None
        if self._replacement is None:
            return Block(self._reason or f"A text of the {view.stage} has something in it that is not allowed.")
        edits = edits_of((passage, Edit(*span, self._replacement)) for passage, span in hits)
        return Change(edits, self._reason or "A pattern was found.")

    def _is_allowed(self, text: str) -> bool:
        return any(next(found(pattern, text), None) is not None for pattern in self._allow)

    def _denied(self, passage: Passage) -> Iterator[Span]:
        return (span for pattern in self._deny for span in search(passage, partial(found, pattern)))

    def check(self) -> None:
        """See Guardrail.check()."""
        if not self._deny and not self._allow:
            raise ValueError("it has no pattern: give it deny or allow")
