"""What if one fails? Try the targets until one answers.

How far the call had come decides (`failures.py`): one that was not sent, or that the provider itself says it did not
do, goes to the next target at once; one that was sent and never answered does so only if the operator allows it
(`RETRIES`), or to the same target once more if that knows it by a key (`idempotency.py`). A reply is committed to when
its status is known to be good, of a stream when its first event is (`hops/`); after that nothing is tried again.
Targets that are not well are asked last (`breakers.py`), and nobody when the call's time is over (`deadlines.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter

import msgspec

from ai_gateway import (
    accounting,
    admission,
    beside,
    breakers,
    cooldowns,
    deadlines,
    failures,
    health,
    idempotency,
    suitability,
    traces,
)
from ai_gateway.calls import Reply, Target, UpstreamRequest
from ai_gateway.concurrency import Send, limited
from ai_gateway.consumption import UNUSED
from ai_gateway.cooldowns import LIMITED, REFUSED
from ai_gateway.errors import GatewayError
from ai_gateway.failures import Failure, Phase
from ai_gateway.finishing import despite_its_caller
from ai_gateway.hops import Attempt, Hop, plan
from ai_gateway.keys import check_access
from ai_gateway.meter import Meter
from ai_gateway.registry import Snapshot
from ai_gateway.retries import budget
from ai_gateway.transports import Transport

logger = logging.getLogger("ai_gateway")


Plan = Callable[[Attempt], Hop]
"""What chooses the way in which a call reaches a provider."""


async def ask(
    meter: Meter, targets: Sequence[Target], snapshot: Snapshot, transport: Transport, planned: Plan = plan
) -> Reply:
    """Ask the targets until one answers well. Gives the last answer, or raises the last GatewayError, if none does."""
    order = breakers.ordered(targets)
    if order[0] is not targets[0]:
        for target in targets[: targets.index(order[0])]:
            meter.leave_out(target, "breaker", f"its breaker is {breakers.state_of(target)}")
    if meter.caller.credential is not None:
        # A caller's own credential is for one provider, and no other gets to see it.
        order = [target for target in order if target.provider == order[0].provider]
    # An upload is sent once, so that its first target is its last.
    is_last = len(order) == 1 or (meter.call is not None and not isinstance(meter.call.body, bytes))
    budget.calls += 1
    try:
        result = await try_target(meter, order[0], 1, snapshot, transport, planned, is_last=is_last)
        if result.failure is not None:
            result = await Pursuit(meter, order, snapshot, transport, planned).after(result)
    finally:
        budget.calls -= 1
    if result.error is not None:
        raise result.error
    assert result.reply is not None
    return result.reply


class Result(msgspec.Struct, frozen=True):
    """What came of an attempt: an answer or an error, and how it failed if it did."""

    reply: Reply | None
    error: GatewayError | None
    failure: Failure | None


async def try_target(
    meter: Meter,
    target: Target,
    number: int,
    snapshot: Snapshot,
    transport: Transport,
    planned: Plan = plan,
    *,
    is_last: bool = False,
) -> Result:
    """Ask one target, and note how it did. `is_last` if there is no other to be asked after it."""
    assert meter.call is not None
    meter.begin_attempt(target)
    began_at = perf_counter()
    attempt = Attempt(meter.call, meter, snapshot, target, number)
    attempt.is_last = is_last
    if traces.sampler is not None and meter.trace is not None:
        attempt.call = traces.carried(attempt.call, meter.trace, traces.span_id(meter.id, len(meter.trail) + 1))
    attempt.is_probe = breakers.begin(target)
    try:
        reply = await run(attempt, transport, planned)
    except GatewayError as error:
        failure = failures.of_error(error)
        if failure.phase is Phase.NOT_SENT:
            meter.sent_at = None
        note_failure(attempt, failure, f"{error.message} {error.detail or ''}")
        meter.fail_attempt(failure.status, error.code, began_at)
        return Result(None, error, failure)
    except BaseException:
        if attempt.is_probe:
            breakers.end_probe(target)  # The caller left: that says nothing of the target.
        raise
    refused = failures.PROMPT_REFUSED if attempt.is_refused else failures.of_reply(reply)
    if refused is None:
        breakers.note(target, snapshot.breakers, is_good=True)
        return Result(reply, None, None)
    note_failure(attempt, refused, f"status {refused.status}")
    meter.fail_attempt(refused.status, refused.code, began_at)
    return Result(reply, None, refused)


def note_failure(attempt: Attempt, failure: Failure, what: str) -> None:
    """Put a failure of the provider's side into the log, the health record and, if the credential was not the caller's
    own, the breaker; a caller's mistake into none of them."""
    target = attempt.target
    if failure.is_of_credential and attempt.credential is not None:
        seconds = (failure.retry_after or LIMITED) if failure.status == 429 else REFUSED
        cooldowns.rest(target.provider, attempt.credential, seconds)
        logger.warning("The credential %r of %s rests: status %s", attempt.credential, target.provider, failure.status)
    if failure.is_fault:
        health.note(target.provider, failure.status, failure.code or "error")
        logger.warning("%s: %s: %s", attempt.call.request_id, target.provider, what)
    is_out_of_reach = failure.phase is Phase.NOT_SENT
    # What fails with a caller's own credential may fail by it, or on purpose. That nobody is there, everybody learns.
    if failure.is_fault and (is_out_of_reach or attempt.caller.credential is None):
        breakers.note(target, attempt.snapshot.breakers, is_good=False, is_out_of_reach=is_out_of_reach)
    elif attempt.is_probe:
        breakers.end_probe(target)
    is_for_all = attempt.credential is None and attempt.caller.credential is None
    if failure.retry_after and failure.status in RESTING and failure.phase is Phase.REFUSED and is_for_all:
        breakers.rest(target, failure.retry_after, attempt.snapshot.breakers)


