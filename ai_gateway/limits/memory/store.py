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
from collections.abc import Callable, Mapping, Sequence

from ai_gateway.charges import Algorithm, Charges, Counter, States, Verdict
from ai_gateway.limits.base import LimitStore
from ai_gateway.limits.gcra import MICROSECONDS
from ai_gateway.limits.memory.tally import MarkedStates, Tally, tally_of
from ai_gateway.limits.sowing import SeedSince, Sower

LONGEST_CALL = 6 * 3600
"""Seconds after which a call is taken for one that was forgotten."""

SLACK = 2 * 3600
"""Seconds for which the counter of a period is kept after it: clocks are set, and calls outlive their periods."""

UNTOUCHED = 24 * 3600
"""Seconds after which a counter without a period that can be sown again is forgotten."""

TIDY = 60
"""Seconds between two looks for what is not needed any more."""

HEAD_START = 1.0
"""Seconds before which a call has its id at most when it asks its limits."""

FEW = 1000
"""Counters that are not worth a look."""


Taken = tuple[Tally, Counter, int, int, int]
"""A charge that is open: in which tally, of which counter, how much, the mark that it led to, and when it was taken."""


class MemoryStore(LimitStore):
    """Counters in this process.

    `seed` tells what was spent before. `clock` is for rates, in nanoseconds, and `calendar` says how long a period
    lasts, in seconds since 1970.
    """

    def __init__(
        self,
        seed: SeedSince | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        calendar: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._calendar = calendar
        self._lock = threading.Lock()
        self._tallies: dict[str, Tally] = {}
        self._held: dict[str, dict[str, Taken]] = {}
        self._tidied_at = self._clock() // 1000
        self._most = FEW
        self._unsown_since: dict[str, float] = {}
        self._sower = Sower(seed, self._is_unsown, self._add_spent, self._begun_at) if seed is not None else None

    @property
    def is_idle(self) -> bool:
        """Whether no call holds anything."""
        return not self._held

    def admit_now(self, charges: Charges) -> Verdict | None:
        """See LimitStore.admit_now(): only a counter that has to be sown is waited for."""
        now, date = self._clock() // 1000, self._calendar()
        counters, tallies = charges.counters, self._tallies
        with self._lock:
            if now - self._tidied_at > TIDY * MICROSECONDS:
                self._tidy(now)
            taken: dict[str, Taken] = {}
            marks: list[int] = []
            for counter, amount in zip(counters, charges.amounts, strict=True):
                name = counter.name
                tally = tallies[name] if name in tallies else self._begun(counter, now, date)
                mark = tally.take(counter, amount, now) if tally is not None else None
                if tally is None or mark is None:
                    self._give_back(taken)
                    if tally is None:
                        return None
                    wait = tally.retry_after(counter, amount, now, date)
                    return Verdict(False, self._states(counters, now, date), len(taken), wait)
                marks.append(mark)
                taken[name] = (tally, counter, amount, mark, now)
            if charges.call in self._held:
                self._held[charges.call] |= taken
            elif taken:
                self._held[charges.call] = taken
            return Verdict(True, MarkedStates(counters, marks, now, date))

    async def admit(self, charges: Charges, ttl: float) -> Verdict:
        """See LimitStore.admit(). The time after which a reservation expires is this store's own."""
        while True:
            verdict = self.admit_now(charges)
            if verdict is not None:
                return verdict
            await self._sow(charges.counters)

    def settle(self, charges: Charges, used: Sequence[int]) -> None:
        """See LimitStore.settle()."""
        now = self._clock() // 1000
        with self._lock:
            if charges.call not in self._held:
                return
            held = self._held[charges.call]
            for counter, actual in zip(charges.counters, used, strict=True):
                name = counter.name
                if name in held:
                    tally, _, amount, mark, _ = held[name]
                    del held[name]
                    tally.settle(counter, amount, actual, mark, now)
            if not held:
                del self._held[charges.call]

    async def states(self, counters: Sequence[Counter]) -> States:
        """See LimitStore.states()."""
        await self._sow(counters)
        now, date = self._clock() // 1000, self._calendar()
        with self._lock:
            return self._states(counters, now, date)

    async def flush(self) -> None:
        """See LimitStore.flush()."""

    async def aclose(self) -> None:
        """See LimitStore.aclose()."""

    def _states(self, counters: Sequence[Counter], now: int, date: float) -> States:
        tallies = [self._tallies.get(counter.name) or tally_of(counter, now) for counter in counters]
        return MarkedStates(counters, [tally.mark for tally in tallies], now, date)

    def _begun(self, counter: Counter, now: int, date: float) -> Tally | None:
        """Begin a counter. None: it has to be sown first."""
        return None if self._is_unsown(counter) else self._add(counter, now, date)

    def _add(self, counter: Counter, now: int, date: float) -> Tally:
        useless_at = None
        if counter.ends_at:
            useless_at = now + round((max(0.0, counter.ends_at - date) + SLACK) * MICROSECONDS)
        added = self._tallies[counter.name] = tally_of(counter, now, useless_at)
        return added

    @staticmethod
    def _give_back(taken: Mapping[str, Taken]) -> None:
        for tally, counter, amount, _, _ in taken.values():
            tally.give_back(counter, amount)

    def _is_unsown(self, counter: Counter) -> bool:
        """Whether a counter has to be told what was spent before: one of a period that has not begun."""
        return self._sower is not None and counter.algorithm is Algorithm.QUOTA and counter.name not in self._tallies

    async def _sow(self, counters: Sequence[Counter]) -> None:
        """Begin counters with what was spent before, as far as that can be known soon."""
        unsown = [counter for counter in counters if self._is_unsown(counter)]
        if unsown:
            assert self._sower is not None
            asked_at = self._calendar()
            await self._sower.sow(unsown)
            for counter in unsown:
                self._begin_without(counter, asked_at - HEAD_START)

    def _begin_without(self, counter: Counter, began_at: float) -> None:
        """Begin a counter at 0 if its seed is late, and remember since when it counts."""
        now, date = self._clock() // 1000, self._calendar()
        with self._lock:
            if counter.name not in self._tallies:
                self._add(counter, now, date)
                self._unsown_since[counter.name] = began_at

    def _begun_at(self, counter: Counter) -> float | None:
        return self._unsown_since.get(counter.name)

    def _add_spent(self, counter: Counter, spent: int) -> None:
        now, date = self._clock() // 1000, self._calendar()
        with self._lock:
            tally = self._tallies.get(counter.name) or self._add(counter, now, date)
            tally.mark += spent
            self._unsown_since.pop(counter.name, None)

    def _tidy(self, now: int) -> None:
        """Forget what is of no use any more. Few counters are left as they are, and many are only gone through when
        they have doubled: what it costs is spread over those that were added."""
        self._tidied_at = now
        self._expire(now)
        if len(self._tallies) < self._most:
            return
        held = {id(taken[0]) for charges in self._held.values() for taken in charges.values()}
        for name, tally in list(self._tallies.items()):
            if id(tally) not in held and self._is_useless(tally, now):
                del self._tallies[name]
        self._most = max(FEW, 2 * len(self._tallies))

    def _is_useless(self, tally: Tally, now: int) -> bool:
        if tally.is_useless(now):
            return True
        is_forgettable = self._sower is not None and tally.useless_at is None and not tally.is_open()
        return is_forgettable and now - tally.touched_at > UNTOUCHED * MICROSECONDS

    def _expire(self, now: int) -> None:
        """Free the slots of calls that were forgotten. Much later the rest of what they took is settled as it was."""
        for call in _older(self._held, now - LONGEST_CALL * MICROSECONDS):
            held = self._held[call]
            for name, (tally, counter, amount, mark, since) in list(held.items()):
                is_forgotten = now - since > 2 * LONGEST_CALL * MICROSECONDS
                if is_forgotten or counter.algorithm is Algorithm.CONCURRENCY:
                    tally.settle(counter, amount, amount, mark, now)
                    del held[name]
            if not held:
                del self._held[call]


def _older(calls: dict[str, dict[str, Taken]], limit: int) -> list[str]:
    """List the calls that began before a time: the first ones, for they are in the order in which they came."""
    return list(itertools.takewhile(lambda call: next(iter(calls[call].values()))[-1] < limit, calls))
