"""The life of one realtime session, top to bottom: what `gateway.py` is for calls.

A session is opened as a call is made: the same keys, limits, routes and targets, and fallback until a provider has
accepted it. Only then the caller's websocket is accepted, so that every refusal is an HTTP answer with a status.
"""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

from ai_gateway import (
    access,
    accounting,
    attempts,
    deadlines,
    gateway,
    guarding,
    intake,
    keys,
    live,
    loops,
    refresher,
    registry,
    routing,
)
from ai_gateway.calls import Arrival, Call, Headers, Reply, subprotocols_in
from ai_gateway.errors import BadRequest, ClientDisconnected, GatewayError, PermissionDenied
from ai_gateway.hops import Upgrade
from ai_gateway.hops.upgrade import Accepted
from ai_gateway.meter import Meter
from ai_gateway.origins import check_origin
from ai_gateway.protocols.realtime import KEY_SUBPROTOCOL, SUBPROTOCOL
from ai_gateway.refusals import refuse_call, refuse_request
from ai_gateway.registry import Snapshot
from ai_gateway.sessions import Session
from ai_gateway.sockets import CallerSocket
from ai_gateway.transports import Transport


async def serve(arrival: Arrival, caller: CallerSocket, transport: Transport, loop: asyncio.AbstractEventLoop) -> None:
    """Serve a websocket from its handshake to its end."""
    await caller.begin()
    try:
        snapshot, meter = await _admitted(arrival, caller)
    except (asyncio.CancelledError, Exception) as error:
        failure = _failure_of(error, arrival, caller)
        if failure is not None:
            await caller.refuse(refuse_request(failure, arrival))
        return
    live.begin(meter, loop)
    try:
        reply = await _opened(meter, caller, snapshot, transport)
        if reply is not None and isinstance(reply.body, Accepted):
            await _held(reply, reply.body, meter, caller, snapshot)
        elif reply is not None:
            await caller.refuse(await _accounted(reply, meter, snapshot))
    except ClientDisconnected:
        return
    finally:
        meter.end_attempt()
        if snapshot.is_measured:
            accounting.finish(meter, snapshot)
        live.end(meter)


async def _admitted(arrival: Arrival, caller: CallerSocket) -> tuple[Snapshot, Meter]:
    """Find out who calls, and give the session a place among the calls under way."""
    gateway.check_open()
    snapshot = registry.snapshot() if refresher.is_settled() else await gateway.begin()
    intake.check_head(arrival)
    check_origin(arrival)
    holder = await keys.identify(arrival, snapshot)
    queued = await gateway.enter(caller, arrival, holder, snapshot)
    return snapshot, Meter(arrival, holder, queued)


async def _opened(meter: Meter, caller: CallerSocket, snapshot: Snapshot, transport: Transport) -> Reply | None:
    """Have a provider accept the session, or give the refusal. None: the caller has left."""
    arrival = meter.arrival
    try:
        return await _open(meter, snapshot, transport)
    except (asyncio.CancelledError, Exception) as error:
        failure = live.ended_by(meter) or _failure_of(error, arrival, caller)
    if failure is None:
        return None
    meter.fail(failure)
    return refuse_call(failure, meter)


def _failure_of(error: BaseException, arrival: Arrival, caller: CallerSocket) -> GatewayError | None:
    """Tell what a caller is told whose session could not be opened. None: the caller has left. A cancellation is the
    door's doing, and taken back; one that is not is raised again."""
    if isinstance(error, GatewayError):
        return error
    if not isinstance(error, asyncio.CancelledError):
        return gateway.failure(arrival)
    if caller.ended_by is None and not caller.is_gone:
        raise error
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
    return None if caller.is_gone else caller.ended_by


async def _open(meter: Meter, snapshot: Snapshot, transport: Transport) -> Reply:
    arrival, holder = meter.arrival, meter.caller
    access.check_arrival(arrival, holder)
    call = meter.call = read_call(arrival)
    if is_sideband(call) and holder.is_authenticated and not snapshot.allows_client_secrets:
        raise PermissionDenied("This gateway has no part in calls that were not opened through it (call_id).")
    meter.route = routing.route_of(call, snapshot) or ""
    targets = access.permitted(call, holder, routing.resolve(call, snapshot), snapshot)
    guarding.check_session(meter, snapshot)
    targets = gateway.chosen(meter, call, targets, snapshot)
    return await attempts.ask(meter, targets, snapshot, transport.sockets(), Upgrade)


async def _held(reply: Reply, opened: Accepted, meter: Meter, caller: CallerSocket, snapshot: Snapshot) -> None:
    """Accept the caller's websocket, and hold the session until it ends."""
    assert meter.call is not None
    try:
        meter.status = reply.status
        accounting.tell_limits(reply, meter)
        subprotocol = chosen_subprotocol(subprotocols_in(meter.call.fields), opened.socket.subprotocol)
        await caller.accept(subprotocol, reply.headers)
        await Session(caller, opened, meter, snapshot).run()
    finally:
        await reply.aclose()


async def _accounted(reply: Reply, meter: Meter, snapshot: Snapshot) -> Reply:
    """Take a refusal into account."""
    if snapshot.is_measured:
        return await accounting.account(reply, meter, snapshot)
    meter.status = reply.status
    return reply


def read_call(arrival: Arrival) -> Call:
    """Make the call of a handshake: its query says which model is asked for. Raises BadRequest and LoopDetected."""
    given = dict.fromkeys(value for name, value in _query(arrival.query) if name == "model")
    if len(given) > 1:
        raise BadRequest("The query names more than one model.", param="model")
    call = Call(
        method="GET",
        path=arrival.path,
        query=arrival.query,
        headers=arrival.headers,
        fields=arrival.fields,
        body=b"",
        dialect=arrival.dialect,
        request_id=arrival.request_id,
        received_at=arrival.received_at,
        model=next(iter(given), None) or None,
        stream=True,
        deadline=deadlines.asked_for(arrival.fields, arrival.received_at),
        hops=loops.hops_of(arrival.fields),
    )
    if call.model is None and not (is_sideband(call) or ("intent", "transcription") in _query(call.query)):
        raise BadRequest("The query names no model. Connect to /v1/realtime?model=...", param="model")
    return call


def is_sideband(call: Call) -> bool:
    """Whether a session joins a call that was made by WebRTC or telephone."""
    return any(name == "call_id" for name, _ in _query(call.query))


def _query(query: bytes) -> list[tuple[str, str]]:
    return parse_qsl(query.decode("latin-1"), keep_blank_values=True)


def with_credential(headers: Headers, subprotocols: list[str]) -> Headers:
    """Write the key that a browser sent as a subprotocol as the header that it could not send."""
    given = [name for name in subprotocols if name.startswith(KEY_SUBPROTOCOL)]
    return [
        *headers,
        *((b"authorization", b"Bearer " + name[len(KEY_SUBPROTOCOL) :].encode("utf-8", "replace")) for name in given),
    ]


def chosen_subprotocol(offered: list[str], theirs: str | None) -> str | None:
    """Choose the subprotocol that the caller is told: the provider's, if it chose one. A browser hangs up if it offers
    some and none is chosen; a key is never sent back."""
    if theirs is not None and theirs in offered:
        return theirs
    harmless = [name for name in offered if not name.startswith(KEY_SUBPROTOCOL)]
    return SUBPROTOCOL if SUBPROTOCOL in harmless else next(iter(harmless), None)
