"""A provider's moderation endpoint is asked, through the gateway itself: with its credentials, limits of time and
breakers, and with a row of usage of its own. Source: OpenAI's API reference, `POST /v1/moderations`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ai_gateway.guardrails.base import Block, Guardrail, Verdict, View

PATH = "/v1/moderations"

MOST_TEXTS = 32
"""Texts that one question asks of."""


class Moderation(Guardrail):
    """Blocks what the provider flags. It is asked about texts that are read as one (`passages.py`) as one.

    `categories` are those that count, all by default; with `threshold`, those count whose score is as high.
    """

    def __init__(
        self,
        *,
        provider: str = "openai",
        model: str = "omni-moderation-latest",
        categories: Collection[str] = (),
        threshold: float | None = None,
    ) -> None:
        self._provider = provider
        self._model = model
        self._categories = frozenset(categories)
        self._threshold = threshold

    async def review(self, view: View) -> Verdict:
        """See Guardrail.review()."""
        values = [_sound(passage.value) for passage in view.passages]
        for start in range(0, len(values), MOST_TEXTS):
            body = {"model": self._model, "input": values[start : start + MOST_TEXTS]}
            answer = await view.ask(self._provider, PATH, body)
            flagged = sorted({category for result in answer["results"] for category in self._flagged(result)})
            if flagged:
                return Block(f"The {view.stage} was flagged: {', '.join(flagged)}.")
        return None

    def _flagged(self, result: Mapping[str, Any]) -> list[str]:
        if self._threshold is None:
            flagged = [name for name, is_flagged in result["categories"].items() if is_flagged]
            if not flagged and result["flagged"] and not self._categories:
                return ["moderation"]
        else:
            flagged = [name for name, score in result["category_scores"].items() if score >= self._threshold]
        return [name for name in flagged if not self._categories or name in self._categories]


def _sound(text: str) -> str:
    """Give a text that can be sent. Halves of surrogate pairs, which callers can write as escapes, are no characters:
    two that fit are put together, and any other is replaced."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
