"""How bytes reach an upstream. `pooled` is the gateway's own; `httpx` wraps httpx's, for HTTP/2 and outbound proxies.

`connection`, `exchange`, `dialing` and `lookups` are what `pooled` is made of; `websocket` opens sockets over
`dialing`, which `tunnels` leads through a proxy. A transport is made for one event loop and used in no other: sockets
belong to their loop, and `asyncio.run` in a command or a test makes a new one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from ai_gateway.calls import Timeouts, UpstreamRequest, UpstreamResponse
from ai_gateway.errors import GatewayError, SocketsUnsupported


class Connections(NamedTuple):
    """How many connections carry a call, and how many are open for the next one; and how many calls wait for one."""

    busy: int
    idle: int
    waiting: int


def is_status(number: int) -> bool:
    """Whether a number is a status of HTTP. Parsers take any three digits, but no server can write those."""
    return 100 <= number <= 599


class Transport(ABC):
    """Sends requests to upstreams."""

    @abstractmethod
    async def send(self, request: UpstreamRequest, timeouts: Timeouts) -> UpstreamResponse:
        """Send a request and give the answer as soon as its head is there. The body must be read or closed.

        Raises an error of the UpstreamError family, or PoolTimeout. ConnectFailed means that nothing was sent.
        Whatever it raises, cancellation included, it leaves nothing open.
        """

    def sockets(self) -> Transport:
        """Give the transport that opens websockets in the way in which this one reaches upstreams: its answers are
        sockets, or refusals. Raises SocketsUnsupported where there is none."""
        raise SocketsUnsupported(f"This gateway's transport ({type(self).__name__}) opens no websockets.")

    @abstractmethod
    def interrupt(self, error: GatewayError) -> None:
        """End every exchange that is under way: whoever waits for it or reads it gets this error."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close every connection."""

    def connections(self) -> Connections | None:
        """Count the connections. None: this transport does not know. May be called in another thread."""
        return None
