"""When must a call be over?

A call has a deadline if the operator says so (`total` of the timeouts) or its caller does; the earlier one counts. It
stands for everything: the attempts, the waits between them, the answer to its last byte. An attempt that cannot be
finished any more is not begun, what the transport waits for is cut to what is left, and an answer under way is read no
longer than that. A call without a deadline passes by all of this.

Callers say it by `x-gateway-timeout`, in seconds from the arrival of the call, or by Google's `x-server-timeout`, which
means the same. `x-stainless-timeout` and `x-stainless-read-timeout`, which the SDKs of OpenAI and Anthropic send with
every call, are no deadlines: they tell how long the SDK bears silence, or waits for the head of an answer, and not how
long the answer may take. An SDK that loses patience hangs up, and that is noticed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any

from ai_gateway.calls import Call, Reply, Timeouts, UpstreamResponse, UpstreamSocket
from ai_gateway.errors import (
    BadRequest,
    ConnectFailed,
    DeadlineExceeded,
    GatewayError,
    PoolTimeout,
    UpstreamTimeout,
)

OWN_HEADER = b"x-gateway-timeout"
GOOGLES_HEADER = b"x-server-timeout"

LEAST = 0.25
"""Seconds that must be left for one attempt more: one that has less is hardly ever finished, and paid for anyway."""

GRACE = 0.1
"""Seconds after the deadline in which a transport may say itself what it waited for: it knows whether anything was
sent, and looks at the clock every so often only."""

EARLY = 0.05
"""Seconds by which a transport's clock may be before this one: event loops look at theirs once in a round."""

_SECONDS = re.compile(rb"[0-9]{1,9}(?:\.[0-9]{1,9})?")


def asked_for(fields: Mapping[bytes, bytes], received_at: float) -> float | None:
    """Read when a caller wants its call to be over; None if it does not say. Raises BadRequest for a header of this
    gateway's own that is no number of seconds; one of Google's is then ignored."""
    own, googles = fields.get(OWN_HEADER), fields.get(GOOGLES_HEADER)
    if own is None and googles is None:
        return None
    wanted = [seconds for seconds in (_own_seconds(own), _seconds(googles)) if seconds is not None]
    return received_at + min(wanted) if wanted else None


def _own_seconds(value: bytes | None) -> float | None:
    seconds = _seconds(value)
    if value is not None and seconds is None:
        raise BadRequest("The header x-gateway-timeout must be a number of seconds above 0, such as 30 or 2.5.")
    return seconds


def _seconds(value: bytes | None) -> float | None:
    if value is None or _SECONDS.fullmatch(value.strip()) is None:
        return None
    return float(value) or None


def of(call: Call, timeouts: Timeouts) -> float | None:
    """Tell when a call must be over while a target with these timeouts is asked; None for no limit."""
    if not timeouts.total:
        return call.deadline
    given = call.received_at + timeouts.total
    return given if call.deadline is None else min(given, call.deadline)


def allows(deadline: float | None, wait: float = 0.0) -> bool:
    """Whether there is time for one attempt more, after so many seconds."""
    return deadline is None or perf_counter() + wait + LEAST <= deadline


def check(deadline: float) -> None:
    """Raise DeadlineExceeded if the time is over before anything was sent."""
    if perf_counter() >= deadline:
        raise exceeded(was_sent=False)


def exceeded(*, was_sent: bool = True) -> DeadlineExceeded:
    """Make the error of a call whose time is over."""
    return DeadlineExceeded("The time that this call was given is over.", was_sent=was_sent)


def cut(timeouts: Timeouts, deadline: float) -> Timeouts:
    """Cut the phases until an answer begins to what is left."""
    left = max(0.0, deadline - perf_counter())
    return replace(
        timeouts,
        connect=min(timeouts.connect, left),
        pool=min(timeouts.pool, left),
        write=min(timeouts.write, left),
        first_byte=min(timeouts.first_byte, left),
    )


async def kept(exchange: Coroutine[Any, Any, Reply], deadline: float) -> Reply:
    """Wait for a reply no longer than its call may last. Raises DeadlineExceeded.

    What the transport was not given more time for is nobody's failure: a caller in a hurry must not make a provider
    look ill.
    """
    try:
        async with asyncio.timeout(deadline - perf_counter() + GRACE) as clock:
            return await exchange
    except TimeoutError:
        if not clock.expired():
            raise
        raise exceeded() from None
    except (ConnectFailed, PoolTimeout, UpstreamTimeout) as error:
        if perf_counter() < deadline - EARLY:
            raise
        raise exceeded(was_sent=not isinstance(error, ConnectFailed | PoolTimeout)) from error


def bounded(response: UpstreamResponse, deadline: float | None, seconds: float) -> UpstreamResponse:
    """Wrap an answer whose head has come, so that its body is not read after the deadline, nor for longer than so many
    seconds (0: as long as it takes)."""
    if seconds:
        ends_at = perf_counter() + seconds
        if deadline is None or ends_at < deadline:
            return Bounded(response, ends_at, UpstreamTimeout(f"The answer took longer than {seconds:g} s."))
    assert deadline is not None
    return Bounded(response, deadline, exceeded())


class Bounded(UpstreamResponse):
    """An answer that may be read up to a certain time, and then gives an error."""

    __slots__ = ("_ends_at", "_error", "_response")

    def __init__(self, response: UpstreamResponse, ends_at: float, error: GatewayError) -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._ends_at = ends_at
        self._error = error

    @property
    def socket(self) -> UpstreamSocket | None:
        """See UpstreamResponse.socket."""
        return self._response.socket

    def take_rest(self) -> bytes | None:
        """See UpstreamResponse.take_rest()."""
        return self._response.take_rest()

    async def read(self, patience: float | None = None) -> bytes | None:
        """See UpstreamResponse.read()."""
        left = self._ends_at - perf_counter()
        if left <= 0:
            raise self._error
        if patience is not None and patience < left:
            return await self._response.read(patience)
        chunk = await self._response.read(left)
        if chunk is None:
            raise self._error
        return chunk

    def interrupt(self, error: GatewayError) -> None:
        """See UpstreamResponse.interrupt()."""
        self._response.interrupt(error)

    async def aclose(self) -> None:
        """See UpstreamResponse.aclose()."""
        await self._response.aclose()
