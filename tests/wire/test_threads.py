"""Open streams cost no threads, by neither door."""

from __future__ import annotations

import pytest

from tests.conftest import StartGateway
from tests.gateway_process import Door
from tests.raw_client import RawClient
from tests.upstream import Upstream, event_stream
from tests.wire.samples import BEARER, CHAT_DIALECT, CHAT_PATH, JSON

pytestmark = pytest.mark.usefixtures("quiescent")

MOST_THREADS = {"direct": 9, "django": 17}
"""The loop's and four of uvloop's, the ledger's two, the refresher, one that looks names up; by the Django door its
eight shared ones."""


def test_two_hundred_idle_streams_share_a_few_threads(
    start_gateway: StartGateway, upstream: Upstream, door: Door
) -> None:
    """T1, scaled down."""
    gateway = start_gateway(SEND_TIMEOUT=59)  # A process of its own, which no other test has made threads in.
    raw = RawClient(gateway.port)
    gate = upstream.gate()
    first, *rest = CHAT_DIALECT.events
    upstream.answer(event_stream(first, gate, *rest))
    streams = [raw.connect() for _ in range(200)]
    for stream in streams:
        stream.request("POST", CHAT_PATH, [BEARER, JSON], b'{"model": "m", "stream": true}')
    for stream in streams:
        assert stream.read_head().status == 200
        assert stream.read_text_until(first) == first
    assert upstream.busy == 200
    assert gateway.threads <= MOST_THREADS[door]
    gate.open()
    for stream in streams:
        assert b"".join(stream.chunks()) == b"".join(rest)
    raw.close()
