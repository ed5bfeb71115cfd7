"""The rest of an answer: its provider died in the middle of the text, and another one goes on.

The request is that of the caller with what was said as the beginning of the assistant's turn. A model that goes on with
such a beginning (`prefill` of its capabilities) is told so in its provider's own way; any other is asked to go on, if
the route allows that.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid5

from ai_gateway import estimates, idempotency
from ai_gateway.calls import Reply, UpstreamRequest, UpstreamResponse
from ai_gateway.hops.base import Attempt
from ai_gateway.hops.generation import Generation
from ai_gateway.protocols.conversation import Request
from ai_gateway.protocols.passing import size
from ai_gateway.protocols.protocol import Outgoing, StreamWriter
from ai_gateway.protocols.splicing import Splice, continued

CHAT_ONLY = ("prefix", "continue_final_message")
"""Ways to have a beginning continued that only chat completions have."""


class Continuing(Generation):
    """A call for the rest of an answer, written to the stream that the caller has already."""

    def __init__(self, attempt: Attempt, format: str, splice: Splice) -> None:
        super().__init__(attempt, format)
        self._splice = splice
        self._said = splice.said
        self._prefill = attempt.capabilities.prefill

    def request(self) -> UpstreamRequest:
        """See Hop.request(). It is other work than what was asked for before, so it has a key of its own."""
        request, attempt = super().request(), self.attempt
        if attempt.provider.idempotency_header:
            piece = uuid5(UUID(attempt.meter.id), str(len(attempt.meter.pieces))).hex
            idempotency.mark_anew(request, attempt.provider, piece, attempt.target)
        return request

    def _read(self) -> Request:
        tokens = round(estimates.text_tokens(size(self._said), 0))
        return continued(super()._read(), self._said, tokens, is_asked=not self._prefill)

    def _write(self) -> Outgoing:
        outgoing = super()._write()
        mark(outgoing.body, self._prefill)
        return outgoing

    def _writer(self) -> StreamWriter:
        return self._splice

    async def judge(self, response: UpstreamResponse) -> Reply:
        """See Hop.judge(). That a provider refuses to go on is the end of the answer, and written already."""
        reply = await super().judge(response)
        self.attempt.is_refused = False
        return reply


def mark(body: dict[str, Any], prefill: str) -> None:
    """Say in a request that its last message is the beginning of the answer."""
    if prefill == "prefix":
        body["messages"][-1]["prefix"] = True
    elif prefill == "continue_final_message":
        body["continue_final_message"] = True
        body["add_generation_prompt"] = False
