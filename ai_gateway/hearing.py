"""An answer in any format, heard piece by piece as it comes, and told as plain events that a page can show."""

from __future__ import annotations

from typing import Any

from ai_gateway.errors import GatewayError
from ai_gateway.prompts import read_json, told
from ai_gateway.protocols import PROTOCOLS
from ai_gateway.protocols.conversation import BUCKETS, Refusal, Text, Thinking, ToolCall
from ai_gateway.protocols.events import Event, Failed, Finished, Grown, Opened, Signed
from ai_gateway.protocols.transcript import replay


class Hearing:
    """Hears an answer in a format as it comes, and tells what it says."""

    def __init__(self, format: str, *, is_stream: bool) -> None:
        self._protocol = PROTOCOLS[format]
        self._splitter = self._protocol.splitter() if is_stream else None
        self._reader = self._protocol.stream_reader()
        self._held: list[bytes] = []

    def hear(self, piece: bytes) -> list[dict[str, Any]]:
        """Take some bytes of the answer; tell what they say. A whole answer is told at its end."""
        if self._splitter is None:
            self._held.append(piece)
            return []
        try:
            found = [event for name, data in self._splitter.feed(piece) for event in self._reader.read(name, data)]
        except GatewayError as error:
            found = [Failed(error=error)]
        return [said for event in found if (said := tell(event))]

    def end(self) -> list[dict[str, Any]]:
        """The answer is over; tell the rest."""
        try:
            found = self._rest()
        except GatewayError as error:
            found = [Failed(error=error)]
        return [said for event in found if (said := tell(event))]

    def _rest(self) -> list[Event]:
        if self._splitter is None:
            document = read_json(b"".join(self._held).decode("utf-8", "replace"), "answer")
            return replay(self._protocol.read_answer(document if isinstance(document, dict) else {}))
        found = [event for name, data in self._splitter.flush() for event in self._reader.read(name, data)]
        return [*found, *self._reader.end()]


def tell(event: Event) -> dict[str, Any]:
    """Write an event for the page; nothing for one that has nothing to show."""
    if isinstance(event, Opened):
        return _opened(event)
    if isinstance(event, Grown):
        return {"what": "more", "key": event.key, "text": event.text}
    if isinstance(event, Signed):
        return {"what": "signed", "key": event.key, "state": told(event.state)}
    if isinstance(event, Finished):
        usage = event.usage
        tokens = {name: count for name in BUCKETS if (count := getattr(usage, name, 0))}
        total = 0 if usage is None else usage.total_output
        return {"what": "finished", "stop": event.stop.name.lower(), "tokens": tokens, "output": total}
    if isinstance(event, Failed):
        return {"what": "failed", "message": event.error.message, "code": event.error.code or ""}
    return {}


def _opened(event: Opened) -> dict[str, Any]:
    part = event.part
    if isinstance(part, ToolCall):
        names = {"id": part.id, "name": part.name, "text": part.arguments}
        return {"what": "call", "key": event.key, "state": told(part.state), **names}
    what = "thought" if isinstance(part, Thinking) else "refusal" if isinstance(part, Refusal) else "text"
    state = told(part.state) if isinstance(part, Text | Thinking) else None
    return {"what": what, "key": event.key, "text": part.text, "state": state}
