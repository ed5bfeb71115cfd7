"""The life of one call, top to bottom. The only module that knows the order of things, and nothing but the order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary

from django.utils.module_loading import import_string

from ai_gateway import (
    access,
    accounting,
    attempts,
    continuation,
    experiments,
    fallbacks,
    finishing,
    health,
    intake,
    keys,
    limits,
    listing,
    live,
    mirrors,
    overload,
    peers,
    recording,
    refresher,
    registry,
    response_cache,
    routing,
    server_timing,
    statement,
    suitability,
)
from ai_gateway.bulkheads import Waiter
from ai_gateway.calls import Arrival, Call, Caller, Reply, Target
from ai_gateway.conf import settings
from ai_gateway.configuration import RouteRule
from ai_gateway.errors import ClientDisconnected, Draining, GatewayError, InternalError, Overloaded
from ai_gateway.guarding import Guarding
from ai_gateway.meter import Meter
from ai_gateway.overload import Entrant
from ai_gateway.refusals import refuse_call, refuse_request, status_of
from ai_gateway.registry import Snapshot
from ai_gateway.transports import Transport

logger = logging.getLogger("ai_gateway")

DEFAULT_TRANSPORT = "ai_gateway.transports.pooled.PooledTransport"

_transports: WeakKeyDictionary[asyncio.AbstractEventLoop, Transport] = WeakKeyDictionary()


async def handle(
    arrival: Arrival,
    transport: Transport,
    caller: Caller | None = None,
    entrant: Entrant | None = None,
    loop: asyncio.AbstractEventLoop | None = None,
) -> Reply:
    """Answer a request, asking upstreams through this transport. Whoever gets the reply must close it.

    `caller` is who calls, if that is known: to the site's own pages, and where the request was admitted before; else
    the request's credentials tell. `entrant` needs a place among the calls under way, and its door gives the place
    back; the site's own pages need none. `loop` is the running event loop, if the door knows it. Every failure comes
    back as a reply in the caller's dialect; only ClientDisconnected and cancellation are raised.
    """
    try:
        check_open()
        snapshot = registry.snapshot() if refresher.is_settled() else await begin()
        intake.check_head(arrival)
        # Before the body is read: a stranger's upload is not even received.
        caller = caller or await keys.identify(arrival, snapshot)
        queued = 0.0
        if entrant is not None and not entrant.has_place:
            queued = await enter(entrant, arrival, caller, snapshot)
    except GatewayError as error:
        return refuse_request(error, arrival)
    except ClientDisconnected:
        raise
    except Exception:
        return refuse_request(failure(arrival), arrival)
    meter = Meter(arrival, caller, queued)
    live.begin(meter, loop)
    return await _measured(meter, snapshot, transport)


async def begin() -> Snapshot:
    """Start what runs beside the calls, and give the first snapshot. Where no server starts the gateway, its first call
    does."""
    peers.start()
    return await refresher.begin()


async def enter(entrant: Entrant, arrival: Arrival, caller: Caller, snapshot: Snapshot) -> float:
    """Take a place among the calls under way, or wait for one; give the seconds. Raises what _wait_for_place raises."""
    entrant.has_place = overload.calls.enter(snapshot.max_calls)
    return 0.0 if entrant.has_place else await _wait_for_place(entrant, arrival, caller, snapshot)


async def _wait_for_place(entrant: Entrant, arrival: Arrival, caller: Caller, snapshot: Snapshot) -> float:
    """Wait until a call may begin; give the seconds. Raises Overloaded, or Draining if the process is to stop.

    A call that waits in vain is written down. One that finds the queue full is not: it costs next to nothing, and a
    flood of calls must not become one of records.
    """
    queue = snapshot.queue
    waiter = overload.calls.line_up(overload.party_of(caller, arrival.client), snapshot.max_calls, queue.size)
    if waiter is None:
        raise too_many_calls()
    meter, began_at = Meter(arrival, caller, is_queued=True), perf_counter()
    live.begin(meter)
    try:
        with entrant.waiting(arrival.fields):
            entrant.has_place = await _its_turn(meter, waiter, queue.seconds)
        if not entrant.has_place:
            raise stopping() if health.has_stopped() else too_many_calls()
    except GatewayError as error:
        meter.fail(error)
        meter.status = status_of(error, arrival.dialect)
        raise
    finally:
        meter.queued = perf_counter() - began_at
        if entrant.has_place:
            live.end(meter)
        else:
            accounting.finish(meter, snapshot)
    return meter.queued


async def _its_turn(meter: Meter, waiter: Waiter, seconds: float) -> bool:
    """Wait for a call's turn, and tell whether it came. Raises Cancelled if an operator ends the call meanwhile."""
    try:
        return await overload.calls.wait(waiter, seconds)
    except asyncio.CancelledError:
        error = live.ended_by(meter)
        if error is None:
            raise
        raise error from None


