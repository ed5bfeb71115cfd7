"""Reading a provider's stream.

A stream is whole if a `finish_reason` came, or `[DONE]`; an empty reason, which some send with every chunk, proves
nothing. The usage may come with the reason, in a chunk of its own behind it, or (OpenRouter) with a second reason; so
the end is given only with `[DONE]` or the end of the body.

Source: the chat completion chunk object of OpenAI's API reference; deviations as recorded from other providers.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ai_gateway.errors import GatewayError, UpstreamClosed, UpstreamProtocolError
from ai_gateway.protocols.conversation import Refusal, Stop, Text, Thinking
from ai_gateway.protocols.events import Cited, Closed, Event, Failed, Finished, Grown, Opened, Signed, Started
from ai_gateway.protocols.jsontext import loads
from ai_gateway.protocols.openai_chat.call_reader import CallReader
from ai_gateway.protocols.openai_chat.errors import error_of
from ai_gateway.protocols.openai_chat.response import mistral_texts, read_citations, read_logprobs
from ai_gateway.protocols.openai_chat.states import ENCRYPTED, DetailsState, detail_text, google_state, plain_text
from ai_gateway.protocols.openai_chat.stops import FAILED, read_stop, stop_sequence
from ai_gateway.protocols.openai_chat.usage import Report, read_report, tokens_of, units_of
from ai_gateway.protocols.protocol import StreamReader

DONE = b"[DONE]"
NO_KEY = -1
INVALID = "The provider's stream has a chunk that is not valid."


class ChatStreamReader(StreamReader):
    """Reads one stream."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._id = ""
        self._is_started = False
        self._is_over = False
        self._next_key = 0
        self._open_key = NO_KEY
        """The text, refusal or block of reasoning that is open; calls are open beside it."""
        self._open_kind: type[Text | Refusal | Thinking] | None = None
        self._block: object = None
        """The index of the open block of reasoning among the provider's details."""
        self._details = DetailsState()
        self._length = 0
        """Characters of text so far, and where the open text began: citations count from the beginning of all."""
        self._text_start = 0
        self._calls = CallReader()
        self._reason: str | None = None
        self._sequence: str | None = None
        self._report: Report | None = None
        self._tier: str | None = None

    def read(self, name: str | None, data: bytes) -> list[Event]:
        """Take a chunk, or `[DONE]`."""
        if self._is_over:
            return []
        self._events = []
        if data.startswith(DONE):
            self._finish()
            return self._events
        try:
            chunk = loads(data)
            if not isinstance(chunk, dict) or name == "error" or "error" in chunk:
                self._judge(chunk, name)
            else:
                self._chunk(chunk)
        except GatewayError as error:
            self._fail(error)
        except (ValueError, TypeError, AttributeError, RecursionError):
            if data.strip():
                self._fail(UpstreamProtocolError(INVALID))
        return self._events

    @property
    def units(self) -> dict[str, float]:
        """See StreamReader.units."""
        return units_of(self._report) if self._report is not None else {}

    def end(self) -> list[Event]:
        """The body is over."""
        self._events = []
        if not self._is_over:
            if self._reason is None:
                self._fail(UpstreamClosed("The provider's stream ended before the answer was complete."))
            else:
                self._finish()
        return self._events

    def _judge(self, chunk: Any, name: str | None) -> None:
        """Take what may be an error: an object with that member, Google's list, an event of that name."""
        if isinstance(chunk, dict) and name != "error" and not chunk.get("error"):
            self._chunk(chunk)
        elif isinstance(chunk, dict | list | str) and chunk:
            raise error_of(chunk)
        else:
            raise UpstreamProtocolError(INVALID)

    def _fail(self, error: GatewayError) -> None:
        self._is_over = True
        self._events.append(Failed(error=error))

    def _chunk(self, chunk: dict[str, Any]) -> None:
        choices = chunk.get("choices")
        if choices:
            if not self._is_started:
                self._start(chunk)
            for choice in choices:
                if not choice.get("index"):
                    self._choice(choice)
        if "usage" in chunk or "x_groq" in chunk:
            self._report = read_report(chunk.get("usage"), chunk.get("x_groq")) or self._report
        if "service_tier" in chunk and isinstance(chunk["service_tier"], str):
            self._tier = chunk["service_tier"]

    def _start(self, chunk: dict[str, Any]) -> None:
        self._is_started = True
        created, tier, model = chunk.get("created"), chunk.get("service_tier"), chunk.get("model")
        self._id = chunk["id"] if isinstance(chunk.get("id"), str) else ""
        self._events.append(
            Started(
                id=self._id,
                model=model if isinstance(model, str) else "",
                created=int(created) if isinstance(created, int | float) and created else None,
                service_tier=tier if isinstance(tier, str) else None,
            )
        )

    def _choice(self, choice: dict[str, Any]) -> None:
        delta = choice.get("delta") or choice.get("message")
        if isinstance(delta, dict):
            self._delta(delta, choice.get("logprobs"))
        reason = choice.get("finish_reason")
        if reason:
            self._ending(reason, choice)

    def _ending(self, reason: object, choice: dict[str, Any]) -> None:
        if reason == FAILED:
            raise error_of({"error": choice.get("error") or "The provider could not finish its answer."})
        # OpenRouter sends a second reason; that tools were called is not taken back by it.
        if not (self._reason == "tool_calls" and reason == "stop"):
            self._reason = str(reason)
        self._sequence = stop_sequence(choice) or self._sequence

    def _delta(self, delta: dict[str, Any], logprobs: Any) -> None:
        """Take what a delta adds. Reasoning comes first: it may stand in one delta with the first text."""
        if delta.get("reasoning_details") or delta.get("reasoning_content") or delta.get("reasoning"):
            self._reasoning(delta)
        content = delta.get("content")
        if content:
            if isinstance(content, str):
                self._text(content, delta, logprobs)
            else:
                self._list(content, delta)
        refusal = delta.get("refusal")
        if refusal and isinstance(refusal, str):
            self._grow(Refusal, refusal)
        if delta.get("annotations"):
            self._cite(delta["annotations"])
        if "extra_content" in delta:
            self._sign(delta)
        calls, function = delta.get("tool_calls"), delta.get("function_call")
        if calls:
            self._call(self._calls.read(calls, self._id, self._next_key))
        elif isinstance(function, dict):
            self._call(self._calls.read_function(function, self._id, self._next_key))

    def _text(self, content: str, delta: dict[str, Any], logprobs: Any) -> None:
        tokens = read_logprobs(logprobs)
        self._length += len(content)
        if self._open_kind is Text:
            self._events.append(Grown(key=self._open_key, text=content, logprobs=tokens))
            return
        self._close()
        self._text_start = self._length - len(content)
        phase = delta.get("phase")
        self._open(Text(text=content, logprobs=tokens, phase=phase if isinstance(phase, str) else None))

    def _list(self, content: Any, delta: dict[str, Any]) -> None:
        """Take a content that is a list (Mistral)."""
        thinking, text = mistral_texts(content, "thinking"), mistral_texts(content, "text")
        if thinking:
            self._grow(Thinking, thinking)
        if text:
            self._text(text, delta, None)

    def _grow(self, kind: type[Refusal | Thinking], text: str) -> None:
        if self._open_kind is kind:
            self._events.append(Grown(key=self._open_key, text=text))
            return
        self._close()
        self._open(kind(text=text))

    def _open(self, part: Text | Refusal | Thinking) -> None:
        self._open_kind, self._open_key = type(part), self._next_key
        self._events.append(Opened(key=self._next_key, part=part))
        self._next_key += 1

    def _close(self) -> None:
        """Close the text, refusal or block of reasoning that is open."""
        if self._open_kind is None:
            return
        if self._open_kind is Thinking:
            state = self._details.state()
            if state is not None:
                self._events.append(Signed(key=self._open_key, state=state))
            self._details, self._block = DetailsState(), None
        self._events.append(Closed(key=self._open_key))
        self._open_kind = None

    def _reasoning(self, delta: dict[str, Any]) -> None:
        """Take reasoning. Where it comes twice, the details are taken, unless they have no text."""
        given = delta.get("reasoning_details")
        details = [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
        if not any(map(detail_text, details)):
            text = plain_text(delta)
            if text:
                self._grow(Thinking, text)
        for detail in details:
            self._detail(detail)

    def _detail(self, detail: dict[str, Any]) -> None:
        text, index = detail_text(detail), detail.get("index")
        is_other = self._block is not None and index is not None and index != self._block
        if self._open_kind is Thinking and is_other:
            self._close()
        if text:
            self._grow(Thinking, text)
        elif not (detail.get("signature") or detail.get("data")):
            return
        elif self._open_kind is not Thinking:
            self._close()
            self._open(Thinking(is_redacted=detail.get("type") == ENCRYPTED))
        self._block = index
        self._details.add(detail)

    def _cite(self, annotations: Any) -> None:
        """Take citations of the text that is open. Their places count from the beginning of all text."""
        if self._open_kind is not Text:
            return
        for citation in read_citations(annotations):
            start, end = citation.start, citation.end
            if start is not None and end is not None:
                begin = self._text_start
                citation = msgspec.structs.replace(citation, start=max(0, start - begin), end=max(0, end - begin))
            self._events.append(Cited(key=self._open_key, citation=citation))

    def _sign(self, delta: dict[str, Any]) -> None:
        """Take Google's signature of a text, which may come behind it in a delta without any."""
        state = google_state(delta)
        if state is None:
            return
        if self._open_kind is not Text:
            self._close()
            self._text_start = self._length
            self._open(Text())
        self._events.append(Signed(key=self._open_key, state=state))

    def _call(self, events: list[Event]) -> None:
        opened = sum(isinstance(event, Opened) for event in events)
        if opened:
            self._close()
            self._next_key += opened
        self._events += events

    def _finish(self) -> None:
        """The answer is whole: close what is open and say how it ended."""
        if not self._is_started:
            self._fail(UpstreamProtocolError("The provider's stream has no answer in it."))
            return
        self._close()
        self._events += self._calls.end(self._id, self._next_key)
        stop = read_stop(self._reason, self._calls.has_calls, self._sequence)
        self._is_over = True
        self._events.append(
            Finished(
                stop=stop,
                stop_sequence=self._sequence if stop is Stop.STOP_SEQUENCE else None,
                usage=tokens_of(self._report) if self._report is not None else None,
                units=self.units,
                service_tier=self._tier,
            )
        )
