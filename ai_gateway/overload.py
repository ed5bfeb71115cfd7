"""How many calls does this process serve at once, and who waits for a place?

A process that takes every call that comes serves none of them well. So it takes MAX_CALLS; a few more wait in a short
queue, in which callers take turns (`bulkheads.py`), and the rest is refused at once, which costs next to nothing. A
call has its place from before its body is read until its answer is sent to the end, or its caller is gone.

Providers with a limit of their own have a bulkhead each (`concurrency.py`). What is counted here is this process's.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Hashable, Mapping
from contextlib import AbstractContextManager
from ipaddress import ip_address, ip_network

from ai_gateway.bulkheads import Bulkhead
from ai_gateway.calls import Caller

calls = Bulkhead()
"""The calls under way."""

at_providers: defaultdict[str, Bulkhead] = defaultdict(Bulkhead)
"""Those with each provider that has a limit, by its name."""


def _forked() -> None:
    calls.begin()
    at_providers.clear()


os.register_at_fork(after_in_child=_forked)


class Entrant(ABC):
    """A request that may need a place among the calls under way. The door that it came through gives that back."""

    has_place: bool

    @abstractmethod
    def waiting(self, fields: Mapping[bytes, bytes]) -> AbstractContextManager[None]:
        """Stand in the queue, as long as the context lasts: a caller that hangs up meanwhile ends its call."""


def party_of(caller: Caller, client: str | None) -> Hashable:
    """Tell whose turns a call takes: its key's, or without one its address's. In IPv6 that is the network, of which a
    single customer has all addresses."""
    if caller.key_name is not None:
        return caller.key_id or caller.key_name
    try:
        address = ip_address(client or "")
    except ValueError:
        return None  # A socket of the machine's own, or a server that does not know.
    address = getattr(address, "ipv4_mapped", None) or address
    return ip_network((address, 32 if address.version == 4 else 64), strict=False)
