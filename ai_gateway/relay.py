"""An upstream's answer on its way to the caller, its bytes unchanged.

A stream of events is passed on event by event: a part of an event waits until the rest has come. No client can use a
part, and so the stream stands at the end of an event whenever something of the gateway's own must be put in: a sign of
life while the upstream is silent, or an error when it dies.

A stream ends well only if the upstream proved it (`Dialect.terminal`). An upstream that dies, stalls or ends without
that becomes an error event of the caller's dialect: never a silent end, never an invented proof. One that dies or
stalls behind its last event has said all: the stream ends there, and well.
"""

from __future__ import annotations

import logging
from time import perf_counter

from ai_gateway.calls import Call, ReplyBody, UpstreamResponse
from ai_gateway.errors import GatewayError, UpstreamClosed
from ai_gateway.meter import Meter, Outcome
from ai_gateway.protocols.provider_errors import error_code
from ai_gateway.sse import payloads, read_events, whole_events

logger = logging.getLogger("ai_gateway")

MAX_HELD = 1024 * 1024
"""Bytes of an unfinished event that are held back. A longer event is passed on in parts."""

PATIENCE_AT_END = 0.5
"""Seconds to wait, after the last event, for the end of the upstream's body."""

KEPT_BACK = 3
"""Bytes of such a part that wait for the next: a blank line may begin with them. So something is held until the event
ends."""

MARKER_BYTES = 32
"""How far back a terminal marker can begin that ends in the next chunk: none is longer."""

LINE_FEED = ord("\n")


