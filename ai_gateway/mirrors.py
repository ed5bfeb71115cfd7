"""Copies of calls, to try a target with real traffic before anybody depends on it.

A copy goes out beside the call and independently of it: nobody waits for it, nobody sees its answer, and whatever
becomes of it, the call does not notice. It is written down as a call of nobody's, with the request id of the original:
the operator wanted it, so no caller pays for it and no caller's limit counts it; the limits for everybody, for the
provider and for the model do.

Only calls that are served with the operator's own credentials are copied, and only those whose body is held in memory.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Sequence
from functools import partial

import msgspec

from ai_gateway import accounting, attempts, finishing, health, idempotency, live, suitability
from ai_gateway.bulkheads import Bulkhead
from ai_gateway.calls import Call, Caller, Target
from ai_gateway.errors import GatewayError
from ai_gateway.meter import Meter, Outcome
from ai_gateway.registry import Snapshot
from ai_gateway.transports import Transport

logger = logging.getLogger("ai_gateway")

MOST = 32
"""Copies under way at once, in this process. A call more than that is not copied: a mirror that hangs must not pile up
calls."""

LONGEST = 600.0
"""Seconds after which a copy is given up."""

NOBODY = Caller(key_name="")
"""Who calls when a call is copied."""

copies = Bulkhead()
"""Those under way."""

os.register_at_fork(after_in_child=copies.begin)


def send(meter: Meter, snapshot: Snapshot, transport: Transport) -> None:
    """Send copies of a call to those of its route's mirrors that are drawn."""
    rule = snapshot.rules.get(meter.route)
    if rule is None or not rule.mirrors or not meter.caller.is_authenticated:
        return
    call = meter.call
    assert call is not None
    if call.method != "POST" or not isinstance(call.body, bytes):
        return
    for target, percent in rule.mirrors:
        if (
            random.uniform(0, 100) < percent
            and target.provider in snapshot.providers
            and suitability.what_it_wants(meter.route, target, meter.facts, snapshot) is None
        ):
            _copy(meter, call, target, snapshot, transport)


def _copy(meter: Meter, call: Call, target: Target, snapshot: Snapshot, transport: Transport) -> None:
    if not copies.enter(MOST):
        logger.info("%s: not copied to %s/%s: %d copies are under way", call.request_id, *target, copies.taken)
        return
    # What the call belongs to (its project, its user) has limits and reports of its own.
    arrival = msgspec.structs.replace(meter.arrival, fields={})
    fields = {name: value for name, value in call.fields.items() if name not in snapshot.limits.headers}
    # Nor has it the call's key, by which a provider of both would do the work only once.
    keys = (idempotency.HEADER, idempotency.header_of(snapshot.providers[target.provider]))
    headers = [header for header in call.headers if header[0] not in keys]
    copied = msgspec.structs.replace(call, headers=headers, fields=fields, deadline=None)
    copy = Meter(arrival, NOBODY, call=copied, route=meter.route, is_mirror=True, made_trace=meter.trace)
    finishing.go_on(_ask(copy, [target], snapshot, transport), LONGEST, partial(_end, copy, snapshot))


async def _ask(meter: Meter, targets: Sequence[Target], snapshot: Snapshot, transport: Transport) -> None:
    live.begin(meter)
    try:
        reply = await attempts.ask(meter, targets, snapshot, transport)
    except GatewayError as error:
        meter.fail(error)
        meter.status = error.status
        return
    except asyncio.CancelledError:
        ended = live.ended_by(meter)
        if ended is None:
            raise
        meter.fail(ended)
        return
    except Exception:
        meter.outcome = Outcome.FAILED
        raise
    if snapshot.is_measured:
        reply = await accounting.account(reply, meter, snapshot)
    await finishing.read(reply)


def _end(meter: Meter, snapshot: Snapshot) -> None:
    copies.leave()
    if meter.outcome is None and not health.is_draining():
        meter.outcome = Outcome.TIMED_OUT
    if snapshot.is_measured:
        accounting.finish(meter, snapshot)
    else:
        live.end(meter)
        meter.end_attempt()
