"""A provider that speaks the caller's format: bytes pass.

Unchanged but for the name of the model where it was rewritten, for state of other providers that this caller was given
to carry (`protocols/carrier.py`): no provider must see it; and for the usage of streamed chat completions, which is
asked for in the name of callers that did not ask, and not shown to them. A provider that does not know `stream_options`
refuses such a call with 400; the operator then sets `stream_usage` of its capabilities to False, or
`USAGE_STREAM_OPTIONS` for all of them.

An answer is committed when its status is known to be good: for a stream, when its first event has been judged. A
provider that accepts a call with 200 and sends an error as the first event thus still becomes a real status.
"""

from __future__ import annotations

import asyncio

import msgspec

from ai_gateway.bodies import ask_usage, moved
from ai_gateway.calls import Call, Reply, UpstreamRequest, UpstreamResponse
from ai_gateway.consumption import UNUSED
from ai_gateway.errors import GatewayError, UpstreamClosed
from ai_gateway.hops.base import Attempt, Hop, check_status, passed_headers
from ai_gateway.listeners import listener_of
from ai_gateway.protocols import PROTOCOLS, with_model
from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.carrier import is_marked
from ai_gateway.protocols.jsontext import dumps, loads
from ai_gateway.protocols.provider_errors import error_code
from ai_gateway.relay import Plain, Stream
from ai_gateway.sse import first_event, whole_events

HELD_ANSWER = 64 * 1024
"""Bytes of an answer that are read to the end before the head goes out: a broken one is then a clean 502."""

ERROR_PATIENCE = 1.0
"""Seconds in which the rest of an error's body comes, or it is passed on piece by piece. Its provider has said what
matters, and the call may have to go on elsewhere."""

MAX_FIRST_EVENT = 1024 * 1024
"""Bytes in which a stream's first event must end to be judged. A longer one is taken to be good."""


