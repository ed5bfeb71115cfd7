"""Writing a stream for a caller of Google's format: server-sent events if the query says `alt=sse`, else a JSON
array."""

from __future__ import annotations

from typing import Any

from ai_gateway.errors import GatewayError
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Request, Text
from ai_gateway.protocols.events import Event, Failed, Finished, Grown, Opened, Started
from ai_gateway.protocols.gemini.errors import write_error
from ai_gateway.protocols.gemini.grounding import write_grounding
from ai_gateway.protocols.gemini.logprobs import write_logprobs
from ai_gateway.protocols.gemini.parts_writer import PartsWriter
from ai_gateway.protocols.gemini.stops import last_candidate
from ai_gateway.protocols.gemini.system_parameters import forms_asked_for
from ai_gateway.protocols.gemini.usage import write_metadata
from ai_gateway.protocols.jsontext import dumps
from ai_gateway.protocols.ordering import InOrder
from ai_gateway.protocols.protocol import Head, StreamWriter

EMPTY_CHUNK = b'{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"index":0}]}'
"""A chunk that says nothing. Comments are no sign of life here: google-genai takes them for broken JSON."""


def wants_events(head: Head) -> bool:
    """Whether a stream is to be one of server-sent events."""
    return head.query == b"alt=sse" or "sse" in forms_asked_for(head.query)


def stream_type(head: Head) -> bytes:
    """Tell the content type of a stream."""
    return b"text/event-stream" if wants_events(head) else b"application/json; charset=UTF-8"


class EventFrame:
    """Server-sent events. Google ends its lines with CRLF."""

    def element(self, content: bytes) -> bytes:
        """Frame a chunk."""
        return b"data: " + content + b"\r\n\r\n"

    def close(self) -> bytes:
        """Frame the end."""
        return b""

    def blank(self) -> bytes:
        """Frame a sign of life."""
        return self.element(EMPTY_CHUNK)


class ArrayFrame:
    """The elements of a JSON array, between which there may be white space at any time."""

    def __init__(self) -> None:
        self._before = b"["

    def element(self, content: bytes) -> bytes:
        """Frame a chunk."""
        before, self._before = self._before, b",\r\n"
        return before + content

    def close(self) -> bytes:
        """Frame the end."""
        return b"]" if self._before != b"[" else b"[]"

    def blank(self) -> bytes:
        """Frame a sign of life."""
        return b"\r\n"


class GeminiWriter(StreamWriter):
    """Writes one stream."""

    def __init__(self, request: Request, carrier: Carrier, head: Head) -> None:
        self._model = request.model
        self._frame: EventFrame | ArrayFrame = EventFrame() if wants_events(head) else ArrayFrame()
        self._order = InOrder()
        self._parts = PartsWriter(request, carrier)
        self._ending: dict[str, Any] = {}

    def write(self, event: Event) -> bytes:
        """Write an event."""
        return b"".join([self._one(passing) for passing in self._order.feed(event)])

    def _one(self, event: Event) -> bytes:
        if isinstance(event, Started):
            self._ending = {"modelVersion": event.model or self._model, "responseId": event.id}
            return b""
        if isinstance(event, Finished):
            return self._finished(event)
        if isinstance(event, Failed):
            return self.fail(event.error, "")
        parts = self._parts.write(event)
        if not parts:
            return b""
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
        logprobs = logprobs_of(event)
        if logprobs:
            candidate["logprobsResult"] = write_logprobs(logprobs)
        return self._frame.element(dumps({"candidates": [candidate], **self._ending}))

    def _finished(self, event: Finished) -> bytes:
        candidate = last_candidate([*self._parts.held(event.stop), self._parts.rest()], event.stop, event.explanation)
        grounding = write_grounding(self._parts.cited)
        if grounding:
            candidate["groundingMetadata"] = grounding
        chunk = {"candidates": [candidate], **write_metadata(event.usage), **self._ending}
        return self._frame.element(dumps(chunk)) + self._frame.close()

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """Write the error that ends the stream."""
        return self._frame.element(write_error(error, request_id)) + self._frame.close()

    def keep_alive(self) -> bytes:
        """Write a sign of life."""
        return self._frame.blank()


def logprobs_of(event: Event) -> list[dict[str, Any]] | None:
    """Give the probabilities of the tokens that an event brings."""
    if isinstance(event, Grown):
        return event.logprobs
    return event.part.logprobs if isinstance(event, Opened) and isinstance(event.part, Text) else None
