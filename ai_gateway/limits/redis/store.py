"""The store of limits whose counters are in Redis."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ai_gateway.charges import Charges, Counter, State, Verdict
from ai_gateway.conf import DEFAULT_REDIS, settings
from ai_gateway.limits.base import LimitStore
from ai_gateway.limits.redis.batches import Settled
from ai_gateway.limits.redis.client import Client
from ai_gateway.limits.redis.line import Line
from ai_gateway.limits.redis.link import Link
from ai_gateway.limits.redis.script import ADMITTED, LOOK, TAKE
from ai_gateway.limits.redis.seeds import Seeds
from ai_gateway.limits.sowing import Seed

WRITING = 1.5
"""Seconds that it takes to write down what ended, beyond those for which it waits (`USAGE_INTERVAL`), and that a
process can be wrong on Redis's time."""


class RedisStore(LimitStore):
    """Counters in Redis, for any number of processes on any number of machines.

    `url` is as in redis-py: `redis://`, `rediss://` (TLS) or `unix://`, with the user, the password and the number of
    the database. `timeout` is how many seconds Redis may take to answer. With `cluster` the address is one of a
    cluster's; with `sentinels`, pairs of host and port, they are asked for the master of `service`, and `url` is not
    used. Whatever else is given is redis-py's. With the package `hiredis` answers are read a little faster.

    `prefix` is what all keys begin with, in braces: a hash tag, so that in a cluster all are on one node, as those have
    to be that one script touches. So a cluster does not spread a gateway's counters: one node of it counts all calls.
    Gateways with a prefix each count apart, and may be on different nodes. In a cluster it cannot be empty, nor begin
    with a closing brace, for braces with nothing in them are no hash tag: ValueError is raised.

    Redis must not evict these keys (`maxmemory-policy noeviction`), or limits are forgotten. `seed` tells what was
    spent of a quota that is not there: when its period begins, and when Redis lost it. `clock`, in seconds since 1970,
    replaces Redis's, for tests.
    """

    is_seeded = True

    def __init__(
        self,
        url: str = DEFAULT_REDIS,
        *,
        prefix: str = "ai_gateway",
        timeout: float = 0.25,
        cluster: bool = False,
        sentinels: Sequence[tuple[str, int]] = (),
        service: str = "mymaster",
        seed: Seed | None = None,
        clock: Callable[[], float] | None = None,
        **options: Any,
    ) -> None:
        self.check({"prefix": prefix, "cluster": cluster})
        self._seeds = Seeds(seed) if seed is not None else None
        self._new_client = partial(
            Client, url, timeout, cluster=cluster, sentinels=sentinels, service=service, options=options
        )
        self._new_link = partial(
            Link,
            tag=prefix,
            timeout=timeout,
            seed=0 if seed is None else -1,
            unwritten=settings.USAGE_INTERVAL + WRITING,
            clock=clock,
        )
        self._lines: dict[asyncio.AbstractEventLoop | None, Line] = {}
        self._left: deque[Settled] = deque()
        os.register_at_fork(after_in_child=partial(_forget, weakref.ref(self)))

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> None:
        """See LimitStore.check()."""
        if options.get("cluster") and str(options.get("prefix", "-"))[:1] in ("", "}"):
            raise ValueError(
                "In a cluster the option `prefix` must not be empty, nor begin with a closing brace: "
                "it is what keeps all keys on one node."
            )

    async def admit(self, charges: Charges, ttl: float) -> Verdict:
        """See LimitStore.admit()."""
        if not charges.counters:
            return Verdict(True, ())
        answer = await self._line().ask(TAKE, charges, ttl)
        if answer.code == ADMITTED:
            return Verdict(True, answer.states)
        return answer.refusal()

    def settle(self, charges: Charges, used: Sequence[int]) -> None:
        """See LimitStore.settle(). Outside of an event loop that has called, it is sent by the next one that does."""
        line = self._lines.get(_running_loop())
        settled = Settled(charges, used)
        for each in [line] if line is not None and charges.call in line.holdings else list(self._lines.values()):
            settled = each.ended(settled)
        if line is None:
            self._left.append(settled)
        else:
            line.settle(settled)

    async def states(self, counters: Sequence[Counter]) -> Sequence[State]:
        """See LimitStore.states()."""
        if not counters:
            return ()
        return (await self._line().ask(LOOK, Charges("", counters, [0] * len(counters)))).states

    async def flush(self) -> None:
        """See LimitStore.flush(). It gives up after a while if Redis does not answer."""
        await self._line().flush()

    async def aclose(self) -> None:
        """See LimitStore.aclose(). What other event loops have open is closed when they end."""
        await self._line().aclose()

    async def renew(self) -> None:
        """Renew now all that calls under way have reserved, which is done by itself as well."""
        line = self._line()
        line.renew(all_of_it=True)
        await line.flush()

    def abandon(self) -> None:
        """Have what was reserved expire, as if this process were dead."""
        for line in self._lines.values():
            line.holdings.clear()

    def _line(self) -> Line:
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None:
            for other, its_line in list(self._lines.items()):
                if its_line.is_over():
                    self._lines.pop(other, None)
            link = self._new_link(self._new_client())
            line = self._lines[loop] = Line(link, self._seeds, self._left, partial(self._lines.pop, loop, None))
        return line


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _forget(reference: weakref.ref[RedisStore]) -> None:
    """Begin anew in a forked process. What its parent has open and has reserved is the parent's."""
    store = reference()
    if store is not None:
        store._lines = {}
        store._left = deque()