async def _measured(meter: Meter, snapshot: Snapshot, transport: Transport) -> Reply:
    """Serve a known caller's call, and take it into account, whatever ends it."""
    try:
        reply = await _serve(meter, snapshot, transport)
    except GatewayError as error:
        meter.fail(error)
        reply = refuse_call(error, meter)
    except ClientDisconnected:
        _leave(meter, snapshot)
        raise
    except asyncio.CancelledError:
        ended = live.ended_by(meter)
        if ended is None:
            _leave(meter, snapshot)
            raise
        meter.fail(ended)
        reply = refuse_call(ended, meter)
    except Exception:
        failed = failure(meter.arrival)
        meter.fail(failed)
        reply = refuse_call(failed, meter)
    if not snapshot.is_measured:
        meter.end_attempt()
        meter.status = reply.status
        return live.followed(reply, meter)
    if snapshot.recording is not None and recording.is_wanted(meter, snapshot):
        return recording.record(await accounting.account(reply, meter, snapshot), meter, snapshot.recording)
    return await accounting.account(reply, meter, snapshot)


def _leave(meter: Meter, snapshot: Snapshot) -> None:
    """Take a call into account whose caller has left before it was answered."""
    try:
        if snapshot.recording is not None and recording.is_wanted(meter, snapshot):
            recording.keep(meter, snapshot.recording)
    finally:
        accounting.finish(meter, snapshot)


async def _serve(meter: Meter, snapshot: Snapshot, transport: Transport) -> Reply:
    arrival, caller = meter.arrival, meter.caller
    access.check_arrival(arrival, caller)
    call = meter.call = await intake.read_call(arrival, snapshot)
    if statement.is_asked(call):
        meter.is_closed = True  # To ask what was used is no use.
        return _timed(await statement.answer(call, caller, snapshot), meter)
    if listing.is_asked(call):
        meter.is_closed = True  # Nobody is asked for anything that costs, and clients ask for the list all the time.
        return _timed(await listing.answer(call, caller, snapshot, transport), meter)
    meter.route = routing.route_of(call, snapshot) or ""
    targets = access.permitted(call, caller, routing.resolve(call, snapshot), snapshot)
    rule = snapshot.rules.get(meter.route)
    guarding = None
    if snapshot.guards.everywhere or caller.guardrails or (rule is not None and rule.guardrails):
        guarding = Guarding(meter, snapshot, transport)
        call = await guarding.check_request(call)
    if rule is not None or fallbacks.are_named(call):
        targets = open_to(meter, call, targets, snapshot)
    if snapshot.cache is not None and response_cache.is_for(meter, snapshot):
        ask = partial(_ask, meter, targets, rule, snapshot, transport)
        reply = await response_cache.answer(meter, call, targets, snapshot, ask)
    else:
        reply = await _ask(meter, targets, rule, snapshot, transport)
    return reply if guarding is None else await guarding.guarded(reply)


def _ask(
    meter: Meter, targets: Sequence[Target], rule: RouteRule | None, snapshot: Snapshot, transport: Transport
) -> Coroutine[Any, Any, Reply]:
    """Ask the providers. What is raised before anybody is waited for is raised at once."""
    if rule is None:
        targets = able(meter, targets, snapshot) if len(targets) > 1 else targets
        return attempts.ask(meter, targets, snapshot, transport)
    targets = drawn_for(meter, targets, snapshot)
    mirrors.send(meter, snapshot, transport)
    if rule.continues_streams:
        return continuation.ask(meter, targets, snapshot, transport)
    return attempts.ask(meter, targets, snapshot, transport)


def _timed(reply: Reply, meter: Meter) -> Reply:
    """Tell in an answer of the gateway's own where its time went."""
    reply.headers.append(server_timing.header(meter.arrival.received_at, queued=meter.queued))
    return reply


def chosen(meter: Meter, call: Call, targets: Sequence[Target], snapshot: Snapshot) -> Sequence[Target]:
    """Leave out the targets that are not for such a call, and add those that it names itself or is drawn for."""
    return drawn_for(meter, open_to(meter, call, targets, snapshot), snapshot)


def drawn_for(meter: Meter, targets: Sequence[Target], snapshot: Snapshot) -> Sequence[Target]:
    """Add the target that a call is drawn for, and leave out those whose models lack what it needs."""
    return able(meter, experiments.take_part(meter, targets, snapshot), snapshot)


