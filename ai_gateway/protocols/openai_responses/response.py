"""Whole answers: reading a provider's, and writing one for a caller."""

from __future__ import annotations

from typing import Any

from ai_gateway.errors import UpstreamProtocolError
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Answer, Part, Request, ToolCall
from ai_gateway.protocols.openai_responses.errors import stream_error
from ai_gateway.protocols.openai_responses.item_reader import (
    created_of,
    output_of,
    read_item,
    read_stop,
    text_of,
)
from ai_gateway.protocols.openai_responses.stream_writer import ResponsesWriter
from ai_gateway.protocols.openai_responses.usage import charged, read_units, read_usage
from ai_gateway.protocols.transcript import replay

ENDED = frozenset(("completed", "incomplete", ""))
"""The statuses of a response that has an answer; some servers name none."""


def read_answer(body: dict[str, Any]) -> Answer:
    """Read a whole answer. Raises ProviderError for a failed response, UpstreamProtocolError for what is none."""
    status = text_of(body, "status")
    if body.get("error") or status in ("failed", "cancelled"):
        raise stream_error(body)
    if not isinstance(body.get("output"), list) or status not in ENDED:
        raise UpstreamProtocolError("The provider's answer is not a response that has ended.")
    parts: list[Part] = [part for item in output_of(body) for part in read_item(item)]
    return Answer(
        id=text_of(body, "id"),
        model=text_of(body, "model"),
        parts=parts,
        stop=read_stop(body, any(isinstance(part, ToolCall) for part in parts)),
        usage=read_usage(body.get("usage")),
        units=read_units(body.get("usage"), charged(output_of(body))),
        created=created_of(body),
        service_tier=text_of(body, "service_tier") or None,
    )


def write_answer(answer: Answer, request: Request, carrier: Carrier) -> dict[str, Any]:
    """Write a whole answer: what the last event of a stream holds that says the same."""
    writer = ResponsesWriter(request, carrier)
    for event in replay(answer):
        writer.write(event)
    return writer.response
