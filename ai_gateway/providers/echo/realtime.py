"""OpenAI's Realtime API, in memory: answers repeat the last words of the caller, piece by piece, and sound is counted.

Small, but of the right shape: what the generally available API sends, in its order. Sound is neither understood nor
made; of what is said nothing is known but how long it takes.

Source: client and server events of the Realtime API in OpenAI's API reference.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from ai_gateway.calls import Headers, Message, UpstreamSocket, subprotocols_in
from ai_gateway.protocols.realtime import SUBPROTOCOL
from ai_gateway.providers.echo.prompt import NO_TEXT, Ask, texts, tokens, words

WAITING = 64
"""Events that wait to be taken. Then whoever sends has to wait, as with a socket."""

BYTES_PER_SECOND = 48000
"""Of sound: PCM with 16 bits and 24 kHz."""

TOKENS_PER_SECOND = 10
"""What a second of the caller's sound counts as: OpenAI's own measure."""

TRANSCRIPT = "The echo provider does not listen."

Events = Iterator[dict[str, Any]]


class EchoSocket(UpstreamSocket):
    """One session."""

    __slots__ = ("_delay", "_events", "_id", "_numbers", "_session")

    def __init__(self, ask: Ask) -> None:
        self.status = 101
        self.headers: Headers = []
        self.subprotocol = SUBPROTOCOL if SUBPROTOCOL in subprotocols_in(ask.fields) else None
        self.interrupted = asyncio.get_running_loop().create_future()
        self._id = ask.id
        self._delay = ask.delay
        self._numbers = itertools.count(1)
        self._session = EchoSession(ask)
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue(WAITING)
        self._events.put_nowait(self._numbered(self._session.described("session.created")))

    def _numbered(self, event: dict[str, Any]) -> dict[str, Any]:
        return {"event_id": f"event_{self._id}_{next(self._numbers)}", **event}

    async def receive(self) -> Message:
        """See UpstreamSocket.receive()."""
        event = await self._events.get()
        if self._delay and event["type"].endswith(".delta"):
            await asyncio.sleep(self._delay)
        return msgspec.json.encode(event).decode()

    async def send(self, message: Message) -> None:
        """See UpstreamSocket.send()."""
        for event in self._session.hear(message):
            await self._events.put(self._numbered(event))

    async def close(self, code: int, reason: str) -> None:
        """See UpstreamSocket.close()."""

    async def aclose(self) -> None:
        """See UpstreamResponse.aclose()."""


class EchoSession:
    """What is known of a session: what was said last, and how much in all."""

    def __init__(self, ask: Ask) -> None:
        is_transcription = ask.query.get("intent") == "transcription"
        self._id = ask.id
        self._model = ask.query.get("model", "echo-1")
        self._settings: dict[str, Any] = {"type": "transcription" if is_transcription else "realtime"}
        self._numbers = itertools.count(1)
        self._last = ""
        self._history = 0
        """Tokens of text that were said before the answer, by either side."""
        self._buffered = 0
        self._audio = 0
        """Bytes of sound that wait for their end, and that were said in all."""

    def described(self, kind: str) -> dict[str, Any]:
        """Write the event that tells what the session is like."""
        session = {"id": f"sess_{self._id}", "object": "realtime.session", "model": self._model, **self._settings}
        return {"type": kind, "session": session}

    def hear(self, message: Message) -> Events:
        """Take an event of the caller's, and give those that answer it."""
        try:
            event = msgspec.json.decode(message, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            yield _error("invalid_event", "The event is not a JSON object.")
            return
        answer = HEARD.get(str(event.get("type")))
        if answer is None:
            yield _error("invalid_value", f"The echo provider does not know the event {str(event.get('type'))[:80]!r}.")
            return
        yield from answer(self, event)

    def update(self, event: Mapping[str, Any]) -> Events:
        """`session.update`."""
        if isinstance(event.get("session"), dict):
            self._settings |= event["session"]
        yield self.described("session.updated")

    def append(self, event: Mapping[str, Any]) -> Events:
        """`input_audio_buffer.append`."""
        self._buffered += len(str(event.get("audio", ""))) * 3 // 4
        yield from ()

    def clear(self, event: Mapping[str, Any]) -> Events:
        """`input_audio_buffer.clear`."""
        self._buffered = 0
        yield {"type": "input_audio_buffer.cleared"}

    def commit(self, event: Mapping[str, Any]) -> Events:
        """`input_audio_buffer.commit`."""
        if not self._buffered:
            yield _error("input_audio_buffer_commit_empty", "There is no sound in the buffer.")
            return
        item, seconds = self._name("item"), self._buffered / BYTES_PER_SECOND
        self._audio, self._buffered = self._audio + self._buffered, 0
        yield {"type": "input_audio_buffer.committed", "previous_item_id": None, "item_id": item}
        content = [{"type": "input_audio", "transcript": None}]
        yield from self._added({"id": item, "type": "message", "role": "user", "content": content})
        if self._is_transcribing:
            kind = "conversation.item.input_audio_transcription.completed"
            usage = {"type": "duration", "seconds": seconds}
            yield {"type": kind, "item_id": item, "content_index": 0, "transcript": TRANSCRIPT, "usage": usage}

    @property
    def _is_transcribing(self) -> bool:
        return self._settings["type"] == "transcription" or "transcription" in str(self._settings.get("audio"))

    def create_item(self, event: Mapping[str, Any]) -> Events:
        """`conversation.item.create`."""
        item = event.get("item")
        if not isinstance(item, dict):
            yield _error("missing_required_parameter", "The event has no item.")
            return
        text = "\n".join(texts(item))
        self._history += tokens(text)
        if item.get("role", "user") == "user":
            self._last = text
        yield from self._added({"id": self._name("item"), "object": "realtime.item", "status": "completed", **item})

    def _added(self, item: dict[str, Any]) -> Events:
        for kind in ("conversation.item.added", "conversation.item.done"):
            yield {"type": kind, "previous_item_id": None, "item": item}

    def create_response(self, event: Mapping[str, Any]) -> Events:
        """`response.create`."""
        id, item_id, text = self._name("resp"), self._name("item"), self._last or NO_TEXT
        response: dict[str, Any] = {
            "id": id,
            "object": "realtime.response",
            "status": "in_progress",
            "output": [],
            "usage": None,
        }
        item: dict[str, Any] = {"id": item_id, "object": "realtime.item", "type": "message", "role": "assistant"}
        place = {"response_id": id, "item_id": item_id, "output_index": 0, "content_index": 0}
        added = {"response_id": id, "output_index": 0}
        part = {"type": "output_text", "text": text}
        whole = {**item, "status": "completed", "content": [part]}
        yield {"type": "response.created", "response": response}
        begun = {**item, "status": "in_progress", "content": []}
        yield {"type": "response.output_item.added", **added, "item": begun}
        yield {"type": "response.content_part.added", **place, "part": {**part, "text": ""}}
        for word in words(text):
            yield {"type": "response.output_text.delta", **place, "delta": word}
        yield {"type": "response.output_text.done", **place, "text": text}
        yield {"type": "response.content_part.done", **place, "part": part}
        yield {"type": "response.output_item.done", **added, "item": whole}
        usage = self._usage(tokens(text))
        yield {
            "type": "response.done",
            "response": {**response, "status": "completed", "output": [whole], "usage": usage},
        }

    def _usage(self, written: int) -> dict[str, Any]:
        heard = self._audio * TOKENS_PER_SECOND // BYTES_PER_SECOND
        given = {"text_tokens": self._history, "audio_tokens": heard, "cached_tokens": 0}
        usage = {
            "total_tokens": self._history + heard + written,
            "input_tokens": self._history + heard,
            "output_tokens": written,
            "input_token_details": given,
            "output_token_details": {"text_tokens": written, "audio_tokens": 0},
        }
        self._history += written
        return usage

    def cancel(self, event: Mapping[str, Any]) -> Events:
        """`response.cancel`: by then every answer is done."""
        yield _error("response_cancel_not_active", "There is no answer under way.")

    def _name(self, kind: str) -> str:
        return f"{kind}_{self._id}_{next(self._numbers)}"


def _error(code: str, message: str) -> dict[str, Any]:
    error = {"type": "invalid_request_error", "code": code, "message": message, "param": None, "event_id": None}
    return {"type": "error", "error": error}


HEARD: Mapping[str, Callable[[EchoSession, Mapping[str, Any]], Events]] = {
    "session.update": EchoSession.update,
    "transcription_session.update": EchoSession.update,
    "input_audio_buffer.append": EchoSession.append,
    "input_audio_buffer.clear": EchoSession.clear,
    "input_audio_buffer.commit": EchoSession.commit,
    "conversation.item.create": EchoSession.create_item,
    "response.create": EchoSession.create_response,
    "response.cancel": EchoSession.cancel,
}
"""What answers each event of a caller."""
