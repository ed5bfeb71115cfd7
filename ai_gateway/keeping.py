"""An answer is copied while it passes, and kept when it has ended well.

Nothing is delayed by it. A copy that grows too long is let go of; an answer that breaks, or whose caller leaves before
it is whole, is not kept, and whoever waits for it asks anew (`flights.py`).
"""

from __future__ import annotations

import logging
from time import perf_counter

import msgspec

from ai_gateway import accounting, cache_store, kept_answers
from ai_gateway.cache_store import Found
from ai_gateway.calls import BodyAround, Headers, Reply, ReplyBody
from ai_gateway.flights import Ending, Flight
from ai_gateway.kept_answers import LONGEST_PAUSE, Kept, is_worth_keeping, kept_headers
from ai_gateway.meter import Meter, Outcome
from ai_gateway.registry import Snapshot

logger = logging.getLogger("ai_gateway")


class Keeper:
    """Keeps the answer to one call, under a name, for so many seconds. `found` is what there was before it was asked
    for."""

    def __init__(
        self, meter: Meter, snapshot: Snapshot, name: str, found: Found, ttl: int, flight: Flight | None
    ) -> None:
        assert snapshot.cache is not None
        self._meter = meter
        self._snapshot = snapshot
        self._policy = snapshot.cache
        self._name = name
        self._found = found
        self._ttl = ttl
        self.flight = flight

    @property
    def room(self) -> int:
        """How many bytes an answer may have."""
        return self._policy.max_bytes

    def take(self, reply: Reply) -> Reply:
        """Keep an answer: a whole one now, one that is sent while it is made when it ends."""
        if reply.status != 200 or any(name == b"content-encoding" for name, _ in reply.headers):
            self.land(Ending.LOST if reply.status >= 400 else Ending.NOT_SHARED)
            return reply
        if isinstance(reply.body, ReplyBody):
            return msgspec.structs.replace(reply, body=Copied(reply.body, reply.headers, self._meter, self))
        self.keep(reply.headers, [reply.body])
        return reply

    def keep(self, headers: Headers, chunks: list[bytes], pauses: list[int] | None = None) -> None:
        """Keep an answer that ended well, if it is worth it, and give it to whoever waits for it. `pauses` are those
        of a stream, in milliseconds, between its pieces."""
        kept = None
        try:
            kept = self._made(headers, chunks, pauses)
            if kept is not None and self._ttl > 0:
                cache_store.store().keep(self._name, kept, self._found.epoch)
        except Exception:
            # A bug here must not take an answer from its caller.
            logger.exception("%s: the answer could not be kept", self._meter.arrival.request_id)
        self.land(kept or Ending.NOT_SHARED)

    def land(self, result: Kept | Ending) -> None:
        """Tell whoever waits for the answer."""
        if self.flight is not None:
            self.flight.land(result)

    def _made(self, headers: Headers, chunks: list[bytes], pauses: list[int] | None) -> Kept | None:
        is_stream = pauses is not None
        meter, call, target = self._meter, self._meter.call, self._meter.target
        assert call is not None
        body = b"".join(chunks)
        if target is None or not 0 < len(body) <= self.room:
            return None
        if not is_worth_keeping(call, body, is_stream=is_stream, tools=self._policy.tools):
            return None
        meter.consumption = accounting.consumption_of(meter)
        at = kept_answers.now()
        return Kept(
            tokens=self._found.tokens,
            at=at,
            until=at + self._ttl,
            headers=kept_headers(headers),
            chunks=chunks if is_stream else [body],
            is_stream=is_stream,
            provider=target.provider,
            model=target.model or "",
            cost_nanos=accounting.whole_cost(meter, self._snapshot),
            pauses=pauses if pauses and any(pauses) else [],
        )


class Pace:
    """Notes at which pace a stream comes: for how many milliseconds each of its pieces but the first was waited for.
    The time that its caller takes is the caller's own, and does not count."""

    __slots__ = ("_noted", "_waited", "pauses")

    def __init__(self) -> None:
        self.pauses: list[int] = []
        self._waited = 0.0
        self._noted: int | None = None

    def wait(self, seconds: float) -> None:
        """Note that something was waited for."""
        self._waited += seconds

    def note(self) -> None:
        """Note that a piece came."""
        if self._noted is None:
            self._waited, self._noted = 0.0, 0
            return
        waited = int(self._waited * 1e3)  # Of all together, or what is left out of each would add up.
        self.pauses.append(min(waited - self._noted, LONGEST_PAUSE))
        self._noted = waited


class Copied(BodyAround):
    """A reply's body of which a copy is made while it passes."""

    __slots__ = ("_chunks", "_headers", "_is_over", "_keeper", "_meter", "_pace", "_size")

    def __init__(self, body: ReplyBody, headers: Headers, meter: Meter, keeper: Keeper) -> None:
        super().__init__(body)
        self._headers = kept_headers(headers)
        self._meter = meter
        self._keeper = keeper
        self._chunks: list[bytes] = []
        self._pace = Pace()
        self._size = 0
        self._is_over = False

    async def __anext__(self) -> bytes:
        flight = self._keeper.flight
        if flight is not None:
            flight.given_at = None
        began = perf_counter()
        try:
            chunk = await self._body.__anext__()
        except StopAsyncIteration:
            self._end()
            raise
        ended = perf_counter()
        if not self._is_over:
            self._pace.wait(ended - began)
            self._add(chunk)
        if flight is not None:
            flight.given_at = ended
        return chunk

    def _add(self, chunk: bytes) -> None:
        call = self._meter.call
        assert call is not None
        if chunk in (call.dialect.keep_alive, call.dialect.first_sign):
            return  # A sign of life: its silence is a part of the pause before the next piece.
        self._chunks.append(chunk)
        self._pace.note()
        self._size += len(chunk)
        if self._size > self._keeper.room:
            self._is_over = True
            self._chunks, self._pace = [], Pace()
            self._keeper.land(Ending.NOT_SHARED)

    def _end(self) -> None:
        """Keep the copy if it is whole, else let it go."""
        if self._is_over:
            return
        self._is_over = True
        chunks, self._chunks = self._chunks, []
        call = self._meter.call
        if self._meter.outcome is Outcome.ANSWERED and not self._body.is_broken:
            is_stream = call is not None and call.stream
            self._keeper.keep(self._headers, chunks, self._pace.pauses if is_stream else None)
        else:
            self._keeper.land(Ending.LOST)

    async def aclose(self) -> None:
        """Close the body. A caller may leave as soon as it has read what proves that the answer is whole."""
        self._end()
        await self._body.aclose()
