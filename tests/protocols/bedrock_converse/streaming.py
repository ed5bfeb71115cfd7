"""What the tests of streams have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from ai_gateway.errors import GatewayError
from ai_gateway.protocols.bedrock_converse import PROTOCOL
from ai_gateway.protocols.conversation import Answer
from ai_gateway.protocols.events import Event, Failed, Finished
from tests.protocols.bedrock_converse.samples import CARRIER, HEAD, STREAMS, asked
from tests.protocols.streams import events_of_pieces

EVERY_STREAM = pytest.mark.parametrize("name", STREAMS)


def read(*pieces: bytes) -> list[Event]:
    """Read a stream that comes in pieces, to its end."""
    return events_of_pieces(PROTOCOL, pieces)


def write(events: Iterable[Event]) -> bytes:
    """Write a stream."""
    writer = PROTOCOL.stream_writer(asked(stream=True), CARRIER, HEAD)
    return b"".join(map(writer.write, events))


def without_id(answer: Answer) -> Answer:
    """An answer has no id in Converse: one is made up."""
    return msgspec.structs.replace(answer, id="")


def is_finished(events: Iterable[Event]) -> bool:
    return any(isinstance(each, Finished) for each in events)


def failure(events: list[Event]) -> GatewayError:
    """The error that a stream ends with, and nothing behind it."""
    assert isinstance(events[-1], Failed)
    assert not is_finished(events)
    return events[-1].error


def accumulated(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Put together a stream as clients do; the service model is what botocore has parsed it by."""
    seen: dict[str, Any] = {"text": "", "reasoning": "", "signatures": [], "calls": [], "open": None}
    for each in events:
        if "contentBlockStart" in each and "toolUse" in each["contentBlockStart"]["start"]:
            call = each["contentBlockStart"]["start"]["toolUse"]
            seen["calls"].append((call["toolUseId"], call["name"], ""))
        elif "contentBlockDelta" in each:
            change = each["contentBlockDelta"]["delta"]
            seen["text"] += change.get("text", "")
            reasoning = change.get("reasoningContent", {})
            seen["reasoning"] += reasoning.get("text", "")
            seen["signatures"] += [reasoning["signature"]] if "signature" in reasoning else []
            if "toolUse" in change:
                id, name, arguments = seen["calls"].pop()
                seen["calls"].append((id, name, arguments + change["toolUse"]["input"]))
        seen |= each.get("messageStop", {})
        seen |= each.get("metadata", {})
    return seen
