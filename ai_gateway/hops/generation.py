"""A provider that speaks another format than the caller: the request, the answer and its errors are translated.

The caller's format is read into the neutral vocabulary and the provider's is written from it, each time from the body
that the caller sent. What could not be said and did not matter is listed in `x-gateway-dropped-params`; what would have
changed the answer was refused before anything was sent.

A streamed answer is committed to when the first event with content has come: an error before it becomes a real status.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ai_gateway import health
from ai_gateway.calls import Call, Headers, Reply, UpstreamRequest, UpstreamResponse
from ai_gateway.consumption import UNUSED
from ai_gateway.errors import GatewayError, InvalidBody, Kind, ProviderError, UpstreamProtocolError
from ai_gateway.hops.base import (
    Attempt,
    Translating,
    check_status,
    own_headers,
    read_whole,
    refused_credential,
    translated_headers,
)
from ai_gateway.listeners import MeaningListener
from ai_gateway.protocols import DIALECTS, PROTOCOLS
from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.conversation import Answer, Request, Stop, TokenUsage
from ai_gateway.protocols.emulation import undo
from ai_gateway.protocols.events import Failed, Finished, Started
from ai_gateway.protocols.jsontext import dumps, loads
from ai_gateway.protocols.protocol import Head, Outgoing, StreamWriter
from ai_gateway.protocols.splicing import Splice, is_possible
from ai_gateway.protocols.tool_ids import made_id
from ai_gateway.protocols.transcript import Collector, replay
from ai_gateway.protocols.writing import write_request
from ai_gateway.translation import TranslatedStream, Translation

MAX_ANSWER = 128 * 1024 * 1024
"""Bytes of an answer that is read whole to be translated. Images in base64 make some long."""

MAX_ERROR = 1024 * 1024
"""Bytes of an error answer that are read."""

NOT_FORWARDED = (b"anthropic-", b"openai-", b"x-stainless-", b"x-goog-", b"x-amz", b"x-api-", b"amz-sdk-")
"""How the request headers begin that belong to the caller's format and mean nothing, or something else, in another."""

NOT_FORWARDED_NAMES = (b"content-type", b"content-encoding", b"accept", b"x-app")

MAX_DROPPED = 1024
"""Bytes of the header that lists what was dropped: a caller may make up any number of members."""


class Generation(Translating):
    """A call for text, translated to the provider's format `format`."""

    def __init__(self, attempt: Attempt, format: str) -> None:
        call = attempt.call
        if not isinstance(call.body, bytes) or call.model is None or attempt.target.model is None:
            raise InvalidBody("The request names no model. Send a JSON object with the member model.", param="model")
        super().__init__(attempt, call.body)
        self._ours = PROTOCOLS[call.dialect.name]
        self._theirs = PROTOCOLS[format]
        self._head = Head(model=call.model, stream=call.stream, query=call.query, fields=call.fields)
        self._carrier = attempt.snapshot.carrier.bound(attempt.provider.name, attempt.target.model)
        self._destination = Destination(
            provider=attempt.provider.name,
            model=attempt.target.model,
            format=format,
            capabilities=attempt.capabilities,
        )
        self._listener = MeaningListener(call, attempt.target.model)

    def local(self) -> Reply | None:
        """Answer a request for no output at all, as Anthropic's callers warm the cache with: only Anthropic can."""
        if self._request.max_output_tokens != 0:
            return None
        call = self.attempt.call
        self.attempt.meter.consumption = UNUSED
        answer = Answer(
            id=made_id("", call.request_id),
            model=self._destination.model,
            parts=[],
            stop=Stop.MAX_TOKENS,
            usage=TokenUsage(),
        )
        return self._whole(answer, [(b"content-type", b"application/json"), *own_headers(self.attempt)])

    def request(self) -> UpstreamRequest:
        """See Hop.request()."""
        attempt, call = self.attempt, self.attempt.call
        self.write()
        path, query = self._theirs.target(self._destination.model, self._request.stream)
        headers = translated_request_headers(call, self._outgoing.headers)
        translated = msgspec.structs.replace(
            call,
            method="POST",
            path=path,
            query=query,
            headers=headers,
            fields=dict(headers),
            body=self._written,
            dialect=DIALECTS[self._theirs.name],
            model=self._destination.model,
        )
        return attempt.provider.build(translated, attempt.caller, self._destination.model)

    def _read(self) -> Request:
        return self._ours.read_request(read_object(self._body), self._head, self._carrier)

    def _write(self) -> Outgoing:
        return write_request(self._theirs, self._request, self._destination)

    def _writer(self) -> StreamWriter:
        """Make what writes a stream to the caller."""
        writer = self._ours.stream_writer(self._request, self._carrier, self._head)
        if not self.attempt.meter.continues_streams or not is_possible(self._request):
            return writer
        emulation = self._outgoing.emulation
        # Behind a stop sequence that is found here, the caller's answer is over, whatever becomes of the provider's.
        return writer if emulation is not None and emulation.stop else Splice(writer)

    async def judge(self, response: UpstreamResponse) -> Reply:
        """See Hop.judge(). Raises the provider's error, to be written in the caller's format."""
        check_status(self.attempt, response)
        if not 200 <= response.status < 300:
            await self._refuse(response)
        self.attempt.meter.listener = self._listener
        if is_json(response) or not self._request.stream:
            return await self._plain(response)
        return await self._stream(response)

    async def _refuse(self, response: UpstreamResponse) -> None:
        fields = dict(response.headers)
        body = await read_whole(response, MAX_ERROR)
        raise told_error(self.attempt, self._theirs.read_error(response.status, fields, body))

    # A whole answer.

    async def _plain(self, response: UpstreamResponse) -> Reply:
        body = await read_whole(response, MAX_ANSWER)
        try:
            is_list = is_stream(response, body)
            answer = self._read_stream(body) if is_list else self._theirs.read_answer(read_answer(body))
        except ProviderError:
            self.attempt.meter.listener = None  # It used nothing: an error with a good status.
            raise
        self._listener.take_answer(answer)
        self.attempt.is_refused = not self.attempt.is_last and answer.stop is Stop.FILTERED and not answer.parts
        if self._outgoing.emulation is not None:
            answer = undo(answer, self._outgoing.emulation)
        if not answer.model:  # Bedrock's answers do not name it.
            answer = msgspec.structs.replace(answer, model=self._destination.model)
        return self._whole(answer, translated_headers(self.attempt, response, b"application/json"))

    def _read_stream(self, body: bytes) -> Answer:
        """Read a stream that came although none was asked for, or that is a list of JSON objects."""
        splitter, reader, collector = self._theirs.splitter(), self._theirs.stream_reader(), Collector()
        for name, data in (*splitter.feed(body), *splitter.flush()):
            collector.add(reader.read(name, data))
        collector.add(reader.end())
        return collector.answer()

    def _whole(self, answer: Answer, headers: Headers) -> Reply:
        """Write an answer that is there to its end: as JSON, or as the stream that the caller asked for."""
        if self._request.stream:
            writer = self._writer()
            body = b"".join(writer.write(event) for event in replay(answer))
            headers = [(b"content-type", self._ours.stream_type(self._head)), *headers[1:]]
        else:
            body = dumps(self._ours.write_answer(answer, self._request, self._carrier))
        headers += self._notes()
        headers.append((b"content-length", b"%d" % len(body)))
        return Reply(status=200, headers=headers, body=body)

    # A stream.

    async def _stream(self, response: UpstreamResponse) -> Reply:
        translation = Translation(
            splitter=self._theirs.splitter(),
            reader=self._theirs.stream_reader(),
            writer=self._writer(),
            emulation=self._outgoing.emulation,
            model=self._destination.model,
            listener=self._listener,
        )
        headers = translated_headers(self.attempt, response, self._ours.stream_type(self._head))
        return await stream_reply(self.attempt, response, translation, [*headers, *self._notes()])

    def _notes(self) -> Headers:
        return dropped_header(self._outgoing.dropped)


