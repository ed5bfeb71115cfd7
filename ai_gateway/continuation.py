"""What if a stream dies in mid-text? On a route that allows it, the next target goes on with the text.

The caller's stream stays one stream (`protocols/splicing.py`): the new answer is asked for with the text so far as its
beginning (`hops/continuing.py`), and what it says follows what was said. Only a provider's failure is made up for: not
a text that it stopped itself, not a limit, not the gateway's own end. Both answers are paid for, so both are counted;
each is in the trail of the usage record, with what it used and the number of characters after which it died.

The rules are those of other attempts: their number, the budget of repetitions, the limits of the target.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

import msgspec

from ai_gateway import accounting, attempts, breakers, failures, health
from ai_gateway.calls import Headers, Reply, ReplyBody, Target
from ai_gateway.errors import GatewayError
from ai_gateway.failures import Failure, Phase
from ai_gateway.hops import Attempt, plan_rest
from ai_gateway.meter import Meter, Outcome
from ai_gateway.protocols.splicing import Splice
from ai_gateway.registry import Snapshot
from ai_gateway.retries import budget
from ai_gateway.translation import TranslatedStream
from ai_gateway.transports import Transport

logger = logging.getLogger("ai_gateway")

TOLD: Headers = [(b"x-gateway-continuation", b"on")]
"""The header of a stream that may be gone on with: what becomes of it is not known when it is sent."""

TAKE_COMMENTS = ("openai", "anthropic")
"""Families of formats whose clients skip comments, so that the seam can be marked by one."""


async def ask(meter: Meter, targets: Sequence[Target], snapshot: Snapshot, transport: Transport) -> Reply:
    """Ask the targets until one answers well, and give a stream of text that goes on with another one if it dies."""
    meter.continues_streams = True
    reply = await attempts.ask(meter, targets, snapshot, transport)
    stream = reply.body
    if not isinstance(stream, TranslatedStream) or not isinstance(stream.writer, Splice):
        return reply
    body = ContinuedStream(stream, stream.writer, Succession(meter, targets, snapshot, transport))
    return msgspec.structs.replace(reply, headers=[*reply.headers, *TOLD], body=body)


class Succession:
    """Who goes on with an answer whose provider died."""

    def __init__(self, meter: Meter, targets: Sequence[Target], snapshot: Snapshot, transport: Transport) -> None:
        self.meter = meter
        self.snapshot = snapshot
        self._targets = targets
        self._transport = transport
        self._rule = snapshot.rules[meter.route]
        self._asked: list[Target] = []
        """Those that died, or did not go on."""

    def is_open(self, failure: Failure) -> bool:
        """Whether somebody may go on after this failure: the provider's, while the caller is there, and so are we."""
        is_death = failure.is_fault and failure.phase in (Phase.REFUSED, Phase.AMBIGUOUS)
        return is_death and not self.meter.goes_on and not health.is_draining()

    def following(self, died: Target) -> list[Target]:
        """List those that can go on, best first; the one that died only if there is no other and rounds allow it."""
        self._asked.append(died)
        others = [target for target in breakers.ordered(self._targets) if target not in self._asked]
        if not others and self._asked.count(died) < self.snapshot.retries.rounds:
            others = [died]
        if self.meter.caller.credential is not None:
            others = [target for target in others if target.provider == died.provider]
        return [target for target in others if self._can_go_on(target)]

    def _can_go_on(self, target: Target) -> bool:
        if self._rule.asks_to_continue:
            return True
        provider = self.snapshot.providers[target.provider]
        return bool(self.snapshot.capabilities.of(provider.name, provider.row, target.model or "").prefill)

    def may_ask(self) -> bool:
        """Whether one attempt more may be made."""
        policy = self.snapshot.retries
        return self.meter.attempts < policy.attempts and budget.allows(policy)

    async def go_on(self, targets: Sequence[Target], splice: Splice) -> Reply | None:
        """Ask these targets for the rest until one gives it. None: nobody does."""
        for target in targets:
            if not self.may_ask() or not attempts.has_time(self.meter, target, self.snapshot):
                return None
            budget.repetitions += 1
            try:
                result = await self._try(target, splice, is_last=target is targets[-1])
            finally:
                budget.repetitions -= 1
            if result.failure is None:
                return result.reply
            await attempts.leave(self.meter, result, self.snapshot)
            self._asked.append(target)
            if result.failure.phase is Phase.AMBIGUOUS and not self.snapshot.retries.ambiguous:
                return None
        return None

    async def _try(self, target: Target, splice: Splice, *, is_last: bool) -> attempts.Result:
        planned = partial(plan_rest, splice=splice)
        number = self.meter.attempts + 1
        return await attempts.try_target(
            self.meter, target, number, self.snapshot, self._transport, planned, is_last=is_last
        )


