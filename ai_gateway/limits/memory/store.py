"""Counters in this process: exact for one process, and as fast as it gets.

Nothing waits between the look at a counter and the charge, and a lock keeps threads apart. Time is monotonic: to set
the clock moves no rate. A process that ends forgets its counters; those of periods are *sown*: what was spent before is
asked for when a counter is first used (`sowing.py`).

A reservation is held by a call of this very process, which settles it. Should one never be, for a bug, it expires after
LONGEST_CALL: the slots that it holds are free again, and the rest stays counted as it was reserved.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence

from ai_gateway.charges import Algorithm, Charge, Settlement, State, Verdict
from ai_gateway.limits.base import LimitStore
from ai_gateway.limits.gcra import MICROSECONDS
from ai_gateway.limits.memory.counter import Counter
from ai_gateway.limits.sowing import Seed, Sower

LONGEST_CALL = 6 * 3600
"""Seconds after which a call is taken for one that was forgotten."""

SLACK = 2 * 3600
"""Seconds for which the counter of a period is kept after it: clocks are set, and calls outlive their periods."""

UNTOUCHED = 24 * 3600
"""Seconds after which a counter without a period that can be sown again is forgotten."""

TIDY = 60
"""Seconds between two looks for what is not needed any more."""

FEW = 1000
"""Counters that are not worth a look."""


Held = dict[str, tuple[Counter, Charge, int, int]]
"""What a call has taken, by the names of the counters: of which, what, what was offered for it, and when."""


class MemoryStore(LimitStore):
    """Counters in this process.

    `seed` tells what was spent before. `clock` is for rates, `calendar` says how long a period lasts, both in seconds.
    """

    def __init__(
        self,
        seed: Seed | None = None,
        clock: Callable[[], float] = time.monotonic,
        calendar: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._calendar = calendar
        self._lock = threading.Lock()
        self._counters: dict[str, Counter] = {}
        self._held: dict[str, Held] = {}
        self._tidied_at = round(clock() * MICROSECONDS)
        self._most = FEW
        self._sower = Sower(seed, self._is_unsown, self._add_spent) if seed is not None else None

    @property
    def is_idle(self) -> bool:
        """Whether no call holds anything."""
        return not self._held

    async def admit(self, call: str, charges: Sequence[Charge], ttl: float) -> Verdict:
        """See LimitStore.admit(). The time after which a reservation expires is this store's own."""
        while True:
            verdict = self._take(call, charges)
            if verdict is not None:
                return verdict
            await self._sow(charges)

    def _take(self, call: str, charges: Sequence[Charge]) -> Verdict | None:
        """Take all charges or none. None: a counter has to be sown first."""
        now, date = round(self._clock() * MICROSECONDS), self._calendar()
        with self._lock:
            if now - self._tidied_at > TIDY * MICROSECONDS:
                self._tidy(now)
            known = self._counters
            offers: list[tuple[Counter, Charge, int, int]] = []
            for charge in charges:
                counter = known.get(charge.counter)
                if counter is None:
                    if self._is_unsown(charge):
                        return None
                    counter = self._add(charge, now, date)
                offered = counter.offer(charge, now)
                if offered is None:
                    wait = counter.retry_after(charge, now, date)
                    return Verdict(False, self._states(charges, now, date), len(offers), wait)
                offers.append((counter, charge, offered, now))
            held = self._held.setdefault(call, {})
            states: list[State] = []
            for offer in offers:
                counter, charge, offered, _ = offer
                held[charge.counter] = offer
                states.append(counter.take(charge, offered, now, date))
        return Verdict(True, states)

    def settle(self, call: str, settlements: Sequence[Settlement]) -> None:
        """See LimitStore.settle()."""
        now = round(self._clock() * MICROSECONDS)
        with self._lock:
            held = self._held.get(call)
            if held is None:
                return
            for each in settlements:
                found = held.pop(each.charge.counter, None)
                if found is not None:
                    counter, taken, offered, _ = found
                    counter.settle(taken, each.actual, offered, now)
            if not held:
                del self._held[call]

    async def states(self, charges: Sequence[Charge]) -> Sequence[State]:
        """See LimitStore.states()."""
        await self._sow(charges)
        now, date = round(self._clock() * MICROSECONDS), self._calendar()
        with self._lock:
            return [(self._counters.get(charge.counter) or Counter(now)).state(charge, now, date) for charge in charges]

    async def flush(self) -> None:
        """See LimitStore.flush()."""

    async def aclose(self) -> None:
        """See LimitStore.aclose()."""

    def _states(self, charges: Sequence[Charge], now: int, date: float) -> list[State]:
        return [(self._counters.get(charge.counter) or Counter(now)).state(charge, now, date) for charge in charges]

    def _add(self, charge: Charge, now: int, date: float) -> Counter:
        useless_at = None
        if charge.ends_at:
            useless_at = now + round((max(0.0, charge.ends_at - date) + SLACK) * MICROSECONDS)
        added = self._counters[charge.counter] = Counter(now, useless_at)
        return added

    def _is_unsown(self, charge: Charge) -> bool:
        """Whether a counter has to be told what was spent before: one of a period that has not begun."""
        return self._sower is not None and charge.algorithm is Algorithm.QUOTA and charge.counter not in self._counters

    async def _sow(self, charges: Sequence[Charge]) -> None:
        """Begin counters with what was spent before, as far as that can be known soon."""
        unsown = [charge for charge in charges if self._is_unsown(charge)]
        if unsown:
            assert self._sower is not None
            await self._sower.sow(unsown)
            for charge in unsown:
                self._add_spent(charge, 0)

    def _add_spent(self, charge: Charge, spent: int) -> None:
        now, date = round(self._clock() * MICROSECONDS), self._calendar()
        with self._lock:
            counter = self._counters.get(charge.counter) or self._add(charge, now, date)
            counter.spent += spent

    def _tidy(self, now: int) -> None:
        """Forget what is of no use any more. Few counters are left as they are, and many are only gone through when
        they have doubled: what it costs is spread over those that were added."""
        self._tidied_at = now
        self._expire(now)
        if len(self._counters) < self._most:
            return
        for name in [name for name, counter in self._counters.items() if self._is_useless(counter, now)]:
            del self._counters[name]
        self._most = max(FEW, 2 * len(self._counters))

    def _is_useless(self, counter: Counter, now: int) -> bool:
        if counter.is_useless(now):
            return True
        is_forgettable = self._sower is not None and counter.useless_at is None and not counter.reserved
        return is_forgettable and now - counter.touched_at > UNTOUCHED * MICROSECONDS

    def _expire(self, now: int) -> None:
        """Free the slots of calls that were forgotten. Much later the rest of what they took is settled as it was."""
        for call in _older(self._held, now - LONGEST_CALL * MICROSECONDS):
            held = self._held[call]
            for name, (counter, charge, offered, since) in list(held.items()):
                is_forgotten = now - since > 2 * LONGEST_CALL * MICROSECONDS
                if is_forgotten or charge.algorithm is Algorithm.CONCURRENCY:
                    counter.settle(charge, charge.amount, offered, now)
                    del held[name]
            if not held:
                del self._held[call]


def _older(calls: dict[str, Held], limit: int) -> list[str]:
    """List the calls that began before a time: the first ones, for they are in the order in which they came."""
    return list(itertools.takewhile(lambda call: next(iter(calls[call].values()))[3] < limit, calls))
