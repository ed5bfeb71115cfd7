"""What if one fails? Try the targets in order until one answers, and commit to it.

A failure to connect means that nothing was sent, so the next target may be tried. Everything else that goes wrong is
answered as it is: the request may have been worked on, and paid for.

An answer is committed when its status is known to be good: for a stream, when its first event has been judged. A
provider that accepts a call with 200 and sends an error as the first event thus still becomes a real status.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import perf_counter

from ai_gateway import health
from ai_gateway.calls import Call, Caller, Headers, Reply, Target, UpstreamResponse
from ai_gateway.concurrency import limited
from ai_gateway.errors import (
    ConnectFailed,
    GatewayError,
    UpstreamClosed,
    UpstreamRedirect,
    UpstreamRefusedCredential,
)
from ai_gateway.keys import check_access
from ai_gateway.providers import Provider
from ai_gateway.registry import Snapshot
from ai_gateway.relay import Plain, Stream
from ai_gateway.sse import first_event, whole_events
from ai_gateway.transports import Transport

logger = logging.getLogger("ai_gateway")

HELD_ANSWER = 64 * 1024
"""Bytes of an answer that are read to the end before the head goes out: a broken one is then a clean 502."""

MAX_FIRST_EVENT = 1024 * 1024
"""Bytes in which a stream's first event must end to be judged. A longer one is taken to be good."""

NOT_RETURNED = frozenset(
    # Hop by hop, and what concerns the provider's host alone.
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    b"upgrade set-cookie set-cookie2 alt-svc strict-transport-security server via date location content-location "
    b"access-control-allow-origin access-control-allow-credentials access-control-expose-headers "
    b"access-control-allow-headers access-control-allow-methods access-control-max-age "
    # Written anew.
    b"x-request-id request-id server-timing x-accel-buffering".split()
)
"""Response headers that never reach a caller."""

REDIRECTS = frozenset((301, 302, 303, 307, 308))

HOPELESS = frozenset((400, 401, 402, 403, 404, 405, 406, 410, 411, 413, 414, 415, 422))
"""Statuses that a repetition of the same request cannot heal. Told to the SDKs, which else retry some for minutes."""


