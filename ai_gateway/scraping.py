"""`/metrics`: who may read the gateway's metrics, and the answer. Both doors ask here.

Not everybody may: what a gateway is used for is its operator's business. A request is answered with the METRICS_TOKEN,
from a network that METRICS names, or (by the view) to a staff user of the site.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from ipaddress import ip_address, ip_network

from ai_gateway import registry
from ai_gateway.calls import Arrival, Reply
from ai_gateway.conf import settings
from ai_gateway.errors import MethodNotAllowed, NotFound
from ai_gateway.refusals import refuse_request
from ai_gateway.replies import UNSTORED, own_reply

PATHS = frozenset(("/metrics", "/metrics/"))

source: Callable[[], bytes] | None = None
"""Writes the metrics; `telemetry/prometheus.py` puts it here. It takes its time."""

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


def has_token(authorization: bytes) -> bool:
    """Whether an `authorization` header holds the metrics token."""
    token = registry.snapshot().metrics_token
    given = authorization.removeprefix(b"Bearer ")
    return token is not None and hmac.compare_digest(given, token.reveal().encode())


def is_near(client: str | None) -> bool:
    """Whether an address is in one of the networks that may read without a token."""
    networks = settings.METRICS
    if isinstance(networks, bool) or client is None:
        return False
    try:
        address = ip_address(client)
    except ValueError:
        return False  # A socket of the machine's own.
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in ip_network(network, strict=False) for network in networks)


def is_open_to(arrival: Arrival) -> bool:
    """Whether a request may be answered whoever sent it."""
    return is_near(arrival.client) or has_token(arrival.fields.get(b"authorization", b""))


async def answer(arrival: Arrival) -> Reply:
    """Answer a request that may be answered."""
    if arrival.method not in ("GET", "HEAD"):
        return refuse_request(MethodNotAllowed(f"{arrival.method[:32]} is not possible here. Use GET."), arrival)
    if source is None:
        return refuse_request(NotFound("Metrics need the package prometheus-client."), arrival)
    body = await asyncio.to_thread(source)
    is_head = arrival.method == "HEAD"
    return own_reply(body, arrival.request_id, content_type=CONTENT_TYPE, headers=UNSTORED, is_head=is_head)
