"""Reading the events of ConverseStream.

    messageStart
    for each block: contentBlockStart (only of calls), contentBlockDelta..., contentBlockStop
    messageStop
    metadata

An answer is whole when both `messageStop` and `metadata`, which holds the usage and comes last, are there.

Source: the shape `ConverseStreamOutput` of the service model.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from ai_gateway.errors import GatewayError, UpstreamClosed, UpstreamProtocolError
from ai_gateway.protocols.bedrock_converse.citations import read_citation
from ai_gateway.protocols.bedrock_converse.errors import is_failure, read_failure
from ai_gateway.protocols.bedrock_converse.response import new_id, read_service_tier, read_stop, read_stop_sequence
from ai_gateway.protocols.bedrock_converse.states import REDACTED, SIGNATURE
from ai_gateway.protocols.bedrock_converse.usage import read_usage
from ai_gateway.protocols.bedrock_converse.words import NAME, SERVER_TOOL_USE
from ai_gateway.protocols.conversation import State, Stop, Text, Thinking, ToolCall
from ai_gateway.protocols.events import Cited, Closed, Event, Failed, Finished, Grown, Opened, Signed, Started
from ai_gateway.protocols.jsontext import loads
from ai_gateway.protocols.protocol import StreamReader


class _Block:
    """A content block that is open: the key of its part, what that is, and the pieces of its state."""

    __slots__ = ("key", "kind", "redacted", "signature")

    def __init__(self, key: int, kind: type[Text | Thinking | ToolCall]) -> None:
        self.key = key
        self.kind = kind
        self.signature: list[str] = []
        self.redacted: list[bytes] = []

    def state(self) -> State | None:
        """Give the state, now that all of it is there."""
        if self.redacted:
            return State(format=NAME, kind=REDACTED, value=base64.b64encode(b"".join(self.redacted)).decode())
        signature = "".join(self.signature)
        return State(format=NAME, kind=SIGNATURE, value=signature) if signature else None


class ConverseStreamReader(StreamReader):
    """Reads one stream."""

    def __init__(self) -> None:
        self._blocks: dict[int, _Block] = {}
        self._skipped: set[int] = set()
        self._count = 0
        self._is_started = False
        self._is_over = False
        self._is_calling = False
        self._stop: Stop | None = None
        self._stop_sequence: str | None = None
        self._metadata: dict[str, Any] | None = None
        self._handlers: dict[str | None, Callable[[dict[str, Any]], list[Event]]] = {
            "contentBlockDelta": self._delta,
            "contentBlockStart": self._block_start,
            "contentBlockStop": self._block_stop,
            "messageStart": self._message_start,
            "messageStop": self._message_stop,
            "metadata": self._usage,
        }

    def read(self, name: str | None, data: bytes) -> list[Event]:
        """Take one event, by its name as `framing.FrameSplitter` gives it, and its payload."""
        if self._is_over:
            return []
        if is_failure(name):
            return self._failed(read_failure(name, data))
        handle = self._handlers.get(name)
        if handle is None:
            return []
        try:
            payload = loads(data)
            if not isinstance(payload, dict):
                raise ValueError("no object")
            return handle(payload)
        except GatewayError as error:
            return self._failed(error)
        except (ValueError, RecursionError):
            return self._failed(UpstreamProtocolError("The provider's stream has an event that is not valid."))

    def end(self) -> list[Event]:
        """Both proofs of the end were read already, or the answer is not whole."""
        if self._is_over:
            return []
        return self._failed(UpstreamClosed("The provider's stream ended before the answer was complete."))

    def _failed(self, error: GatewayError) -> list[Event]:
        self._is_over = True
        self._blocks.clear()
        return [Failed(error=error)]

    def _message_start(self, payload: dict[str, Any]) -> list[Event]:
        if self._is_started:
            raise UpstreamProtocolError("The provider's stream has a second answer in it.")
        return self._started()

    def _started(self) -> list[Event]:
        if self._is_started:
            return []
        self._is_started = True
        return [Started(id=new_id(), model="")]

    def _block_start(self, payload: dict[str, Any]) -> list[Event]:
        index, start = _index(payload), _object(payload.get("start"))
        events = [*self._started(), *self._closed(index)]
        call = start.get("toolUse")
        if not isinstance(call, dict):
            # Of an image or the result of the provider's own tool nothing is shown; a text needs no beginning.
            self._skipped.update((index,) if start else ())
            return events
        if call.get("type") == SERVER_TOOL_USE:
            self._skipped.add(index)
            return events
        part = ToolCall(id=str(call.get("toolUseId") or ""), name=str(call.get("name") or ""))
        return [*events, self._opened(index, part)]

    def _opened(self, index: int, part: Text | Thinking | ToolCall) -> Opened:
        block = self._blocks[index] = _Block(self._count, type(part))
        self._count += 1
        self._is_calling |= isinstance(part, ToolCall)
        return Opened(key=block.key, part=part)

    def _delta(self, payload: dict[str, Any]) -> list[Event]:
        index, delta = _index(payload), _object(payload.get("delta"))
        if index in self._skipped or self._stop is not None:
            return []
        text = delta.get("text")
        if isinstance(text, str):
            return self._grown(index, Text, text)
        call = delta.get("toolUse")
        if isinstance(call, dict):
            return self._arguments(index, call.get("input"))
        reasoning = delta.get("reasoningContent")
        if isinstance(reasoning, dict):
            return self._reasoning(index, reasoning)
        citation = read_citation(delta.get("citation"))
        if citation is not None:
            events, block = self._block_of(index, Text)
            return [*events, Cited(key=block.key, citation=citation)]
        return []

    def _grown(self, index: int, kind: type[Text | Thinking], text: str) -> list[Event]:
        block = self._blocks.get(index)
        if block is not None and block.kind is kind:
            return [Grown(key=block.key, text=text)] if text else []
        events, block = self._block_of(index, kind)
        return [*events, Grown(key=block.key, text=text)] if text else events

    def _block_of(self, index: int, kind: type[Text | Thinking]) -> tuple[list[Event], _Block]:
        """Give the open block of an index, and the events that it took to open it if it was not."""
        block = self._blocks.get(index)
        if block is not None and block.kind is kind:
            return [], block
        events: list[Event] = [*self._started(), *self._closed(index), self._opened(index, kind())]
        return events, self._blocks[index]

    def _arguments(self, index: int, text: Any) -> list[Event]:
        block = self._blocks.get(index)
        if block is None or block.kind is not ToolCall:
            raise UpstreamProtocolError("The provider's stream has arguments of a call that did not begin.")
        return [Grown(key=block.key, text=text)] if isinstance(text, str) and text else []

    def _reasoning(self, index: int, reasoning: dict[str, Any]) -> list[Event]:
        text = reasoning.get("text")
        if isinstance(text, str):
            return self._grown(index, Thinking, text)
        events, block = self._block_of(index, Thinking)
        signature, redacted = reasoning.get("signature"), reasoning.get("redactedContent")
        if isinstance(signature, str):
            block.signature.append(signature)
        elif isinstance(redacted, str):
            block.redacted.append(_bytes(redacted))
        return _redacted(events) if isinstance(redacted, str) else events

    def _block_stop(self, payload: dict[str, Any]) -> list[Event]:
        return self._closed(_index(payload))

    def _closed(self, index: int) -> list[Event]:
        self._skipped.discard(index)
        block = self._blocks.pop(index, None)
        if block is None:
            return []
        state = block.state()
        signed: list[Event] = [Signed(key=block.key, state=state)] if state is not None else []
        return [*signed, Closed(key=block.key)]

    def _message_stop(self, payload: dict[str, Any]) -> list[Event]:
        self._stop = read_stop(payload.get("stopReason"), self._is_calling)
        self._stop_sequence = read_stop_sequence(payload.get("additionalModelResponseFields"))
        events = self._started()
        for index in list(self._blocks):
            events += self._closed(index)
        return [*events, *self._finished()]

    def _usage(self, payload: dict[str, Any]) -> list[Event]:
        self._metadata = payload
        return self._finished()

    def _finished(self) -> list[Event]:
        if self._stop is None or self._metadata is None:
            return []
        self._is_over = True
        return [
            Finished(
                stop=self._stop,
                stop_sequence=self._stop_sequence,
                usage=read_usage(self._metadata.get("usage")),
                service_tier=read_service_tier(self._metadata.get("serviceTier")),
            )
        ]


def _index(payload: dict[str, Any]) -> int:
    index = payload.get("contentBlockIndex", 0)
    if not isinstance(index, int):
        raise UpstreamProtocolError("The provider's stream has a block without an index.")
    return index


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _bytes(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        raise UpstreamProtocolError("The provider's stream has redacted reasoning that is not in base64.") from None


def _redacted(events: list[Event]) -> list[Event]:
    """Say of reasoning that opens with redacted content that there is nothing to show."""
    return [
        Opened(key=event.key, part=Thinking(is_redacted=True)) if isinstance(event, Opened) else event
        for event in events
    ]
