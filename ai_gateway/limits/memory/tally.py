"""What one counter in memory has counted: a class for each way of counting.

A charge moves the *mark* of a tally: the theoretical arrival time of a rate, what is used of all else. Where a counter
stands is worked out from a mark when somebody asks for it, and most calls want to know it of few of their limits. Here
`now` is in microseconds of any clock, and `date` in seconds since 1970.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import msgspec

from ai_gateway.charges import Algorithm, Counter, State
from ai_gateway.limits import gcra

RATE = Algorithm.RATE


class Tally(ABC):
    """Where one counter stands."""

    __slots__ = ("mark", "touched_at", "useless_at")

    def __init__(self, now: int, useless_at: int | None = None) -> None:
        self.mark = 0
        self.touched_at = now
        self.useless_at = useless_at

    @abstractmethod
    def take(self, counter: Counter, amount: int, now: int) -> int | None:
        """Take so much, and give the mark that it led to. None: there is no room for it."""

    @abstractmethod
    def give_back(self, counter: Counter, amount: int) -> None:
        """Take back a charge that was taken just now: its call is refused by another counter."""

    @abstractmethod
    def settle(self, counter: Counter, amount: int, used: int, mark: int, now: int) -> None:
        """Put what was used in place of what was taken, which had led to that mark."""

    def retry_after(self, counter: Counter, amount: int, now: int, date: float) -> float | None:
        """Tell in how many seconds there is room for so much that was refused; None if nobody knows."""
        return None

    @abstractmethod
    def is_open(self) -> bool:
        """Whether anything that was taken is to be settled still, and would be missed."""

    @abstractmethod
    def is_useless(self, now: int) -> bool:
        """Whether a new one would say the same, or nobody will ask: its period is over."""


class RateTally(Tally):
    """Counts what flows back."""

    __slots__ = ("_before",)

    def __init__(self, now: int, useless_at: int | None = None) -> None:
        super().__init__(now, useless_at)
        self.mark = self._before = now

    def take(self, counter: Counter, amount: int, now: int) -> int | None:
        """See Tally.take()."""
        window = counter.window * gcra.MICROSECONDS
        moved = amount * window // (counter.ceiling or 1)  # As gcra.cost(); to call it costs as much as all this.
        if moved > window:
            moved = gcra.cost(counter, amount)
        mark = self.mark
        begin = mark if mark > now else now
        is_full = begin - now + (moved if moved < window else window) > window or not counter.ceiling
        if is_full and not counter.is_soft:
            return None
        self._before, self.mark, self.touched_at = mark, begin + moved, now
        return begin + moved

    def give_back(self, counter: Counter, amount: int) -> None:
        """See Tally.give_back(). What was owed lately is owed from the same time on as before."""
        self.mark = self._before

    def settle(self, counter: Counter, amount: int, used: int, mark: int, now: int) -> None:
        """See Tally.settle()."""
        self.touched_at = now
        if used != amount:
            self.mark += gcra.correction(counter, amount, used, mark, now)

    def retry_after(self, counter: Counter, amount: int, now: int, date: float) -> float | None:
        """See Tally.retry_after()."""
        return gcra.retry_after(counter, amount, self.mark, now)

    def is_open(self) -> bool:
        """See Tally.is_open(). A rate forgets by itself."""
        return False

    def is_useless(self, now: int) -> bool:
        """See Tally.is_useless()."""
        return self.mark <= now


class QuotaTally(Tally):
    """Counts what was spent, and what is reserved."""

    __slots__ = ("reserved",)

    def __init__(self, now: int, useless_at: int | None = None) -> None:
        super().__init__(now, useless_at)
        self.reserved = 0

    def take(self, counter: Counter, amount: int, now: int) -> int | None:
        """See Tally.take()."""
        mark = self.mark + amount
        if mark > counter.ceiling and not counter.is_soft:
            return None
        self.mark = mark
        self.reserved += amount
        self.touched_at = now
        return mark

    def give_back(self, counter: Counter, amount: int) -> None:
        """See Tally.give_back()."""
        self.mark -= amount
        self.reserved -= amount

    def settle(self, counter: Counter, amount: int, used: int, mark: int, now: int) -> None:
        """See Tally.settle()."""
        self.mark += used - amount
        self.reserved -= amount
        self.touched_at = now

    def retry_after(self, counter: Counter, amount: int, now: int, date: float) -> float | None:
        """See Tally.retry_after()."""
        return max(0.0, counter.ends_at - date) if counter.ends_at else None

    def is_open(self) -> bool:
        """See Tally.is_open()."""
        return self.reserved > 0

    def is_useless(self, now: int) -> bool:
        """See Tally.is_useless()."""
        if self.reserved:
            return False
        return now >= self.useless_at if self.useless_at is not None else not self.mark


class SlotTally(Tally):
    """Counts the charges that are open."""

    __slots__ = ()

    def take(self, counter: Counter, amount: int, now: int) -> int | None:
        """See Tally.take()."""
        mark = self.mark + amount
        if mark > counter.ceiling and not counter.is_soft:
            return None
        self.mark, self.touched_at = mark, now
        return mark

    def give_back(self, counter: Counter, amount: int) -> None:
        """See Tally.give_back()."""
        self.mark -= amount

    def settle(self, counter: Counter, amount: int, used: int, mark: int, now: int) -> None:
        """See Tally.settle(). Whatever the call used, its slot is free again."""
        self.mark -= amount
        self.touched_at = now

    def is_open(self) -> bool:
        """See Tally.is_open()."""
        return self.mark > 0

    def is_useless(self, now: int) -> bool:
        """See Tally.is_useless()."""
        return not self.mark


TALLIES: dict[Algorithm, type[Tally]] = {
    Algorithm.RATE: RateTally,
    Algorithm.QUOTA: QuotaTally,
    Algorithm.CONCURRENCY: SlotTally,
}
"""By how a counter counts."""


def tally_of(counter: Counter, now: int, useless_at: int | None = None) -> Tally:
    """Begin what a counter counts."""
    return TALLIES[counter.algorithm](now, useless_at)


class MarkedStates(msgspec.Struct, frozen=True):
    """Where counters stood at one moment, by the marks that their tallies had then. Each state is made when it is asked
    for."""

    counters: Sequence[Counter]
    marks: Sequence[int]
    now: int
    date: float

    def __getitem__(self, place: int) -> State:
        counter, mark = self.counters[place], self.marks[place]
        if counter.algorithm is RATE:
            return gcra.state(counter, mark, self.now)
        left, resets_in = counter.ceiling - mark, counter.ends_at - self.date
        return State(mark, left if left > 0 else 0, resets_in if resets_in > 0 else 0.0)

    def __len__(self) -> int:
        return len(self.marks)

    def __iter__(self) -> Iterator[State]:
        return map(self.__getitem__, range(len(self.marks)))
