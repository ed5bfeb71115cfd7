"""What guardrails see, made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ai_gateway.edits import applied
from ai_gateway.guardrails.base import REQUEST, Change, Guardrail, Verdict, View
from ai_gateway.texts import Text, texts_in
from tests.factories import run


async def nobody(provider: str, path: str, body: Mapping[str, Any]) -> Any:
    raise AssertionError("Nobody was to be asked.")


def seen(*texts: str, stage: str = REQUEST, **others: Any) -> View:
    """A view of texts that people say."""
    found = [Text(text, ("messages", "content")) for text in texts]
    return View(
        **{"stage": stage, "texts": found, "path": "/v1/chat/completions", "memory": {}, "ask": nobody, **others}
    )


def of_body(body: bytes, **others: Any) -> View:
    """A view of a request."""
    return seen(texts=texts_in(body), body=body, **others)


def verdict(guardrail: Guardrail, view: View) -> Verdict:
    return run(guardrail.review(view))


def changed(guardrail: Guardrail, view: View) -> list[str]:
    """How the texts read when the guardrail has changed them."""
    said = verdict(guardrail, view)
    assert said is None or isinstance(said, Change)
    edits = said.edits if said is not None else {}
    return [applied(text.value, edits.get(number, ())) for number, text in enumerate(view.texts)]
