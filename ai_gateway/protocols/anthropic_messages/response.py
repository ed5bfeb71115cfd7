"""Whole answers: what a provider of Messages answers, and what a caller of Messages gets.

Source: the `Message` object of Anthropic's Messages API reference.
"""

from __future__ import annotations

import uuid
from typing import Any

from ai_gateway.errors import UpstreamProtocolError
from ai_gateway.protocols.anthropic_messages.citations import FORMAT, read_citation, write_citation
from ai_gateway.protocols.anthropic_messages.errors import is_error, read_error_event
from ai_gateway.protocols.anthropic_messages.states import write_call_state, write_thinking
from ai_gateway.protocols.anthropic_messages.stops import read_explanation, read_stop, write_details, write_stop
from ai_gateway.protocols.anthropic_messages.usage import (
    read_tier,
    read_units,
    read_usage,
    write_tier,
    write_usage,
)
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import (
    Answer,
    Part,
    Refusal,
    Request,
    State,
    Stop,
    Text,
    Thinking,
    ToolCall,
)
from ai_gateway.protocols.jsontext import dumps_text
from ai_gateway.protocols.partial import arguments_of

# Reading.


def read_answer(body: dict[str, Any]) -> Answer:
    """Read a whole answer. Raises ProviderError for an error with status 200, UpstreamProtocolError for no answer."""
    if is_error(body):
        raise read_error_event(body)
    content = body.get("content")
    if not isinstance(content, list):
        raise UpstreamProtocolError("The provider's answer is no message: it has no content.")
    usage = body.get("usage")
    counts: dict[str, Any] = usage if isinstance(usage, dict) else {}
    parts = [part for block in content if isinstance(block, dict) for part in read_block(block)]
    stop = read_stop(body.get("stop_reason")).given(any(isinstance(part, ToolCall) for part in parts))
    return Answer(
        id=string(body.get("id")),
        model=string(body.get("model")),
        parts=parts,
        stop=stop,
        stop_sequence=string(body.get("stop_sequence")) or None if stop is Stop.STOP_SEQUENCE else None,
        explanation=read_explanation(body.get("stop_details")),
        usage=read_usage(counts),
        units=read_units(counts),
        service_tier=read_tier(counts),
    )


def string(value: object) -> str:
    """Give a string as it is, and anything else as none."""
    return value if isinstance(value, str) else ""


def read_block(block: dict[str, Any]) -> list[Part]:
    """Read a block of an answer. Those of server tools and unknown ones are none of a caller's business."""
    read = _READERS.get(string(block.get("type")))
    return [read(block)] if read else []


def _read_text(block: dict[str, Any]) -> Text:
    text = string(block.get("text"))
    given = block.get("citations")
    citations = given if isinstance(given, list) else ()
    # A citation stands for the whole block that it is in: Anthropic begins a new block for each claim.
    return Text(
        text=text, citations=[read_citation(each, 0, len(text)) for each in citations if isinstance(each, dict)]
    )


def _read_thinking(block: dict[str, Any]) -> Thinking:
    return Thinking(text=string(block.get("thinking")), state=signature_state(string(block.get("signature"))))


def _read_redacted(block: dict[str, Any]) -> Thinking:
    state = State(format=FORMAT, kind="redacted", value=string(block.get("data")))
    return Thinking(is_redacted=True, state=state)


def _read_call(block: dict[str, Any]) -> ToolCall:
    given = block.get("input")
    return ToolCall(id=string(block.get("id")), name=string(block.get("name")), arguments=dumps_text(given or {}))


_READERS = {
    "text": _read_text,
    "thinking": _read_thinking,
    "redacted_thinking": _read_redacted,
    "tool_use": _read_call,
}


def signature_state(signature: str) -> State | None:
    """Make the state of a thinking block; None if it is not signed."""
    return State(format=FORMAT, kind="signature", value=signature) if signature else None


# Writing.


def write_answer(answer: Answer, request: Request, carrier: Carrier) -> dict[str, Any]:
    """Write a whole answer for a caller of Messages."""
    content = [block for part in answer.parts for block in _blocks(part, carrier, answer.stop)]
    is_calling = any(isinstance(part, ToolCall) for part in answer.parts)
    return {
        "id": message_id(answer.id),
        "type": "message",
        "role": "assistant",
        "model": answer.model or request.model,
        "content": content,
        "stop_reason": write_stop(answer.stop, is_calling),
        "stop_sequence": answer.stop_sequence if answer.stop is Stop.STOP_SEQUENCE else None,
        "stop_details": write_details(answer.stop, answer.explanation or _refusal(answer.parts)),
        "usage": write_usage(answer.usage) | {"service_tier": write_tier(answer.service_tier)},
    }


def message_id(id: str) -> str:
    """Give the id of an answer the prefix that Anthropic's have; a new one if the upstream gave none."""
    return id if id.startswith("msg_") else f"msg_{id or uuid.uuid4().hex}"


def call_id(id: str) -> str:
    """Give the id of a call; a new one if the upstream gave none."""
    return id or f"toolu_{uuid.uuid4().hex}"


def _refusal(parts: list[Part]) -> str | None:
    return "".join(part.text for part in parts if isinstance(part, Refusal)) or None


def _blocks(part: Part, carrier: Carrier, stop: Stop) -> list[dict[str, Any]]:
    if isinstance(part, Text | Refusal):
        return _text_blocks(part, carrier)
    if isinstance(part, Thinking):
        block = write_thinking(part, carrier)
        return [block] if block else []
    if isinstance(part, ToolCall):
        return _call_blocks(part, carrier, stop)
    return []


def _call_blocks(call: ToolCall, carrier: Carrier, stop: Stop) -> list[dict[str, Any]]:
    id = call_id(call.id)
    block = {"type": "tool_use", "id": id, "name": call.name, "input": call_input(call, stop)}
    return [block] if call.state is None else [write_call_state(id, call.state, carrier), block]


def _text_blocks(part: Text | Refusal, carrier: Carrier) -> list[dict[str, Any]]:
    """An empty text gives no block: a client would send it back, and Anthropic refuses such."""
    given = part.citations if isinstance(part, Text) else []
    citations = [written for each in given if (written := write_citation(each, carrier))]
    if not part.text and not citations:
        return []
    block: dict[str, Any] = {"type": "text", "text": part.text}
    return [block | {"citations": citations}] if citations else [block]


def call_input(call: ToolCall, stop: Stop = Stop.TOOL_USE) -> dict[str, Any]:
    """Give the arguments of a call as an object. `stop` is how its answer ended."""
    return {"input": call.arguments} if call.is_custom else arguments_of(call.arguments, stop)
