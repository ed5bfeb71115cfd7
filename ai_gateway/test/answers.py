"""What a provider answers: said once, and written in whatever format it is asked in, streamed or whole."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ai_gateway.errors import ConnectFailed, GatewayError, ProviderError, UpstreamClosed, UpstreamTimeout
from ai_gateway.protocols import PROTOCOLS
from ai_gateway.protocols import conversation as told
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Stop, Text, Thinking, TokenUsage, ToolCall
from ai_gateway.protocols.events import Closed, Event, Finished, Grown, Opened, Started
from ai_gateway.protocols.protocol import Head
from ai_gateway.protocols.provider_errors import kind_of
from ai_gateway.test.sent import Sent

Part = Text | Thinking | ToolCall
Step = bytes | float | GatewayError
"""A piece of a body, a pause in seconds, or how it breaks off."""

FOREVER = math.inf
"""A pause that ends with the patience of whoever waits."""

USAGE = TokenUsage(input=10, output=5)

CARRIER = Carrier([b"only for tests"])


@dataclass(frozen=True, slots=True)
class Written:
    """An answer as it is sent: the head, and the body step by step. `error` is in its place if there is none."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    steps: Sequence[Step] = ()
    after: float = 0.0
    error: GatewayError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a provider answers. Made by the functions of this module; the methods make others of it."""

    parts: tuple[Part, ...] = ()
    usage: TokenUsage = USAGE
    stop: Stop | None = None
    raw: Written | None = None
    message: str | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    pause: float = 0.0
    pieces: int | None = None
    end: Step | None = None

    def after(self, seconds: float) -> Answer:
        """The same, but the provider thinks for so long before it says anything."""
        return replace(self, seconds=seconds)

    def slowly(self, pause: float) -> Answer:
        """The same, with a pause of so many seconds between the pieces of a stream."""
        return replace(self, pause=pause)

    def cut_after(self, pieces: int) -> Answer:
        """The same, but the connection breaks after so many pieces of a stream, or before the end of a whole answer."""
        return replace(self, pieces=pieces, end=UpstreamClosed("The test's provider hung up."))

    def stalled_after(self, pieces: int) -> Answer:
        """The same, but nothing comes any more after so many pieces, and nobody hangs up."""
        return replace(self, pieces=pieces, end=FOREVER)

    def to(self, sent: Sent) -> Written:
        """Write it for who asked."""
        written = self.raw or (self._failure(sent) if self.message is not None else self._meaning(sent))
        steps = list(self._paced(written.steps))
        headers = {**written.headers, **self.headers}
        return replace(written, headers=headers, steps=steps, after=self.seconds)

    def _paced(self, steps: Sequence[Step]) -> Iterator[Step]:
        whole: Sequence[Step] = steps
        if self.pieces is not None and len(whole) == 1 and isinstance(whole[0], bytes):
            whole = [whole[0][: len(whole[0]) // 2]][: self.pieces]
        for number, step in enumerate(whole[: self.pieces]):
            if number and self.pause:
                yield self.pause
            yield step
        if self.end is not None:
            yield self.end

    def _failure(self, sent: Sent) -> Written:
        assert self.message is not None
        error = ProviderError(self.message, status=self.status, kind=kind_of(self.status))
        body = sent.dialect.write_error(error, "req_test")
        return Written(self.status, {"content-type": "application/json"}, [body])

    def _meaning(self, sent: Sent) -> Written:
        protocol = PROTOCOLS.get(sent.format)
        if protocol is None:
            raise AssertionError(f"{sent.path} is no format for generating text: answer it by sends({{...}}).")
        head = Head(model=sent.model or "", stream=sent.is_stream, query=sent.query.encode())
        request = protocol.read_request(dict(sent.json), head, CARRIER)
        if not sent.is_stream:
            answer = told.Answer(
                id="answer_test", model=head.model, parts=list(self.parts), stop=self._stop, usage=self.usage
            )
            body = json.dumps(protocol.write_answer(answer, request, CARRIER)).encode()
            return Written(200, {"content-type": "application/json"}, [body])
        writer = protocol.stream_writer(request, CARRIER, head)
        pieces = [piece for event in self._events(head.model) if (piece := writer.write(event))]
        return Written(200, {"content-type": protocol.stream_type(head).decode()}, pieces)

    @property
    def _stop(self) -> Stop:
        calls_tools = any(isinstance(part, ToolCall) for part in self.parts)
        return self.stop or (Stop.TOOL_USE if calls_tools else Stop.END)

    def _events(self, model: str) -> Iterator[Event]:
        yield Started(id="answer_test", model=model)
        for key, part in enumerate(self.parts):
            content = part.arguments if isinstance(part, ToolCall) else part.text
            yield Opened(key=key, part=_emptied(part))
            for piece in re.findall(r"\s*\S+\s*$|\s*\S+", content):
                yield Grown(key=key, text=piece)
            yield Closed(key=key)
        yield Finished(stop=self._stop, usage=self.usage)


def _emptied(part: Part) -> Part:
    """Give the beginning of a part."""
    if isinstance(part, ToolCall):
        return ToolCall(id=part.id, name=part.name)
    return type(part)()


def says(*parts: str | Part, usage: TokenUsage = USAGE, stop: Stop | None = None) -> Answer:
    """Answer with text, tool calls (`calls`) and thoughts (`thinks`). A stream comes word by word."""
    return Answer(
        parts=tuple(Text(text=part) if isinstance(part, str) else part for part in parts), usage=usage, stop=stop
    )


def calls(name: str, arguments: Mapping[str, Any] | str = "{}", *, id: str = "call_test") -> ToolCall:
    """Call a tool. The arguments may be a text, which may be no JSON."""
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return ToolCall(id=id, name=name, arguments=written)


def thinks(text: str) -> Thinking:
    """Show a thought."""
    return Thinking(text=text)


def fails(status: int, message: str = "The test's provider fails.", headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with an error, in the words of the format: `fails(429, headers={"retry-after": "2"})`."""
    return Answer(message=message, status=status, headers=headers or {})


def sends(
    content: Any, *more: Step, status: int = 200, content_type: str = "", headers: Mapping[str, str] | None = None
) -> Answer:
    """Answer with exactly this: a value as JSON, or bytes, and further bytes and pauses."""
    first = content if isinstance(content, bytes) else json.dumps(content).encode()
    kind = content_type or ("application/octet-stream" if isinstance(content, bytes) else "application/json")
    return Answer(raw=Written(status, {"content-type": kind}, [first, *more]), headers=headers or {})


def is_unreachable() -> Answer:
    """Do not answer: nobody is there, so that nothing was sent."""
    return Answer(raw=Written(error=ConnectFailed("The test's provider cannot be reached.")))


def is_silent() -> Answer:
    """Do not answer although the request was sent, as if the time for it was over. The test does not wait for that."""
    return Answer(raw=Written(error=UpstreamTimeout("The test's provider did not answer in time.")))