RESTING = frozenset((429, 503, 529))
"""Statuses whose `retry-after` is meant for everybody, if the credential is everybody's, and if the provider said it:
limits of the gateway's own look the same."""


async def run(attempt: Attempt, transport: Transport, planned: Plan = plan) -> Reply:
    """Ask one target and judge its answer. Whatever it raises, nothing stays open."""
    provider, meter = attempt.provider, attempt.meter
    check_access(attempt.caller, provider)
    hop = planned(attempt)
    length = hop.to_translate
    if length >= beside.LONG:
        await beside.done(length, hop.read)
    local = hop.local()
    if local is not None:
        return local
    if admission.is_needed(attempt.snapshot):
        await admission.admit(meter, attempt.target, attempt.snapshot)
    if length >= beside.LONG:
        await beside.done(length, hop.write)
    request = hop.request()
    if provider.idempotency_header:
        idempotency.mark(request, provider, meter.id, attempt.target)
    if attempt.deadline is not None:
        deadlines.check(attempt.deadline)
    meter.attempts += 1
    attempt.credential = provider.credential_in(request)
    send = provider.send or transport.send
    if provider.max_concurrency is not None:
        send = await limited(provider, send, meter, may_wait=attempt.is_last)
    meter.sent_at = perf_counter()
    exchange = _exchange(attempt, hop, send, request)
    if attempt.deadline is not None:
        exchange = deadlines.kept(exchange, attempt.deadline)
    if not provider.finish_within or attempt.call.dialect.is_session:
        return await exchange
    meter.goes_on = True
    work = meter.work = asyncio.ensure_future(exchange)
    when_over = partial(accounting.finish_alone, meter, attempt.snapshot)
    try:
        reply = await despite_its_caller(work, provider.finish_within, when_over)
    except BaseException as error:
        if isinstance(error, Exception) or work.cancelled():
            meter.goes_on = False  # It failed, or somebody ended it, and its caller is still there.
        raise
    meter.finish_within, meter.goes_on = provider.finish_within, False
    return reply


async def _exchange(attempt: Attempt, hop: Hop, send: Send, request: UpstreamRequest) -> Reply:
    """Send a request, and judge the answer."""
    provider, meter = attempt.provider, attempt.meter
    timeouts, deadline = attempt.timeouts, attempt.deadline
    response = await send(request, timeouts if deadline is None else deadlines.cut(timeouts, deadline))
    meter.first_byte_at = perf_counter()
    meter.response = response
    if timeouts.stream or deadline is not None:
        response = deadlines.bounded(response, deadline, timeouts.stream)
    try:
        reply = await hop.judge(response)
    except BaseException:
        await response.aclose()
        raise
    health.note(provider.name, reply.status)
    return reply


async def leave(meter: Meter, result: Result, snapshot: Snapshot, *, is_repeated: bool = False) -> None:
    """Let go of a failed attempt. What it will be charged for is counted, unless the same provider is to do the same
    work, which it knows by its key (`is_repeated`)."""
    if result.reply is not None:
        await result.reply.aclose()
    if result.failure is not None and not is_repeated and _is_charged_for(meter, result.failure):
        accounting.close_piece(meter, snapshot, 0)
    else:
        meter.consumption = meter.listener = None
        meter.sent_at = meter.first_byte_at = None
        if meter.hold is not None:
            meter.hold.leave_target()
    meter.response = None
    meter.finish_within, meter.error_code = 0.0, ""


def _is_charged_for(meter: Meter, failure: Failure) -> bool:
    """Whether a failed attempt used something: it is an answer all the same, or nobody knows that it is none."""
    if failure.is_paid or failure.phase is not Phase.AMBIGUOUS:
        return failure.is_paid
    used = accounting.consumption_of(meter)
    return used is not None and used is not UNUSED


