"""What happens while a store that is elsewhere does not answer: `ON_FAILURE` of the setting `LIMIT_STORE`.

A store that hangs costs a call `timeout` seconds and no more. After it failed, or hung a few times in a row, it is
asked by one call every RETRY seconds, and the others go by the policy at once. An outage is logged when it begins and
when it is over.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from ai_gateway.charges import Charges, Counter, State, States, Verdict
from ai_gateway.limits.base import LimitStore, StoreUnavailable, Uncountable
from ai_gateway.limits.memory import MemoryStore
from ai_gateway.limits.patience import Patience

logger = logging.getLogger("ai_gateway")

POLICIES = ("closed", "open", "local")
"""While the store is away: no call that has limits is made, all are, or each process keeps the limits by itself."""

TIMEOUT = 0.5
"""Seconds for which a call waits for the store."""

RETRY = 0.5
"""Seconds between two attempts while it is away."""

HANGS = 3
"""After so many timeouts in a row it is taken for away: one alone may be a long queue for a busy counter."""

Answer = TypeVar("Answer")


class Fallback(LimitStore):
    """Another store, and what is done without it. `new_local` makes the store of the policy "local"."""

    def __init__(
        self,
        store: LimitStore,
        policy: str = "closed",
        timeout: float = TIMEOUT,
        new_local: Callable[[], MemoryStore] = MemoryStore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self._policy = policy
        self._timeout = timeout
        self._new_local = new_local
        self._local = new_local()
        self._clock = clock
        self._patience: dict[asyncio.AbstractEventLoop, Patience] = {}
        self._problem: StoreUnavailable | None = None
        self._hangs = 0
        self._ask_at = 0.0

    async def admit(self, charges: Charges, ttl: float) -> Verdict:
        """See LimitStore.admit(). Raises StoreUnavailable by the policy "closed" only."""
        try:
            self._check()
            verdict = await self._in_time(self.store.admit(charges, ttl))
        except StoreUnavailable:
            if self._policy == "closed":
                raise
            if self._policy == "open":
                return Verdict(True, [State(0, counter.ceiling, 0.0) for counter in charges.counters])
            return await self._local.admit(charges, ttl)
        return verdict

    def settle(self, charges: Charges, used: Sequence[int]) -> None:
        """See LimitStore.settle(). Of the two stores each knows what was taken of it."""
        self.store.settle(charges, used)
        self._local.settle(charges, used)

    async def states(self, counters: Sequence[Counter]) -> States:
        """See LimitStore.states(). Raises StoreUnavailable by the policies "closed" and "open"."""
        try:
            self._check()
            return await self._in_time(self.store.states(counters))
        except StoreUnavailable:
            if self._policy != "local":
                raise
            return await self._local.states(counters)

    async def flush(self) -> None:
        """See LimitStore.flush()."""
        await self.store.flush()

    async def aclose(self) -> None:
        """See LimitStore.aclose()."""
        await self.store.aclose()

    def _check(self) -> None:
        """Let one call in a while ask a store that is away. Raises StoreUnavailable for the others."""
        if self._ask_at:
            now = self._clock()
            if now < self._ask_at:
                assert self._problem is not None
                raise StoreUnavailable(str(self._problem))
            self._ask_at = now + RETRY

    async def _in_time(self, asked: Coroutine[Any, Any, Answer]) -> Answer:
        try:
            loop = asyncio.get_running_loop()
            answer = await (self._patience.get(loop) or self._patience_of(loop)).wait(asked)
        except TimeoutError:
            self._hangs += 1
            problem = StoreUnavailable(f"the store of the limits does not answer within {self._timeout:g} s")
            self._fail(problem, is_away=self._hangs >= HANGS)
            raise problem from None
        except Uncountable:
            self._note_answer()
            raise
        except StoreUnavailable as problem:
            self._fail(problem, is_away=True)
            raise
        self._note_answer()
        return answer

    def _note_answer(self) -> None:
        """The store is there."""
        if self._problem is not None:
            logger.warning("The store of the limits answers again.")
            self._problem = None
        self._ask_at = 0.0
        self._hangs = 0

    def _patience_of(self, loop: asyncio.AbstractEventLoop) -> Patience:
        self._patience = {known: patience for known, patience in self._patience.items() if not known.is_closed()}
        found = self._patience[loop] = Patience(self._timeout, loop)
        return found

    def _fail(self, problem: StoreUnavailable, *, is_away: bool) -> None:
        if self._problem is None:
            logger.error("Limits cannot be checked, ON_FAILURE is %r: %s", self._policy, problem)
            if self._local.is_idle:
                # What it counted in the last outage is old, and would hide what was spent since.
                self._local = self._new_local()
        self._problem = problem
        if is_away:
            self._ask_at = self._clock() + RETRY
