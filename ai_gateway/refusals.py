"""An error as a reply: JSON in the caller's dialect, with what its SDK needs to know beside the body."""

from __future__ import annotations

from math import ceil

from ai_gateway import server_timing
from ai_gateway.calls import Arrival, Headers, Reply
from ai_gateway.errors import GatewayError, Overloaded, ProviderError
from ai_gateway.meter import Meter
from ai_gateway.protocols import Dialect
from ai_gateway.replies import own_reply

LONGEST_WAIT = 60
"""Seconds after which a repetition is still worth waiting for. Anthropic's SDK waits as long as it is told: for a quota
that comes back tomorrow, until tomorrow."""


def refuse_request(error: GatewayError, arrival: Arrival) -> Reply:
    """Write an error as the reply to a request, and tell where its time went."""
    reply = refuse(error, arrival.dialect, arrival.request_id)
    reply.headers.append(server_timing.header(arrival.received_at))
    return reply


def refuse_call(error: GatewayError, meter: Meter) -> Reply:
    """Write an error as the reply to a call, and tell where its time went, and how often it was tried in vain."""
    reply = refuse(error, meter.arrival.dialect, meter.arrival.request_id)
    reply.headers.append(server_timing.header(meter.arrival.received_at, meter.sent_at, meter.queued))
    if meter.attempts:
        reply.headers.append((b"x-gateway-attempts", b"%d" % meter.attempts))
    return reply


def refuse(error: GatewayError, dialect: Dialect, request_id: str) -> Reply:
    """Write an error as a reply.

    `x-should-retry: false` goes with everything that a repetition cannot heal, or not soon: both vendors' SDKs and
    Claude Code obey it, and without it some repeat a plain 401 for minutes.
    """
    body = dialect.write_error(error, request_id)
    headers: Headers = []
    if not error.retryable or (error.retry_after or 0) > LONGEST_WAIT:
        headers.append((b"x-should-retry", b"false"))
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % ceil(error.retry_after)))
        if error.retry_after % 1:
            headers.append((b"retry-after-ms", b"%d" % ceil(error.retry_after * 1e3)))
    headers += dialect.error_headers(error)
    return own_reply(body, request_id, status=status_of(error, dialect), headers=headers)


def status_of(error: GatewayError, dialect: Dialect) -> int:
    """Choose the status: a provider's error may have another one in the caller's format than in the provider's. So may
    overload: Anthropic's clients know 529 for it. A process that stops says 503 to everybody, for proxies know that."""
    is_of_the_format = isinstance(error, ProviderError) or type(error) is Overloaded
    return dialect.statuses.get(error.kind, error.status) if is_of_the_format else error.status