def has_time(meter: Meter, target: Target, snapshot: Snapshot, wait: float = 0.0) -> bool:
    """Whether a call lasts long enough to ask a target after so many seconds."""
    assert meter.call is not None
    return deadlines.allows(deadlines.of(meter.call, snapshot.timeouts.of_target(meter.route, target)), wait)


class Pursuit:
    """A call's way from target to target, after the first has failed."""

    def __init__(
        self, meter: Meter, order: Sequence[Target], snapshot: Snapshot, transport: Transport, planned: Plan
    ) -> None:
        self._meter = meter
        self._snapshot = snapshot
        self._transport = transport
        self._planned = planned
        self._policy = snapshot.retries
        self._first, self._waiting = order[0], list(order[1:])
        self._again: list[Target] = []
        self._repeated: set[Target] = set()
        self._number = 1
        self._rounds = 1

    async def after(self, result: Result) -> Result:
        """Go on after a failure until somebody answers well, or nobody is left. Gives what came last."""
        target = self._first
        while result.failure is not None:
            failed, following = target, self._following(target, result.failure)
            if following is None or not self._has_time(*following) or not budget.allows(self._policy):
                return self._last(result)
            budget.repetitions += 1
            try:
                if result.reply is not None:
                    # Before the wait: it holds a place at its provider, and its caller may leave meanwhile.
                    await result.reply.aclose()
                target, wait = following
                if wait:
                    await asyncio.sleep(wait)
                is_repeated = target == failed and self._knows_repetitions(target)
                await leave(self._meter, result, self._snapshot, is_repeated=is_repeated)
                result = await self._try(target)
            finally:
                budget.repetitions -= 1
        return result

    def _last(self, result: Result) -> Result:
        """Give a failure that is the end of it. If others are counted as pieces of the answer, so is this one."""
        is_unanswered = result.failure is not None and result.failure.phase is Phase.AMBIGUOUS
        if self._meter.pieces and is_unanswered:
            accounting.close_piece(self._meter, self._snapshot, 0)
        return self._told(result)

    async def _try(self, target: Target) -> Result:
        self._number += 1
        return await try_target(
            self._meter,
            target,
            self._number,
            self._snapshot,
            self._transport,
            self._planned,
            is_last=not self._waiting,
        )

    def _following(self, target: Target, failure: Failure) -> tuple[Target, float] | None:
        """Choose who is asked next, and after how many seconds. None: nobody."""
        # An upload's body may have begun to flow; it cannot be sent a second time.
        is_given = self._meter.call is not None and isinstance(self._meter.call.body, bytes)
        if not is_given or self._number >= self._policy.attempts:
            return None
        if failure.phase is Phase.AMBIGUOUS and self._is_done_once(target):
            self._repeated.add(target)
            return self._later(target, failure)
        if not self._policy.is_worth_it(failure):
            return None
        if failure.is_of_credential and self._has_another_credential(target):
            return target, 0.0
        if self._policy.is_repeatable(failure) and not breakers.is_open(target):  # Who is not well is not waited for.
            self._again.append(target)
        if failure.code == "context_length_exceeded":
            self._waiting = suitability.roomier(self._waiting, target, self._snapshot)
        if self._waiting:
            return self._waiting.pop(0), 0.0
        if not self._again or self._rounds >= self._policy.rounds:
            return None
        following = self._later(self._again[0], failure)
        self._rounds += 1
        self._waiting, self._again = self._again[1:], []
        return following

    def _later(self, target: Target, failure: Failure) -> tuple[Target, float] | None:
        """Have a target asked again after a wait. None: that would be too long."""
        wait = self._policy.wait(failure, self._rounds)
        return None if wait is None else (target, wait)

    def _has_time(self, target: Target, wait: float = 0.0) -> bool:
        return has_time(self._meter, target, self._snapshot, wait)

    def _is_done_once(self, target: Target) -> bool:
        """Whether a target may be sent the same once more because it knows it by its key."""
        return self._knows_repetitions(target) and target not in self._repeated

    def _knows_repetitions(self, target: Target) -> bool:
        return idempotency.is_kept(self._snapshot.providers[target.provider])

    def _has_another_credential(self, target: Target) -> bool:
        """Whether a target's provider has a credential that does not rest. The one that failed does."""
        provider = self._snapshot.providers[target.provider]
        is_stored = self._meter.caller.is_authenticated and len(provider.credentials) > 1
        return is_stored and any(not cooldowns.is_resting(provider.name, each.name) for each in provider.credentials)

    def _told(self, result: Result) -> Result:
        """Tell the caller's SDK not to try again what was tried more than once already."""
        if self._number > 1:
            if result.error is not None:
                result.error.retryable = False
            if result.reply is not None and not any(name == b"x-should-retry" for name, _ in result.reply.headers):
                result.reply.headers.append((b"x-should-retry", b"false"))
        return result
