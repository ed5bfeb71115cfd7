"""Counters in the site's database: exact over any number of processes and hosts.

A call waits for one short transaction, in one of a few threads with connections of their own; no connection is held
while it is under way. What it used is settled soon after it ended (`clerk.py`). The statements are in `rows.py`.

With SQLite, set `"transaction_mode": "IMMEDIATE"` and the journal mode WAL: writers then wait for each other in turn.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, DataError, InterfaceError, connections, router

from ai_gateway.charges import Charges, Counter, State, Verdict
from ai_gateway.limits.base import LimitStore, StoreUnavailable, Uncountable
from ai_gateway.limits.database import rows
from ai_gateway.limits.database.clerk import Clerk
from ai_gateway.limits.database.clock import DatabaseClock, microseconds
from ai_gateway.limits.workers import Result, Workers
from ai_gateway.models import LimitCounter

logger = logging.getLogger("ai_gateway")

THREADS = 4

THREADS_ON_SQLITE = 1
"""Only one can write to a file of SQLite. Threads that wait for the file are served in no order, and some not for half
a minute; calls that wait for the one thread are served in turn."""

LAST_SETTLEMENTS = 5.0
"""Seconds for which a stopping process waits for the database to take what calls used."""


class DatabaseStore(LimitStore):
    """Counters in rows.

    `using` is the alias of a database in DATABASES; else that is Django's choice for the model. `threads` is how many
    connections calls use at most, for SQLite one; settling needs one more. `clock` is the database's, unless a test
    brings its own.
    """

    def __init__(
        self, using: str | None = None, threads: int | None = None, clock: Callable[[], float] | None = None
    ) -> None:
        self._using = using or router.db_for_write(LimitCounter)
        self._clock = clock or DatabaseClock(self._using)
        is_sqlite = "sqlite" in connections.settings.get(self._using, {}).get("ENGINE", "")
        self._workers = Workers("ai-gateway-limits", threads or (THREADS_ON_SQLITE if is_sqlite else THREADS))
        self.clerk = Clerk(self._using, self._clock)
        self._left: set[Future[Verdict]] = set()

    async def admit(self, charges: Charges, ttl: float) -> Verdict:
        """See LimitStore.admit()."""
        if not charges.counters:
            return Verdict(True, ())
        if self.clerk.is_settling(charges):
            await self.flush()
        future = self._workers.submit(lambda: self._admit(charges, ttl))
        try:
            return await _result(future)
        except asyncio.CancelledError:
            self._leave(charges, future)
            raise

    def _admit(self, charges: Charges, ttl: float) -> Verdict:
        now = self._clock()
        verdict, until = rows.steadily(
            self._using, lambda: rows.admit(self._using, charges, microseconds(now), math.ceil(now + ttl))
        )
        if verdict.is_admitted:
            self.clerk.hold(charges, until, ttl)
        return verdict

    def _leave(self, charges: Charges, future: Future[Verdict]) -> None:
        """Give back what may still be taken for a call that does not wait for it any more."""

        def give_back(done: Future[Verdict]) -> None:
            if not done.cancelled() and done.exception() is None and done.result().is_admitted:
                self.clerk.settle(charges, [0] * len(charges.counters))
            self._left.discard(done)

        self._left.add(future)
        future.add_done_callback(give_back)

    def settle(self, charges: Charges, used: Sequence[int]) -> None:
        """See LimitStore.settle()."""
        self.clerk.settle(charges, used)

    async def states(self, counters: Sequence[Counter]) -> Sequence[State]:
        """See LimitStore.states()."""
        return await _result(self._workers.submit(lambda: self._states(counters)))

    def _states(self, counters: Sequence[Counter]) -> Sequence[State]:
        now = microseconds(self._clock())
        return rows.steadily(self._using, lambda: rows.states(self._using, counters, now))

    async def flush(self) -> None:
        """See LimitStore.flush()."""
        if self._left:
            await asyncio.wait([asyncio.shield(asyncio.wrap_future(each)) for each in list(self._left)])
        await asyncio.wrap_future(self.clerk.flush())

    async def aclose(self) -> None:
        """See LimitStore.aclose(). What the database does not take in time counts as spent as it was reserved."""
        try:
            async with asyncio.timeout(LAST_SETTLEMENTS):
                await self.flush()
                await asyncio.wrap_future(self._workers.dismiss())
                await asyncio.wrap_future(self.clerk.dismiss())
        except TimeoutError:
            logger.error("The database does not answer: %d charges could not be settled.", self.clerk.waiting)


async def _result(future: Future[Result]) -> Result:
    """Wait for what a thread does. Raises StoreUnavailable."""
    try:
        return await asyncio.wrap_future(future)
    except (DataError, OverflowError) as error:  # A number that no column holds. SQLite's driver says so itself.
        raise Uncountable(f"the database of the limits: {error}") from error
    except (DatabaseError, InterfaceError, ImproperlyConfigured) as error:
        raise StoreUnavailable(f"the database of the limits: {error}") from error
