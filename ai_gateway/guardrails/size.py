"""How much a call may say: characters, tokens by estimate, messages, images."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ai_gateway import estimates
from ai_gateway.guardrails.base import REQUEST, Block, Guardrail, Verdict, View
from ai_gateway.protocols.passing import size
from ai_gateway.texts import TURNS

_IMAGE = re.compile(rb'"(?:image_url|input_image|image)"(?![ \t\r\n]*:)|"mime_?[tT]ype"[ \t\r\n]*:[ \t\r\n]*"image/')
"""How a part that is an image says so, in OpenAI's and Anthropic's formats and in Google's."""


class Size(Guardrail):
    """Blocks what is larger than it may be."""

    stages = (REQUEST,)

    def __init__(
        self,
        *,
        max_characters: int | None = None,
        max_tokens: int | None = None,
        max_messages: int | None = None,
        max_images: int | None = None,
    ) -> None:
        self._limits = {
            "characters": max_characters,
            "tokens, by estimate,": max_tokens,
            "messages": max_messages,
            "images": max_images,
        }

    async def review(self, view: View) -> Verdict:
        """See Guardrail.review()."""
        for (what, limit), count in zip(self._limits.items(), self._counts(view), strict=True):
            if limit is not None and count > limit:
                return Block(f"The {view.stage} has {count} {what} and may have {limit}.")
        return None

    def _counts(self, view: View) -> Iterator[int]:
        yield sum(len(text.value) for text in view.texts)
        yield estimates.text_tokens(sum(size(text.value) for text in view.texts))
        yield 0 if self._limits["messages"] is None else _messages(view)
        yield 0 if self._limits["images"] is None else sum(1 for _ in _IMAGE.finditer(view.body))

    def check(self) -> None:
        """See Guardrail.check()."""
        given = [limit for limit in self._limits.values() if limit is not None]
        if not given:
            raise ValueError("it has no limit: give it max_characters, max_tokens, max_messages or max_images")
        if not all(isinstance(limit, int) and limit >= 0 for limit in given):
            raise ValueError("a limit is a whole number")


def _messages(view: View) -> int:
    document = view.document
    turns = next((document[name] for name in TURNS if name in document), ()) if isinstance(document, dict) else ()
    return len(turns) if isinstance(turns, list) else 1
