"""How many calls does a provider take at once? Counted in this process, from the request to the end of its answer.

One call more goes to another target, which may be free. Where there is none it may wait a little, if the provider has
a queue (`Provider.queue`); else its caller is told at once.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from ai_gateway.bulkheads import Bulkhead, Queue
from ai_gateway.calls import Timeouts, UpstreamRequest, UpstreamResponse, UpstreamSocket
from ai_gateway.errors import GatewayError, ProviderBusy
from ai_gateway.meter import Meter
from ai_gateway.overload import at_providers, party_of
from ai_gateway.providers import Provider

Send = Callable[[UpstreamRequest, Timeouts], Coroutine[Any, Any, UpstreamResponse]]

NO_QUEUE = Queue(size=0)


async def limited(provider: Provider, send: Send, meter: Meter, *, may_wait: bool) -> Send:
    """Take a place at a provider that has a limit, and give the way to reach it. That is to be gone once, and at once:
    the end of the answer gives the place back. Raises ProviderBusy."""
    limit = provider.max_concurrency
    assert limit is not None
    bulkhead = at_providers[provider.name]
    if not bulkhead.enter(limit):
        # A copy of a call is nobody's, and keeps nobody waiting.
        queue = provider.queue if may_wait and not meter.is_mirror else None
        await _wait(bulkhead, limit, queue or NO_QUEUE, provider, meter)

    async def send_within(request: UpstreamRequest, timeouts: Timeouts) -> UpstreamResponse:
        try:
            return Counted(await send(request, timeouts), bulkhead)
        except BaseException:
            bulkhead.leave()
            raise

    return send_within


async def _wait(bulkhead: Bulkhead, limit: int, queue: Queue, provider: Provider, meter: Meter) -> None:
    waiter = bulkhead.line_up(party_of(meter.caller, meter.arrival.client), limit, queue.size)
    meter.is_queued = True
    try:
        has_place = waiter is not None and await bulkhead.wait(waiter, queue.seconds)
    finally:
        meter.is_queued = False
    if not has_place:
        raise ProviderBusy(f"The provider {provider.name!r} takes no more calls at the moment.", retry_after=1)


class Counted(UpstreamResponse):
    """An answer that gives its place back when it is closed."""

    __slots__ = ("_bulkhead", "_is_open", "_response")

    def __init__(self, response: UpstreamResponse, bulkhead: Bulkhead) -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._bulkhead = bulkhead
        self._is_open = True

    @property
    def socket(self) -> UpstreamSocket | None:
        """See UpstreamResponse.socket."""
        return self._response.socket

    def take_rest(self) -> bytes | None:
        """See UpstreamResponse.take_rest()."""
        rest = self._response.take_rest()
        if rest is not None:
            self._leave()
        return rest

    async def read(self, patience: float | None = None) -> bytes | None:
        """See UpstreamResponse.read()."""
        return await self._response.read(patience)

    def interrupt(self, error: GatewayError) -> None:
        """See UpstreamResponse.interrupt()."""
        self._response.interrupt(error)

    async def aclose(self) -> None:
        """See UpstreamResponse.aclose()."""
        self._leave()
        await self._response.aclose()

    def _leave(self) -> None:
        if self._is_open:
            self._is_open = False
            self._bulkhead.leave()
