"""Reading Google's answers: what a stream's chunks mean, and so what a whole answer means, which is one chunk.

Every chunk is a `GenerateContentResponse` with the parts that are new; token counts are those of everything so far.
Calls come whole (but see `partial_calls.py`). The end of the body is the end; what proves that the answer is whole is
a finish reason, or a block reason where the prompt was refused. Source: "Generating content" of the Gemini API's
reference.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ai_gateway.errors import GatewayError, Kind, ProviderError, UpstreamClosed, UpstreamProtocolError
from ai_gateway.protocols.conversation import State, Stop, Text, Thinking, ToolCall
from ai_gateway.protocols.events import Cited, Closed, Event, Failed, Finished, Grown, Opened, Signed, Started
from ai_gateway.protocols.gemini.errors import made_error
from ai_gateway.protocols.gemini.grounding import has_citations, read_citations
from ai_gateway.protocols.gemini.logprobs import read_logprobs
from ai_gateway.protocols.gemini.partial_calls import PartialCall
from ai_gateway.protocols.gemini.states import read_signature
from ai_gateway.protocols.gemini.stops import BROKEN, read_stop, reason_name
from ai_gateway.protocols.gemini.usage import read_queries, read_tier, read_usage, units_of
from ai_gateway.protocols.jsontext import arguments_text, loads
from ai_gateway.protocols.protocol import StreamReader
from ai_gateway.protocols.tool_ids import made_id

Logprobs = list[dict[str, Any]] | None

UNREADABLE = "The provider's stream holds an event that cannot be read."


class GeminiReader(StreamReader):
    """Reads one answer. Only the first candidate is read; code that Google ran itself, and pictures, are left out."""

    def __init__(self) -> None:
        self._is_started = False
        self._is_over = False
        self._id = self._model = ""
        self._keys = 0
        self._open: int | None = None
        self._is_thought = False
        self._texts: dict[int, list[str]] = {}
        self._cited: set[tuple[object, ...]] = set()
        self._queries: set[tuple[str, str]] = set()
        self._pending: PartialCall | None = None
        self._calls = 0
        self._has_content = False
        self._reason: str | None = None
        self._explanation: str | None = None
        self._is_blocked = False
        self._usage: dict[str, Any] = {}

    def read(self, name: str | None, data: bytes) -> list[Event]:
        """Take one event: a chunk, or a list of chunks."""
        if self._is_over:
            return []
        try:
            value = loads(data)
        except (ValueError, RecursionError):
            return self._fail(UpstreamProtocolError(UNREADABLE))
        events: list[Event] = []
        for chunk in value if isinstance(value, list) else (value,):
            if not self._is_over:
                events += self.take(chunk)
        return events

    def take(self, chunk: Any) -> list[Event]:
        """Take one chunk that has been decoded."""
        if not isinstance(chunk, dict):
            return self._fail(UpstreamProtocolError(UNREADABLE))
        if chunk.get("error"):
            return self._fail(made_error(200, chunk))
        try:
            return self._chunk(chunk)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            return self._fail(UpstreamProtocolError(UNREADABLE, detail=repr(error)))

    def _fail(self, error: GatewayError) -> list[Event]:
        self._is_over = True
        return [Failed(error=error)]

    def _chunk(self, chunk: dict[str, Any]) -> list[Event]:
        events: list[Event] = [] if self._is_started else [self._start(chunk)]
        usage = chunk.get("usageMetadata")
        if usage:
            self._usage.update((name, count) for name, count in usage.items() if count is not None)
        feedback = chunk.get("promptFeedback")
        if feedback and feedback.get("blockReason"):
            self._block(feedback)
        candidates = chunk.get("candidates")
        if candidates:
            self._candidate(candidates[0], events)
        return events

    def _start(self, chunk: dict[str, Any]) -> Started:
        self._is_started = True
        self._id = _string(chunk.get("responseId") or made_id("", chunk))
        self._model = _string(chunk.get("modelVersion") or "")
        return Started(id=self._id, model=self._model, created=_seconds(chunk.get("createTime")))

    def _block(self, feedback: dict[str, Any]) -> None:
        self._is_blocked = True
        explanation = feedback.get("blockReasonMessage") or f"The prompt was blocked: {feedback['blockReason']}."
        self._explanation = _string(explanation)

    def _candidate(self, candidate: dict[str, Any], events: list[Event]) -> None:
        content = candidate.get("content")
        parts = content.get("parts") if content else None
        if parts:
            logprobs = read_logprobs(candidate["logprobsResult"]) if candidate.get("logprobsResult") else None
            for part in parts:
                if self._part(part, events, logprobs):
                    logprobs = None
        self._queries |= read_queries(candidate.get("groundingMetadata"))
        self._cite(candidate, events)
        reason = reason_name(candidate.get("finishReason"))
        if reason is not None:
            self._reason = reason
            self._explanation = _string(candidate.get("finishMessage") or "") or None

    def _part(self, part: dict[str, Any], events: list[Event], logprobs: Logprobs) -> bool:
        """Take a part; tell whether it is text, which is what the probabilities of a chunk belong to."""
        text = part.get("text")
        if text is not None:
            self._text(part, _string(text), events, logprobs)
            return not part.get("thought")
        if "functionCall" in part:
            self._call(part, part["functionCall"] or {}, events)
        elif part:
            self._has_content = True
        return False

    # Texts and thoughts.

    def _text(self, part: dict[str, Any], text: str, events: list[Event], logprobs: Logprobs) -> None:
        """A piece of text. One piece continues another if both are thoughts or neither is."""
        is_thought = bool(part.get("thought"))
        if text:
            self._has_content = self._has_content or not is_thought
            if self._open is None or self._is_thought != is_thought:
                self._begin(text, is_thought, events, logprobs)
            else:
                events.append(Grown(key=self._open, text=text, logprobs=None if is_thought else logprobs))
            if not is_thought and self._open is not None:
                self._texts[self._open].append(text)
        state = read_signature(part.get("thoughtSignature"))
        if state is not None:
            self._sign(state, events)

    def _begin(self, text: str, is_thought: bool, events: list[Event], logprobs: Logprobs) -> None:
        self._close(events)
        key = self._next_key()
        events.append(Opened(key=key, part=Thinking(text=text) if is_thought else Text(text=text, logprobs=logprobs)))
        self._open, self._is_thought = key, is_thought
        if not is_thought:
            self._texts[key] = []

    def _sign(self, state: State, events: list[Event]) -> None:
        """A signature belongs to what is open, though it may come with an empty text. A thought that is signed is
        whole. With nothing open it is all that can be seen of a thought."""
        if self._open is None:
            self._flush_call(events)
            key = self._next_key()
            events += (Opened(key=key, part=Thinking(state=state)), Closed(key=key))
            return
        events.append(Signed(key=self._open, state=state))
        if self._is_thought:
            self._close(events)

    def _next_key(self) -> int:
        self._keys += 1
        return self._keys - 1

    def _close(self, events: list[Event]) -> None:
        self._flush_call(events)
        if self._open is not None:
            events.append(Closed(key=self._open))
            self._open = None

    # Calls.

    def _call(self, part: dict[str, Any], call: dict[str, Any], events: list[Event]) -> None:
        """A call, whole or the beginning of one; or, without a name, more of one that has begun, or its end."""
        name, pieces, continues = call.get("name"), call.get("partialArgs"), bool(call.get("willContinue"))
        if name:
            self._close(events)
            self._pending = self._made_call(part, call)
        if self._pending is None:
            return
        if pieces:
            self._pending.add(pieces)
        if not continues:
            self._flush_call(events)

    def _made_call(self, part: dict[str, Any], call: dict[str, Any]) -> PartialCall:
        """Google's API gives few calls an id. One that is made is the same whenever the same answer is read."""
        self._calls += 1
        self._has_content = True
        call_id = _string(call.get("id") or made_id("call_", self._id, self._calls))
        args = call.get("args") or {}
        if not isinstance(args, dict):
            raise TypeError("the arguments of a call are no object")
        return PartialCall(_string(call["name"]), call_id, read_signature(part.get("thoughtSignature")), args)

    def _flush_call(self, events: list[Event]) -> None:
        if self._pending is None:
            return
        call, self._pending = self._pending, None
        part = ToolCall(id=call.call_id, name=call.name, arguments=arguments_text(call.arguments()), state=call.state)
        key = self._next_key()
        events += (Opened(key=key, part=part), Closed(key=key))

    # Citations and the end.

    def _cite(self, candidate: dict[str, Any], events: list[Event]) -> None:
        """Citations stand before the end of their text. Those of a text that ended in an earlier chunk are left out,
        and those that an earlier chunk had already."""
        if not has_citations(candidate):
            return
        ending = {event.key: place for place, event in enumerate(events) if isinstance(event, Closed)}
        texts = {key: "".join(pieces) for key, pieces in self._texts.items() if key == self._open or key in ending}
        placed: list[tuple[int, Event]] = []
        for key, citation in read_citations(candidate, texts):
            identity = (key, citation.start, citation.end, citation.url, citation.title)
            if identity not in self._cited:
                self._cited.add(identity)
                placed.append((ending.get(key, len(events)), Cited(key=key, citation=citation)))
        for number, (place, event) in enumerate(sorted(placed, key=lambda entry: entry[0])):
            events.insert(place + number, event)

    @property
    def units(self) -> dict[str, float]:
        """See StreamReader.units."""
        return units_of(self._queries, self._model)

    def end(self) -> list[Event]:
        """The body is over: was it whole?"""
        if self._is_over:
            return []
        if self._reason is None and not self._is_blocked:
            return self._fail(UpstreamClosed("The provider's stream ended before the answer was complete."))
        return self.finish()

    def finish(self) -> list[Event]:
        """End the answer, which is whole. One that the model broke off without saying anything is no answer."""
        events: list[Event] = []
        self._close(events)
        if self._reason in BROKEN and not self._has_content:
            return [*events, *self._fail(_broken(self._reason, self._explanation))]
        self._is_over = True
        stop = Stop.FILTERED if self._is_blocked else read_stop(self._reason, is_calling=self._calls > 0)
        explanation = self._explanation if stop is Stop.FILTERED else None
        events.append(
            Finished(
                stop=stop,
                explanation=explanation,
                usage=read_usage(self._usage),
                service_tier=read_tier(self._usage),
                units=self.units,
            )
        )
        return events


def _broken(reason: str, explanation: str | None) -> ProviderError:
    message = f"The model ended without an answer ({reason}). {explanation or ''}".rstrip()
    return ProviderError(message, status=502, kind=Kind.UPSTREAM, code="upstream_error")


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _seconds(time: object) -> int | None:
    """Read a time as Google writes it (`2026-04-02T17:03:50.399550Z`), in whole seconds since 1970."""
    try:
        return int(datetime.fromisoformat(time).timestamp()) if isinstance(time, str) else None
    except ValueError:
        return None