def open_to(meter: Meter, call: Call, targets: Sequence[Target], snapshot: Snapshot) -> Sequence[Target]:
    """Leave out the targets whose conditions do not hold, and add those that a call names itself. Raises
    NoSuitableTarget."""
    there = suitability.meeting(meter.route, targets, meter.facts, snapshot)
    _note_left_out(meter, targets, there, snapshot)
    if not fallbacks.are_named(call):
        return there
    meter.call, names = fallbacks.taken_from(call, meter.caller, there, meter.route, snapshot)
    return fallbacks.targets_of(names, meter.call, meter.caller, there, snapshot)


def able(meter: Meter, targets: Sequence[Target], snapshot: Snapshot) -> Sequence[Target]:
    """Leave out the targets whose models lack what a call needs."""
    left = suitability.able(targets, meter.facts, snapshot)
    _note_left_out(meter, targets, left, snapshot)
    return left


def _note_left_out(meter: Meter, targets: Sequence[Target], left: Sequence[Target], snapshot: Snapshot) -> None:
    """Write into the trail why targets were left out, if any were."""
    if len(left) < len(targets):
        for target in targets:
            if target not in left:
                meter.leave_out(target, *suitability.why_not(meter.route, target, meter.facts, snapshot))


def failure(arrival: Arrival) -> InternalError:
    """Log the exception under way, and make the error that the caller is told."""
    logger.exception("%s: the gateway failed", arrival.request_id)
    return InternalError("The gateway failed. Its log has the details, under this request's id.")


async def admit(arrival: Arrival, entrant: Entrant) -> Caller:
    """Tell who calls, by the head of a request whose body is received before `handle` sees it. It has its place then.
    Raises the GatewayError for which the head alone condemns it, so that its body need not be received."""
    snapshot = registry.snapshot() if refresher.is_settled() else await begin()
    intake.check_head(arrival)
    caller = await keys.identify(arrival, snapshot)
    access.check_arrival(arrival, caller)
    intake.limits(arrival, snapshot)
    check_open()
    if arrival.method != "OPTIONS":  # The middleware answers what browsers ask before a call.
        await enter(entrant, arrival, caller, snapshot)
    return caller


def transport_of(loop: asyncio.AbstractEventLoop) -> Transport:
    """Give the transport of the running event loop, made when it is first asked for.

    The loop is passed because asking for it costs a system call on Python 3.11, and the doors know it.
    """
    found = _transports.get(loop)
    if found is None:
        found = _transports[loop] = new_transport()
    return found


def transports() -> list[Transport]:
    """List the transports of all event loops."""
    # References are listed in one step: threads with loops of their own come and go meanwhile.
    loops = [loop for reference in _transports.keyrefs() if (loop := reference()) is not None]
    return [transport for loop in loops if (transport := _transports.get(loop)) is not None]


def new_transport() -> Transport:
    """Make a transport. Whoever asks for one closes it."""
    return _make_transport()


def configured_transport() -> Transport:
    """Make a transport as the settings say."""
    entry = settings.TRANSPORT
    backend = import_string(entry.get("BACKEND", DEFAULT_TRANSPORT))
    transport: Transport = backend(**entry.get("OPTIONS", {}))
    return transport


_make_transport: Callable[[], Transport] = configured_transport


@contextmanager
def asking_through(make: Callable[[], Transport]) -> Iterator[None]:
    """Have all providers asked through other transports as long as a block lasts, whatever the settings say. For tests,
    which must not reach anybody."""
    global _make_transport, _transports
    before = _make_transport, _transports
    _make_transport, _transports = make, WeakKeyDictionary()
    try:
        yield
    finally:
        _make_transport, _transports = before


def end_calls(loop: asyncio.AbstractEventLoop) -> None:
    """End every call of an event loop that still waits for a place or a provider, or streams from one."""
    overload.calls.dismiss()
    transport_of(loop).interrupt(stopping())
    live.interrupt(loop, stopping())  # Those of providers that have a way of their own.


def check_open() -> None:
    """Raise Draining if no calls are taken any more. Those that still come while the ones under way finish are."""
    if health.has_stopped():
        raise stopping()


def too_many_calls() -> Overloaded:
    """Make the error of a call that there is no place for."""
    return Overloaded("This gateway has as many calls under way as it takes. Try again shortly.", retry_after=1)


def stopping() -> Draining:
    """Make the error of a call that had no time to finish."""
    return Draining("This gateway process is stopping. Send the request again.", retry_after=1)


async def close_transport(loop: asyncio.AbstractEventLoop) -> None:
    """Close the running event loop's connections, after what still uses them."""
    await finishing.end(loop)
    found = _transports.pop(loop, None)
    if found is not None:
        await found.aclose()


async def close(loop: asyncio.AbstractEventLoop) -> None:
    """Close the running event loop's connections, and those of the limits."""
    await close_transport(loop)
    await limits.store().aclose()
