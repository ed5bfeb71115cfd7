"""Whole answers of Converse, read and written.

An answer names neither itself nor, as a rule, its model: the reader makes up an id and leaves the model empty.

Source: the shapes `ConverseResponse` and `ContentBlock` of the service model.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from ai_gateway.errors import Kind, ProviderError, UpstreamProtocolError
from ai_gateway.protocols.bedrock_converse.citations import joined_text, read_citations, write_citation
from ai_gateway.protocols.bedrock_converse.states import REDACTED, SIGNATURE, write_attached, write_reasoning
from ai_gateway.protocols.bedrock_converse.usage import read_usage, write_usage
from ai_gateway.protocols.bedrock_converse.words import (
    MALFORMED,
    NAME,
    SERVER_TOOL_USE,
    SERVICE_TIERS,
    STOP_REASONS,
    STOPS,
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
from ai_gateway.protocols.jsontext import arguments_text, dumps_text
from ai_gateway.protocols.partial import arguments_of


def new_id() -> str:
    """Make up the id of an answer."""
    return f"msg_{secrets.token_hex(12)}"


# The provider's side.


def read_answer(body: dict[str, Any]) -> Answer:
    """Read a whole answer. Raises ProviderError for one that the model spoiled, UpstreamProtocolError for what is no
    answer."""
    output = body.get("output")
    message = output.get("message") if isinstance(output, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        raise UpstreamProtocolError("The provider's answer has no message.")
    parts = [part for part in map(_read_block, content) if part is not None]
    return Answer(
        id=new_id(),
        model=_routed_model(body.get("trace")),
        parts=parts,
        stop=read_stop(body.get("stopReason"), any(isinstance(part, ToolCall) for part in parts)),
        stop_sequence=read_stop_sequence(body.get("additionalModelResponseFields")),
        usage=read_usage(body.get("usage")),
        service_tier=read_service_tier(body.get("serviceTier")),
    )


def read_stop(reason: Any, is_calling: bool) -> Stop:
    """Read a `stopReason`; one that is not known is the ordinary end. Raises ProviderError for a spoiled answer."""
    if not isinstance(reason, str):
        reason = ""
    if reason in MALFORMED:
        raise ProviderError(
            f"The model wrote something that the provider could not read ({reason}).", status=502, kind=Kind.UPSTREAM
        )
    return STOPS.get(reason, Stop.END).given(is_calling)


def read_stop_sequence(fields: Any) -> str | None:
    """Find the stop sequence that came, which the request asks for by `STOP_SEQUENCE_PATH`."""
    sequence = fields.get("stop_sequence") if isinstance(fields, dict) else None
    return sequence if isinstance(sequence, str) else None


def read_service_tier(value: Any) -> str | None:
    """Read a `ServiceTier`."""
    tier = value.get("type") if isinstance(value, dict) else None
    return tier if isinstance(tier, str) else None


def _routed_model(trace: Any) -> str:
    """Tell the model that a prompt router chose; "" where there is none."""
    router = trace.get("promptRouter") if isinstance(trace, dict) else None
    model = router.get("invokedModelId") if isinstance(router, dict) else None
    return model if isinstance(model, str) else ""


def _read_block(block: Any) -> Part | None:
    """Read a content block; None for what is no part of an answer, as results of the provider's own tools."""
    if not isinstance(block, dict):
        return None
    for member, read in _READERS.items():
        if member in block:
            return read(block[member])
    return None


def _read_text(value: Any) -> Part | None:
    return Text(text=value) if isinstance(value, str) else None


def _read_cited_text(value: Any) -> Part | None:
    if not isinstance(value, dict):
        return None
    return Text(text=joined_text(value.get("content")), citations=read_citations(value.get("citations")))


def _read_tool_use(value: Any) -> Part | None:
    if not isinstance(value, dict) or value.get("type") == SERVER_TOOL_USE:
        return None
    arguments = value.get("input")
    return ToolCall(
        id=str(value.get("toolUseId") or ""),
        name=str(value.get("name") or ""),
        arguments=arguments_text(arguments) if isinstance(arguments, dict) else dumps_text(arguments),
    )


def _read_reasoning(value: Any) -> Part | None:
    reasoning = value.get("reasoningText") if isinstance(value, dict) else None
    if isinstance(reasoning, dict):
        text, signature = reasoning.get("text"), reasoning.get("signature")
        state = (
            State(format=NAME, kind=SIGNATURE, value=signature) if isinstance(signature, str) and signature else None
        )
        return Thinking(text=text if isinstance(text, str) else "", state=state)
    redacted = value.get("redactedContent") if isinstance(value, dict) else None
    if isinstance(redacted, str):
        return Thinking(state=State(format=NAME, kind=REDACTED, value=redacted), is_redacted=True)
    return None


_READERS: dict[str, Callable[[Any], Part | None]] = {
    "text": _read_text,
    "citationsContent": _read_cited_text,
    "toolUse": _read_tool_use,
    "reasoningContent": _read_reasoning,
}


# The caller's side.


def write_answer(answer: Answer, request: Request, carrier: Carrier) -> dict[str, Any]:
    """Write a whole answer. How long it took is not known here: `latencyMs`, which is required, is 0."""
    content = [block for part in answer.parts for block in _write_part(part, carrier, answer.stop)]
    written: dict[str, Any] = {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": STOP_REASONS[answer.stop],
        "usage": write_usage(answer.usage),
        "metrics": {"latencyMs": 0},
    }
    if answer.stop_sequence is not None:
        written["additionalModelResponseFields"] = {"stop_sequence": answer.stop_sequence}
    if answer.service_tier in SERVICE_TIERS:
        written["serviceTier"] = {"type": answer.service_tier}
    return written


def _write_part(part: Part, carrier: Carrier, stop: Stop) -> list[dict[str, Any]]:
    """Write a part; a state for which its block has no place stands in a block behind it."""
    if isinstance(part, Thinking):
        return [_write_thinking(part, carrier)] if part.text or part.state is not None else []
    if isinstance(part, Refusal):
        return [{"text": part.text}] if part.text else []
    if not isinstance(part, Text | ToolCall):
        return []
    behind = [write_attached(part.state, carrier)] if part.state is not None else []
    if isinstance(part, ToolCall):
        return [{"toolUse": _write_call(part, stop)}, *behind]
    return [_write_text(part), *behind] if part.text or behind else []


def _write_thinking(part: Thinking, carrier: Carrier) -> dict[str, Any]:
    return write_reasoning(part.text, None if part.state is None else carrier.seal(part.state))


def _write_text(part: Text) -> dict[str, Any]:
    citations = [written for each in part.citations if (written := write_citation(each)) is not None]
    if not citations:
        return {"text": part.text}
    return {"citationsContent": {"content": [{"text": part.text}], "citations": citations}}


def _write_call(call: ToolCall, stop: Stop) -> dict[str, Any]:
    arguments = {"input": call.arguments} if call.is_custom else arguments_of(call.arguments, stop)
    return {"toolUseId": call.id, "name": call.name, "input": arguments}
