"""The header `server-timing`: where the time of an answer went until its head was sent. Browsers draw it.

`gateway` is the gateway's own time until it sent the call on; `upstream` what the provider took from then on, the way
there and back included; `queue` how long the call waited for a place. What it waited for is not the gateway's own time.
"""

from __future__ import annotations

from time import perf_counter

NAME = b"server-timing"


def header(received_at: float, sent_at: float | None = None, queued: float = 0.0) -> tuple[bytes, bytes]:
    """Write it for an answer that begins now. A call that was not sent on has no `upstream`."""
    now = perf_counter()
    value = b"gateway;dur=%.1f" % (((now if sent_at is None else sent_at) - received_at - queued) * 1e3)
    if sent_at is not None:
        value += b", upstream;dur=%.1f" % ((now - sent_at) * 1e3)
    if queued:
        value += b", queue;dur=%.1f" % (queued * 1e3)
    return NAME, value