class Native(Hop):
    """A call passed on as it is."""

    __slots__ = ("_is_unasked",)

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt)
        self._is_unasked = False

    def request(self) -> UpstreamRequest:
        """See Hop.request()."""
        attempt = self.attempt
        call, model = attempt.call, attempt.target.model
        if model is not None and model != call.model and call.model is not None:
            path = with_model(call.path, model)
            if path != call.path:
                call = msgspec.structs.replace(call, path=path, model=model)
        if (
            call.dialect.is_generation
            and isinstance(call.body, bytes)
            and is_marked(call.body, in_base64=call.dialect.name == "gemini")
        ):
            call = self._restored(call)
        if call.stream and call.dialect.name == "openai_chat" and isinstance(call.body, bytes):
            call = self._asking(call, call.body)
        return attempt.provider.build(call, attempt.caller, model)

    def _asking(self, call: Call, body: bytes) -> Call:
        """Ask for the usage of a stream, if the provider tells it only then and the caller did not."""
        capabilities = self.attempt.capabilities
        if not self.attempt.snapshot.asks_usage or not capabilities.stream_usage or capabilities.tells_usage:
            return call
        asking = ask_usage(body, call.reading)
        if asking is None:
            return call
        self._is_unasked = True
        return msgspec.structs.replace(call, body=asking, reading=moved(call.reading, body, asking))

    def _restored(self, call: Call) -> Call:
        """Take out of a body what this gateway gave its caller to carry, or put back what it stands for."""
        attempt = self.attempt
        destination = Destination(
            provider=attempt.provider.name,
            model=attempt.target.model or "",
            format=call.dialect.name,
            capabilities=attempt.capabilities,
        )
        assert isinstance(call.body, bytes)
        body = PROTOCOLS[call.dialect.name].restore(loads(call.body), attempt.snapshot.carrier, destination)
        return msgspec.structs.replace(call, body=dumps(body))

    async def judge(self, response: UpstreamResponse) -> Reply:
        """See Hop.judge()."""
        call, status = self.attempt.call, response.status
        check_status(self.attempt, response)
        if call.method == "HEAD" or status in (204, 304):
            return await self._without_body(response)
        fields = dict(response.headers)
        meter = self.attempt.meter
        if status < 300 and self.attempt.snapshot.is_measured:
            meter.listener = listener_of(call, fields, is_unasked=self._is_unasked)
        is_stream = fields.get(b"content-type", b"").lower().startswith(b"text/event-stream")
        if is_stream and status < 300 and b"content-encoding" not in fields:
            return await self._stream(response)
        length = fields.get(b"content-length")
        body, begun = response.take_rest(), b""
        if body is None and status >= 400:
            body, begun = await self._hold_error(response)
        elif body is None and length is not None and length.isdigit() and int(length) <= HELD_ANSWER:
            body = await self._hold(response)
        elif body is None:
            begun = await response.read() or b""
        if body is None:
            self._look_for_refusal(status, begun)
            plain = Plain(call, response, meter, ready=begun)
            return Reply(status=status, headers=passed_headers(self.attempt, response), body=plain)
        self._look_for_refusal(status, body)
        if meter.listener is not None:
            meter.listener.hear(body)
        elif status >= 400:
            meter.error_code = error_code(body)
        headers = passed_headers(self.attempt, response)
        if length is None:
            headers.append((b"content-length", b"%d" % len(body)))
        return Reply(status=status, headers=headers, body=body)

    def _look_for_refusal(self, status: int, body: bytes) -> None:
        """Note whether a good answer is none, if somebody else can be asked."""
        attempt = self.attempt
        if status < 300 and not attempt.is_last:
            attempt.is_refused = attempt.call.dialect.refuses_prompt(body)

    async def _hold(self, response: UpstreamResponse) -> bytes:
        """Read a short answer to its end before anything of it goes out."""
        parts = []
        while part := await response.read():
            parts.append(part)
        await response.aclose()
        return b"".join(parts)

    async def _hold_error(self, response: UpstreamResponse) -> tuple[bytes | None, bytes]:
        """Read an error to its end: what it says decides who is asked next, and what it takes up is free then. One that
        is long, slow or broken gives None, and what has come of it."""
        loop, length = asyncio.get_running_loop(), 0
        parts: list[bytes] = []
        ends_at = loop.time() + ERROR_PATIENCE
        try:
            while length <= HELD_ANSWER and (part := await response.read(max(0.0, ends_at - loop.time()))) is not None:
                if not part:
                    await response.aclose()
                    return b"".join(parts), b""
                parts.append(part)
                length += len(part)
        except GatewayError:
            pass  # Whoever reads on is told.
        return None, b"".join(parts)

    async def _without_body(self, response: UpstreamResponse) -> Reply:
        await response.aclose()
        self.attempt.meter.consumption = UNUSED
        headers = passed_headers(self.attempt, response)
        if response.status in (204, 304):
            headers = [header for header in headers if header[0] != b"content-length"]
        return Reply(status=response.status, headers=headers, body=b"")

    async def _stream(self, response: UpstreamResponse) -> Reply:
        """Wait for the first event and judge it. A silent upstream is committed to after one interval, to keep the
        connection to the caller alive."""
        call = self.attempt.call
        interval = self.attempt.snapshot.keep_alive_interval
        buffer = bytearray()
        event, looked_at = None, 0
        while event is None and len(buffer) < MAX_FIRST_EVENT:
            chunk = await response.read(interval)
            if chunk is None:
                break
            if not chunk:
                if not buffer:
                    raise UpstreamClosed("The provider's stream ended before it began.")
                break
            start = max(0, len(buffer) - 3)
            buffer += chunk
            end = whole_events(buffer, start)
            if end:
                event, looked_at = first_event(bytes(buffer[looked_at:end])), end
        if event is not None:
            status = call.dialect.read_error(*event)
            if status is not None:
                return await self._refused(response, status, event[1])
            self._look_for_refusal(response.status, event[1])
            if self.attempt.is_refused and self.attempt.meter.listener is not None:
                # Nobody will read the stream, but for want of anybody else.
                self.attempt.meter.listener.hear(bytes(buffer))
        end = whole_events(buffer)
        headers = [
            header
            for header in passed_headers(self.attempt, response)
            if header[0] not in (b"content-length", b"cache-control")
        ]
        headers += ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
        body = Stream(
            call, response, self.attempt.meter, ready=bytes(buffer[:end]), held=buffer[end:], interval=interval
        )
        return Reply(status=response.status, headers=headers, body=body)

    async def _refused(self, response: UpstreamResponse, status: int, data: bytes) -> Reply:
        """Give the error that came as a stream's first event as the answer that it should have been."""
        meter = self.attempt.meter
        data = self.attempt.call.dialect.error_body(data)
        meter.listener, meter.error_code = None, error_code(data)
        await response.aclose()
        dropped = (b"content-type", b"content-length", b"cache-control")
        headers = [header for header in passed_headers(self.attempt, response, status) if header[0] not in dropped]
        headers += ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(data)))
        return Reply(status=status, headers=headers, body=data)
