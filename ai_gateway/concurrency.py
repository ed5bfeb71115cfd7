"""How many calls does a provider take at once? Counted in this process, from the request to the end of its answer.

One call more is not sent and does not wait: another target may be free, and a caller is better told than kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from ai_gateway.calls import Timeouts, UpstreamRequest, UpstreamResponse
from ai_gateway.errors import ProviderBusy
from ai_gateway.providers import Provider

Send = Callable[[UpstreamRequest, Timeouts], Coroutine[Any, Any, UpstreamResponse]]

_under_way: Counter[str] = Counter()


def limited(provider: Provider, send: Send) -> Send:
    """Wrap a way to reach a provider that has a limit, so that it keeps to it. Raises ProviderBusy."""
    limit = provider.max_concurrency
    assert limit is not None

    async def send_within(request: UpstreamRequest, timeouts: Timeouts) -> UpstreamResponse:
        if _under_way[provider.name] >= limit:
            raise ProviderBusy(f"The provider {provider.name!r} takes no more calls at the moment.", retry_after=1)
        _under_way[provider.name] += 1
        try:
            return Counted(await send(request, timeouts), provider.name)
        except BaseException:
            _under_way[provider.name] -= 1
            raise

    return send_within


class Counted(UpstreamResponse):
    """An answer that gives its place free when it is closed."""

    __slots__ = ("_is_open", "_provider", "_response")

    def __init__(self, response: UpstreamResponse, provider: str) -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._provider = provider
        self._is_open = True

    def take_rest(self) -> bytes | None:
        """See UpstreamResponse.take_rest()."""
        rest = self._response.take_rest()
        if rest is not None:
            self._leave()
        return rest

    async def read(self, patience: float | None = None) -> bytes | None:
        """See UpstreamResponse.read()."""
        return await self._response.read(patience)

    async def aclose(self) -> None:
        """See UpstreamResponse.aclose()."""
        self._leave()
        await self._response.aclose()

    def _leave(self) -> None:
        if self._is_open:
            self._is_open = False
            _under_way[self._provider] -= 1
