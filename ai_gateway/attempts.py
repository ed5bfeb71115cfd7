"""What if one fails? Try the targets in order until one answers.

A failure to connect means that nothing was sent, so the next target may be tried. Everything else that goes wrong is
answered as it is: the request may have been worked on, and paid for. How an answer is judged, and when it is committed
to, is the business of the hop that leads there (`hops/`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from time import perf_counter

from ai_gateway import accounting, admission, health
from ai_gateway.calls import Call, Reply, Target, UpstreamRequest
from ai_gateway.concurrency import Send, limited
from ai_gateway.errors import ConnectFailed, GatewayError, LimitReached
from ai_gateway.finishing import despite_its_caller
from ai_gateway.hops import Attempt, Hop, plan
from ai_gateway.keys import check_access
from ai_gateway.meter import Meter
from ai_gateway.registry import Snapshot
from ai_gateway.transports import Transport

logger = logging.getLogger("ai_gateway")


async def run(attempt: Attempt, transport: Transport) -> Reply:
    """Ask one target and judge its answer. Whatever it raises, nothing stays open."""
    provider, meter = attempt.provider, attempt.meter
    check_access(attempt.caller, provider)
    hop = plan(attempt)
    local = hop.local()
    if local is not None:
        return local
    await admission.admit(meter, attempt.target, attempt.snapshot)
    meter.attempts += 1
    request = hop.request()
    attempt.sent_at = meter.sent_at = perf_counter()
    send = provider.send or transport.send
    if provider.max_concurrency is not None:
        send = limited(provider, send)
    exchange = _exchange(attempt, hop, send, request)
    if not provider.finish_within:
        return await exchange
    meter.finish_within, meter.goes_on = provider.finish_within, True
    when_over = partial(accounting.finish_alone, meter, attempt.snapshot)
    reply = await despite_its_caller(exchange, provider.finish_within, when_over)
    meter.goes_on = False
    return reply


async def _exchange(attempt: Attempt, hop: Hop, send: Send, request: UpstreamRequest) -> Reply:
    """Send a request, and judge the answer."""
    provider, meter = attempt.provider, attempt.meter
    response = await send(request, provider.timeouts or attempt.snapshot.timeouts)
    meter.first_byte_at = perf_counter()
    try:
        reply = await hop.judge(response)
    except BaseException:
        await response.aclose()
        raise
    health.note(provider.name, reply.status)
    return reply


async def ask(meter: Meter, targets: Sequence[Target], snapshot: Snapshot, transport: Transport) -> Reply:
    """Ask the targets in order. Raises the last one's GatewayError if none could be reached."""
    call = meter.call
    assert call is not None
    for number, target in enumerate(targets, start=1):
        meter.begin_attempt(target)
        began_at = perf_counter()
        try:
            return await run(Attempt(call, meter, snapshot, target, number), transport)
        except (ConnectFailed, LimitReached) as error:
            note_failure(call, target, error)
            meter.fail_attempt(error, began_at)
            meter.sent_at = None  # Nothing was.
            # An upload's body may have begun to flow; it cannot be sent a second time.
            if number == len(targets) or not isinstance(call.body, bytes) or not is_elsewhere_better(error):
                raise
            if meter.hold is not None:
                meter.hold.leave_target()
        except GatewayError as error:
            note_failure(call, target, error)
            meter.fail_attempt(error, began_at)
            raise
    raise AssertionError("routing gives at least one target")


def is_elsewhere_better(error: GatewayError) -> bool:
    """Whether the next target may take a call: not if a limit refused it that holds wherever it goes."""
    return error.is_of_target if isinstance(error, LimitReached) else True


def note_failure(call: Call, target: Target, error: GatewayError) -> None:
    """Put a failure of the provider's side into the log and the health record; a caller's mistake into neither."""
    if error.status < 500:
        return
    health.note(target.provider, error.status, error.code)
    logger.warning("%s: %s: %s %s", call.request_id, target.provider, error.message, error.detail or "")