async def stream_reply(
    attempt: Attempt, response: UpstreamResponse, translation: Translation, headers: Headers
) -> Reply:
    """Wait for the first event with content, or one interval, and commit to the stream. Raises an error that comes
    before it."""
    interval = attempt.snapshot.keep_alive_interval
    ready = b""
    while not translation.is_over:
        chunk = await response.read(interval)
        if chunk is None:
            break
        events = translation.read(chunk)
        content = next((event for event in events if not isinstance(event, Started)), None)
        if isinstance(content, Failed):
            attempt.meter.listener = None
            raise content.error
        attempt.is_refused = not attempt.is_last and isinstance(content, Finished) and content.stop is Stop.FILTERED
        ready += translation.write(events, attempt.call.request_id)
        if content is not None:
            break
    headers = [header for header in headers if header[0] not in (b"cache-control", b"content-length")]
    headers += ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
    body = TranslatedStream(attempt.call, response, translation, attempt.meter, ready=ready, interval=interval)
    return Reply(status=200, headers=headers, body=body)


def told_error(attempt: Attempt, error: ProviderError) -> GatewayError:
    """Give the error that the caller is told of a provider's: that the gateway's own credential was refused is not the
    caller's fault, whatever status it had."""
    if error.kind is Kind.AUTHENTICATION and attempt.caller.is_authenticated:
        return refused_credential(attempt)
    if error.status < 500:
        health.note(attempt.provider.name, error.status)
    return error


def dropped_header(dropped: Sequence[str]) -> Headers:
    """Tell the caller what was left out, in the words that it used itself."""
    names = [name for name in dropped if name.isascii() and name.isprintable() and "," not in name]
    value = ",".join(dict.fromkeys(names)).encode()
    if len(value) > MAX_DROPPED:
        value = value[:MAX_DROPPED].rpartition(b",")[0]
    return [(b"x-gateway-dropped-params", value)] if value else []


def read_object(body: bytes) -> dict[str, Any]:
    """Decode a request body. Raises InvalidBody if it is no JSON object."""
    try:
        value = loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidBody(f"The body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidBody("The body is not a JSON object.")
    return value


def read_answer(body: bytes) -> dict[str, Any]:
    """Decode an answer. Raises UpstreamProtocolError if it is no JSON object."""
    try:
        value = loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UpstreamProtocolError("The provider's answer is not the JSON object that it should be.")
    return value


def is_json(response: UpstreamResponse) -> bool:
    """Whether an answer says that it is JSON, as some do that should be a stream."""
    return b"json" in dict(response.headers).get(b"content-type", b"").partition(b";")[0]


def is_stream(response: UpstreamResponse, body: bytes) -> bool:
    """Whether an answer is a stream after all: by its type, or because it is a list of answers."""
    content_type = dict(response.headers).get(b"content-type", b"")
    return b"event-stream" in content_type or b"eventstream" in content_type or body[:64].lstrip().startswith(b"[")


def translated_request_headers(call: Call, added: Sequence[tuple[bytes, bytes]] = ()) -> Headers:
    """Select the caller's headers that mean something beside a body of another format."""
    headers = [
        header
        for header in call.headers
        if header[0] not in NOT_FORWARDED_NAMES and not header[0].startswith(NOT_FORWARDED)
    ]
    return [*headers, (b"content-type", b"application/json"), *added]