class Stream(ReplyBody):
    """A stream of events."""

    __slots__ = (
        "_call",
        "_done",
        "_has_begun",
        "_has_ended",
        "_held",
        "_interval",
        "_is_inside",
        "_is_last",
        "_is_over",
        "_is_proven",
        "_last",
        "_meter",
        "_ready",
        "_response",
        "_tail",
        "_terminal",
        "is_broken",
    )

    def __init__(
        self,
        call: Call,
        response: UpstreamResponse,
        meter: Meter,
        *,
        ready: bytes,
        held: bytes | bytearray,
        interval: float | None,
    ) -> None:
        """`ready` are the whole events that were read already, `held` the part of one behind them."""
        self._call = call
        self._meter = meter
        self._response = response
        self._interval = interval
        self._ready = ready
        self._held = bytearray(held)
        self._tail = b""
        self._has_begun = False
        self._has_ended = False
        self._is_inside = False
        self.is_broken = False
        self._terminal = call.dialect.terminal
        self._done = call.dialect.done
        self._last = call.dialect.last
        self._is_last = False
        self._is_proven = not self._terminal
        self._is_over = self._is_proven

    async def __anext__(self) -> bytes:
        if self._ready:
            ready, self._ready = self._ready, b""
            passed = self._passed(ready)
            if passed:
                return passed
        if self._has_ended:
            raise StopAsyncIteration
        while True:
            try:
                chunk = await self._response.read(PATIENCE_AT_END if self._is_last else self._interval)
            except GatewayError as error:
                if self._is_last:
                    return self._finished()
                return self._broken(error)
            if chunk is None:
                if self._is_last:
                    return self._finished()
                if self._is_inside:
                    continue  # There is no place for a sign of life.
                return self._call.dialect.keep_alive if self._has_begun else self._call.dialect.first_sign
            if not chunk:
                return self._finished()
            events = chunk if not self._held and chunk.endswith(b"\n\n") else self._complete(chunk)
            if events:
                passed = self._passed(events)
                if passed:
                    return passed

    def _complete(self, chunk: bytes) -> bytes:
        """Give what is whole of what is held and this chunk, and hold the rest."""
        held = self._held
        start = max(0, len(held) - 3)
        held += chunk
        end = whole_events(held, start)
        if end:
            self._is_inside = False
        elif len(held) > MAX_HELD:
            end = len(held) - KEPT_BACK
            self._is_inside = True
        events = bytes(held[:end])
        del held[:end]
        return events

    def _passed(self, events: bytes) -> bytes:
        """Let events pass; give what the caller gets of them, which may be nothing."""
        self._has_begun = True
        meter = self._meter
        if not self._is_over:
            window = self._tail + events if self._tail else events
            if not self._is_proven:
                for marker in self._terminal:
                    # `rfind` takes half the time that `in` does for a few hundred bytes.
                    if window.rfind(marker) >= 0 and self._is_proof(marker, window):
                        self._is_proven = True
                        break
            if self._is_proven and not self._is_over and self._done in window and self._is_said(window):
                self._is_over = True
                meter.outcome = Outcome.ANSWERED
            elif events[-1] != LINE_FEED:
                # No marker has the end of a line in it: it is cut only if an event is.
                self._tail = window[-MARKER_BYTES:]
            elif self._tail:
                self._tail = b""
        if self._is_over and self._last and not self._is_last:
            self._is_last = events.endswith(self._last)
        listener = meter.listener
        if listener is not None:
            events = listener.hear(events)
        if meter.first_token_at is None and (listener is None or listener.has_content):
            meter.first_token_at = perf_counter()
        meter.bytes_out += len(events)
        return events

    def _is_proof(self, marker: bytes, events: bytes) -> bool:
        """Whether a marker among events is what it looks like. A text may speak of errors and ends."""
        if b"error" in marker or b"failed" in marker:
            return self._has_error(events)
        return marker != self._done or self._is_said(events)

    def _is_said(self, events: bytes) -> bool:
        """Whether one of these events says that it is the last, and nothing else. True where none has to."""
        # A burst comes as one: to read a hundred events whole would take as long as all else that is done for them.
        return not self._done or any(data.strip() == self._done for data in payloads(events))

    def _has_error(self, events: bytes) -> bool:
        """Whether there is an error of the provider's own among events. It is noted, and the last that it says."""
        for name, data in read_events(events):
            if self._call.dialect.read_error(name, data) is not None:
                self._meter.outcome, self._meter.error_code = Outcome.FAILED, error_code(data)
                self._is_over = self._is_last = True
        return self._is_over

    def _finished(self) -> bytes:
        """The upstream's body is over. What is held is an event whose blank line the upstream left out."""
        self._has_ended = True
        rest = self._passed(bytes(self._held)) if self._held else b""
        if not self._is_proven:
            return self._broken(UpstreamClosed("The provider's stream ended before the answer was complete."))
        if self._meter.outcome is None:
            self._meter.outcome = Outcome.ANSWERED
        if not rest:
            raise StopAsyncIteration
        return rest

    def _broken(self, error: GatewayError) -> bytes:
        self._has_ended = True
        self._meter.fail(error)
        logger.warning("%s: stream broken: %s %s", self._call.request_id, error.message, error.detail or "")
        event = self._call.dialect.write_error_event(error, self._call.request_id)
        return b"\n\n" + event if self._is_inside else event

    async def aclose(self) -> None:
        """Close the upstream's answer. A caller may leave once the answer is proven to be whole: it has it."""
        self._has_ended = True
        if self._is_proven and self._terminal and self._meter.outcome is None:
            self._meter.outcome = Outcome.ANSWERED
        await self._response.aclose()


class Plain(ReplyBody):
    """Any other body that is too long, or too slow, to be held: files, audio, images, long JSON."""

    __slots__ = ("_call", "_meter", "_ready", "_response", "is_broken")

    def __init__(self, call: Call, response: UpstreamResponse, meter: Meter, *, ready: bytes) -> None:
        self._call = call
        self._meter = meter
        self._response = response
        self._ready = ready
        self.is_broken = False

    async def __anext__(self) -> bytes:
        if self._ready:
            ready, self._ready = self._ready, b""
            return self._passed(ready)
        try:
            chunk = await self._response.read()
        except GatewayError as error:
            logger.warning("%s: answer broken: %s %s", self._call.request_id, error.message, error.detail or "")
            self._meter.fail(error)
            self.is_broken = True
            raise StopAsyncIteration from None
        if not chunk:
            self._meter.outcome = Outcome.ANSWERED if self._meter.status < 400 else Outcome.FAILED
            raise StopAsyncIteration
        return self._passed(chunk)

    def _passed(self, chunk: bytes) -> bytes:
        if self._meter.listener is not None:
            chunk = self._meter.listener.hear(chunk)
        self._meter.bytes_out += len(chunk)
        return chunk

    async def aclose(self) -> None:
        """Close the upstream's answer."""
        await self._response.aclose()
