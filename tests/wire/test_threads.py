"""Open streams cost no threads, by neither door."""

from __future__ import annotations

import pytest

from tests.gateway_process import GatewayProcess
from tests.raw_client import RawClient
from tests.upstream import Upstream, event_stream
from tests.wire.samples import BEARER, CHAT_DIALECT, CHAT_PATH, JSON

pytestmark = pytest.mark.usefixtures("quiescent")

MOST_THREADS = 13
"""The loop's, Django's eight shared ones, and a few of the event loop's own pool."""


def test_two_hundred_idle_streams_share_a_few_threads(
    gateway: GatewayProcess, raw: RawClient, upstream: Upstream
) -> None:
    """T1, scaled down."""
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
    assert gateway.threads <= MOST_THREADS
    gate.open()
    for stream in streams:
        assert b"".join(stream.chunks()) == b"".join(rest)
