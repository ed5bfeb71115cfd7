"""An answer that was kept is given once more.

A stream is given again in the pieces in which it came, and as a rule without the pauses between them. At its own pace
it is for callers that show it to somebody, or test how they do. The wait for its first piece is not repeated. It is
never slower than it was: a piece is due at a time after the first, and not after the one before, so what a busy process
or a slow caller is late with is made up for. It takes no longer than it is allowed to, and is sped up evenly for that;
and no pause is longer than the gateway is silent on any other stream, so there are no signs of life in it.

It ends like any other stream: when its caller hangs up, and when an operator ends the call. A process that is about to
stop does not wait for what it has: the rest then comes at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import accumulate

from ai_gateway import health
from ai_gateway.calls import Headers, Interruptible, Reply, ReplyBody
from ai_gateway.errors import GatewayError
from ai_gateway.kept_answers import Kept
from ai_gateway.meter import Meter, Outcome

BREATH = 32
"""Pieces of a stream that are sent in a row, before the event loop may do something else."""

LOOK = 0.25
"""Seconds after which a pause looks whether the process is about to stop."""


def again(kept: Kept, meter: Meter, headers: Headers, *, seconds: float = 0.0, silence: float | None = None) -> Reply:
    """Give an answer once more, with these headers beside its own. A stream takes as long as it did, but no more than
    so many seconds; no pause in it is longer than `silence`, if that is not None."""
    head = [*kept.headers, *headers]
    if kept.is_stream:
        return Reply(status=200, headers=head, body=_stream(kept, meter, seconds, silence))
    body = b"".join(kept.chunks)
    meter.outcome = Outcome.CACHED
    return Reply(status=200, headers=[*head, (b"content-length", b"%d" % len(body))], body=body)


def _stream(kept: Kept, meter: Meter, seconds: float, silence: float | None) -> ReplyBody:
    if seconds <= 0 or not kept.pauses:
        return Replay(kept.chunks, meter)
    return PacedReplay(kept.chunks, due_times(kept.pauses, seconds, silence), meter)


def due_times(pauses: Sequence[int], seconds: float, silence: float | None) -> list[float]:
    """Tell when each piece of a stream but the first is due, in seconds after that, given the milliseconds between
    them: evenly sped up to take no more than so many seconds, without a pause that is longer than `silence`."""
    longest = float("inf") if silence is None else silence
    due = list(accumulate(min(pause / 1e3, longest) for pause in pauses))
    speed = max(1.0, due[-1] / seconds)
    return [each / speed for each in due]


class Replay(ReplyBody):
    """A stream once more."""

    __slots__ = ("_chunks", "_meter", "_sent", "is_broken")

    def __init__(self, chunks: Sequence[bytes], meter: Meter) -> None:
        self._chunks = chunks
        self._meter = meter
        self._sent = 0
        self.is_broken = False

    async def __anext__(self) -> bytes:
        if self._sent >= len(self._chunks):
            raise StopAsyncIteration
        if self._sent and not self._sent % BREATH:
            await asyncio.sleep(0)
        chunk = self._chunks[self._sent]
        self._sent += 1
        self._meter.bytes_out += len(chunk)
        if self._sent == len(self._chunks):
            self._meter.outcome = Outcome.CACHED
        return chunk

    async def aclose(self) -> None:
        """Give nothing more."""
        self._sent = len(self._chunks)


class PacedReplay(Replay, Interruptible):
    """A stream once more, at its pace. Made in the event loop that it is given in."""

    __slots__ = ("_began_at", "_due", "_interrupted", "_loop")

    def __init__(self, chunks: Sequence[bytes], due: Sequence[float], meter: Meter) -> None:
        """`due` are the seconds from the first piece to each of the others."""
        super().__init__(chunks, meter)
        self._due = due
        self._began_at = 0.0
        self._loop = asyncio.get_running_loop()
        self._interrupted: asyncio.Future[GatewayError] = self._loop.create_future()
        meter.response = self

    async def __anext__(self) -> bytes:
        if not self._sent:
            self._began_at = self._loop.time()
        elif self._sent < len(self._chunks):
            await self._pause(self._began_at + self._due[self._sent - 1])
            if self._interrupted.done():
                return self._broken(self._interrupted.result())
        return await super().__anext__()

    async def _pause(self, until: float) -> None:
        """Wait until the next piece is due, or nobody waits any more."""
        while (left := until - self._loop.time()) > 0 and not self._interrupted.done() and not health.is_draining():
            await asyncio.wait((self._interrupted,), timeout=min(left, LOOK))

    def _broken(self, error: GatewayError) -> bytes:
        """End the stream with an error."""
        meter = self._meter
        self._sent = len(self._chunks)
        meter.fail(error)
        event = meter.arrival.dialect.write_error_event(error, meter.arrival.request_id)
        meter.bytes_out += len(event)
        return event

    def interrupt(self, error: GatewayError) -> None:
        """See Interruptible.interrupt()."""
        if not self._interrupted.done():
            self._interrupted.set_result(error)