class ContinuedStream(ReplyBody):
    """A reply's body: a stream that goes on with another answer when its own dies."""

    __slots__ = ("_died", "_error", "_meter", "_splice", "_stream", "_succession", "_switch", "is_broken")

    def __init__(self, stream: TranslatedStream, splice: Splice, succession: Succession) -> None:
        self._stream: ReplyBody = stream
        self._splice = splice
        self._succession = succession
        self._meter = succession.meter
        self._switch: asyncio.Task[Reply | None] | None = None
        self._error: GatewayError | None = None
        self._died: Target | None = None
        self.is_broken = False

    async def __anext__(self) -> bytes:
        while True:
            switch = self._switch
            written = await (self._passing() if switch is None else self._switching(switch))
            if written:
                return written

    async def _passing(self) -> bytes:
        try:
            written = await self._stream.__anext__()
        except StopAsyncIteration:
            if self._splice.error is None:
                raise
            written = b""
        error = self._splice.error
        if error is None or self._begin_switch(error):
            return written
        return written + self._given_up(error)

    def _begin_switch(self, error: GatewayError) -> bool:
        """Begin to look for somebody who goes on. False: nobody does."""
        meter, succession = self._meter, self._succession
        died, failure = meter.target, failures.of_error(error)
        if died is None or not succession.is_open(failure) or not succession.may_ask():
            return False
        following = succession.following(died)
        if not following:
            return False
        self._note(error, failure, died)
        self._error, self._died = error, died
        self._switch = meter.work = asyncio.create_task(self._after(self._stream, following))
        return True

    def _note(self, error: GatewayError, failure: Failure, died: Target) -> None:
        """Take the answer that died into account, and its provider's failure."""
        meter, splice, snapshot = self._meter, self._splice, self._succession.snapshot
        assert meter.call is not None
        attempt = Attempt(meter.call, meter, snapshot, died, meter.attempts)
        what = f"the stream died after {splice.length} characters: {error.message} {error.detail or ''}"
        attempts.note_failure(attempt, failure, what)
        meter.fail_attempt(failure.status, error.code, meter.sent_at or meter.call.received_at)
        splice.join(accounting.close_piece(meter, snapshot, splice.length))

    async def _after(self, died: ReplyBody, following: Sequence[Target]) -> Reply | None:
        await died.aclose()
        return await self._succession.go_on(following, self._splice)

    async def _switching(self, switch: asyncio.Task[Reply | None]) -> bytes:
        """Wait for who goes on, with a sign of life now and then."""
        done, _ = await asyncio.wait((switch,), timeout=self._succession.snapshot.keep_alive_interval)
        if not done:
            return self._splice.keep_alive()
        self._switch = None
        if switch.cancelled() and self._meter.ended_by is not None:
            return self._given_up(self._meter.ended_by)
        reply = switch.result()
        if reply is None:
            assert self._error is not None
            self._meter.target = self._died
            self._stream = Rest(b"", self._meter)
            return self._given_up(self._error)
        self._stream = reply.body if isinstance(reply.body, ReplyBody) else Rest(reply.body, self._meter)
        return self._seam()

    def _seam(self) -> bytes:
        """Tell where the stream goes on, where that is harmless."""
        meter = self._meter
        if meter.target is None or meter.arrival.dialect.family not in TAKE_COMMENTS:
            return b""
        name = f"{meter.target.provider}/{meter.target.model}".encode("ascii", "backslashreplace").decode()
        return f": gateway-continued {name if name.isprintable() else meter.target.provider}\n\n".encode()

    def _given_up(self, error: GatewayError) -> bytes:
        """Nobody goes on: end the stream with the error that it died of."""
        meter = self._meter
        meter.fail(error)
        written = self._splice.give_up(error, meter.arrival.request_id)
        meter.bytes_out += len(written)
        return written

    async def aclose(self) -> None:
        """Close whoever answers, and stop looking for somebody who goes on."""
        switch, self._switch = self._switch, None
        if switch is not None:
            switch.cancel()
            await asyncio.wait((switch,))
            reply = None if switch.cancelled() or switch.exception() is not None else switch.result()
            if reply is not None:
                await reply.aclose()
        await self._stream.aclose()


class Rest(ReplyBody):
    """The rest of a stream that came in one piece."""

    __slots__ = ("_meter", "_written", "is_broken")

    def __init__(self, written: bytes, meter: Meter) -> None:
        self._written = written
        self._meter = meter
        self.is_broken = False

    async def __anext__(self) -> bytes:
        written, self._written = self._written, b""
        if not written:
            raise StopAsyncIteration
        self._meter.bytes_out += len(written)
        self._meter.outcome = Outcome.ANSWERED
        return written

    async def aclose(self) -> None:
        """There is nothing to close."""