class Attempt:
    """One target's answer to a call."""

    __slots__ = ("call", "caller", "number", "provider", "sent_at", "snapshot", "target")

    def __init__(self, call: Call, caller: Caller, snapshot: Snapshot, target: Target, number: int) -> None:
        self.call = call
        self.caller = caller
        self.snapshot = snapshot
        self.target = target
        self.number = number
        self.provider: Provider = snapshot.providers[target.provider]
        self.sent_at = 0.0

    async def run(self, transport: Transport) -> Reply:
        """Ask the provider and judge the answer. Whatever it raises, nothing stays open."""
        provider = self.provider
        check_access(self.caller, provider)
        request = provider.build(self.call, self.caller, self.target.model)
        timeouts = provider.timeouts or self.snapshot.timeouts
        self.sent_at = perf_counter()
        send = provider.send or transport.send
        if provider.max_concurrency is not None:
            send = limited(provider, send)
        response = await send(request, timeouts)
        try:
            reply = await self._judge(response)
        except BaseException:
            await response.aclose()
            raise
        health.note(provider.name, reply.status)
        return reply

    async def _judge(self, response: UpstreamResponse) -> Reply:
        status = response.status
        if status in REDIRECTS:
            raise UpstreamRedirect("The provider answered with a redirect, which this gateway does not follow.")
        if status == 401 and self.caller.is_authenticated:
            raise UpstreamRefusedCredential(
                f"The provider {self.provider.name!r} refused this gateway's own credential. "
                "The operator has to renew it."
            )
        fields = dict(response.headers)
        if fields.get(b"content-type", b"").startswith(b"text/event-stream") and b"content-encoding" not in fields:
            return await self._stream(response)
        length = fields.get(b"content-length")
        if self.call.method == "HEAD" or status in (204, 304):
            return await self._without_body(response)
        body = response.take_rest()
        if body is None and length is not None and length.isdigit() and int(length) <= HELD_ANSWER:
            body = await self._hold(response)
        if body is None:
            body = await response.read() or b""
            plain = Plain(self.call, response, ready=body)
            return Reply(status=status, headers=self._headers(response), body=plain)
        headers = self._headers(response)
        if length is None:
            headers.append((b"content-length", b"%d" % len(body)))
        return Reply(status=status, headers=headers, body=body)

    async def _hold(self, response: UpstreamResponse) -> bytes:
        """Read a short answer to its end before anything of it goes out."""
        parts = []
        while part := await response.read():
            parts.append(part)
        await response.aclose()
        return b"".join(parts)

    async def _without_body(self, response: UpstreamResponse) -> Reply:
        await response.aclose()
        headers = self._headers(response)
        if response.status in (204, 304):
            headers = [header for header in headers if header[0] != b"content-length"]
        return Reply(status=response.status, headers=headers, body=b"")

    async def _stream(self, response: UpstreamResponse) -> Reply:
        """Wait for the first event and judge it. A silent upstream is committed to after one interval, to keep the
        connection to the caller alive."""
        interval = self.snapshot.keep_alive_interval
        buffer = b""
        event = None
        while event is None and len(buffer) < MAX_FIRST_EVENT:
            chunk = await response.read(interval)
            if chunk is None:
                break
            if not chunk:
                if not buffer:
                    raise UpstreamClosed("The provider's stream ended before it began.")
                break
            buffer += chunk
            end = whole_events(buffer)
            event = first_event(buffer[:end]) if end else None
        if event is not None:
            status = self.call.dialect.read_error(*event)
            if status is not None:
                return await self._refused(response, status, event[1])
        end = whole_events(buffer)
        headers = [
            header for header in self._headers(response) if header[0] not in (b"content-length", b"cache-control")
        ]
        headers += ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
        body = Stream(self.call, response, ready=buffer[:end] or b"", held=buffer[end:], interval=interval)
        return Reply(status=response.status, headers=headers, body=body)

    async def _refused(self, response: UpstreamResponse, status: int, data: bytes) -> Reply:
        """Give the error that came as a stream's first event as the answer that it should have been."""
        await response.aclose()
        dropped = (b"content-type", b"content-length", b"cache-control")
        headers = [header for header in self._headers(response, status) if header[0] not in dropped]
        headers += ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(data)))
        return Reply(status=status, headers=headers, body=data)

    def _headers(self, response: UpstreamResponse, status: int | None = None) -> Headers:
        """Select the upstream's headers that go back, and add the gateway's own."""
        call, now = self.call, perf_counter()
        headers: Headers = []
        tells_retry = False
        dropped = NOT_RETURNED
        for name, value in response.headers:
            if name in dropped:
                if name == b"connection" and value.lower() not in (b"keep-alive", b"close"):
                    dropped = dropped | {token.strip().lower() for token in value.split(b",")}
                elif name in (b"x-request-id", b"request-id"):
                    headers.append((b"x-upstream-request-id", value))
                continue
            tells_retry = tells_retry or name == b"x-should-retry"
            headers.append((name, value))
        if len(dropped) > len(NOT_RETURNED):
            headers = [header for header in headers if header[0] not in dropped]
        if (status or response.status) in HOPELESS and not tells_retry:
            headers.append((b"x-should-retry", b"false"))
        request_id = call.request_id.encode()
        model = self.target.model
        headers += (
            (b"x-request-id", request_id),
            (b"request-id", request_id),
            (b"x-gateway-provider", self.provider.name.encode()),
            (b"x-gateway-attempts", b"%d" % self.number),
            (
                b"server-timing",
                b"gateway;dur=%.1f, upstream;dur=%.1f"
                % ((self.sent_at - call.received_at) * 1e3, (now - self.sent_at) * 1e3),
            ),
        )
        if model is not None and model.isascii() and model.isprintable():
            headers.append((b"x-gateway-model", model.encode()[:256]))
        return headers


async def ask(call: Call, caller: Caller, targets: Sequence[Target], snapshot: Snapshot, transport: Transport) -> Reply:
    """Ask the targets in order. Raises the last one's GatewayError if none could be reached."""
    for number, target in enumerate(targets, start=1):
        try:
            return await Attempt(call, caller, snapshot, target, number).run(transport)
        except ConnectFailed as error:
            note_failure(call, target, error)
            # An upload's body may have begun to flow; it cannot be sent a second time.
            if number == len(targets) or not isinstance(call.body, bytes):
                raise
        except GatewayError as error:
            note_failure(call, target, error)
            raise
    raise AssertionError("routing gives at least one target")


def note_failure(call: Call, target: Target, error: GatewayError) -> None:
    """Put a failure of the provider's side into the log and the health record; a caller's mistake into neither."""
    if error.status < 500:
        return
    health.note(target.provider, error.status, error.code)
    logger.warning("%s: %s: %s %s", call.request_id, target.provider, error.message, error.detail or "")
