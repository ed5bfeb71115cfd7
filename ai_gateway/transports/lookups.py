"""Which addresses has a host? The system's resolver is asked, in a thread.

It blocks the thread, for tens of seconds if its servers do not answer, and cannot be told to stop. So one look-up of a
host is under way at a time, and all who want to connect there wait for it; it does not end with who of them gives up.
The threads are for nothing else. A host whose name hangs takes one of them, and neither the calls to other hosts nor
other work wait for it.

What was found is not kept. How long it holds the resolver does not tell, and an address that is used for longer may be
somebody else's by then. Names are looked up for new connections only, and connections are kept; who wants a cache has
one that knows how long in the system, or beside it (systemd-resolved, nscd, dnsmasq, NodeLocal DNSCache).
"""

from __future__ import annotations

import asyncio
import socket

from ai_gateway.thread_pools import ThreadPool

THREADS = 32
"""Hosts that are looked up at a time."""

MOST_WAITING = 1024

_threads = ThreadPool("ai-gateway-names", size=THREADS, most=MOST_WAITING)


class Lookups:
    """The look-ups under way of one event loop."""

    def __init__(self) -> None:
        self._under_way: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def addresses(self, host: str, port: int) -> list[str]:
        """Give the addresses of a host. Raises OSError, UnicodeError for what is no name, and Full."""
        asked = host, port
        found = self._under_way.get(asked)
        if found is None:
            found = self._under_way[asked] = asyncio.wrap_future(_threads.submit(look_up, host, port))
            found.add_done_callback(lambda found: self._end(asked, found))
        return await asyncio.shield(found)

    def _end(self, asked: tuple[str, int], found: asyncio.Future[list[str]]) -> None:
        del self._under_way[asked]
        if not found.cancelled():
            found.exception()  # Nobody may be left to hear of it, which is no mistake.


def look_up(host: str, port: int) -> list[str]:
    """Ask the system for the addresses of a host. Raises OSError, and UnicodeError for what is no name."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
