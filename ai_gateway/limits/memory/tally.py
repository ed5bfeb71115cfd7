"""What one counter in memory has counted, whatever it counts."""

from __future__ import annotations

from ai_gateway.charges import Algorithm, Counter, State
from ai_gateway.limits import gcra

RATE, QUOTA = Algorithm.RATE, Algorithm.QUOTA


class Tally:
    """Where one counter stands. `now` is in microseconds of any clock, `date` in seconds since 1970."""

    __slots__ = ("arrival", "reserved", "spent", "touched_at", "useless_at")

    def __init__(self, now: int, useless_at: int | None = None) -> None:
        self.arrival = now
        self.spent = 0
        self.reserved = 0
        self.touched_at = now
        self.useless_at = useless_at

    def take(self, counter: Counter, amount: int, now: int, date: float) -> State | None:
        """Take so much, and tell where the counter stands then. None: there is no room for it."""
        if counter.algorithm is RATE:
            arrival = gcra.taken(counter, amount, self.arrival, now)
            if arrival is None:
                return None
            state = gcra.state(counter, arrival, now)  # First: if it fails, nothing was taken.
            self.arrival, self.touched_at = arrival, now
            return state
        if self.spent + self.reserved + amount > counter.ceiling and not counter.is_soft:
            return None
        self.reserved += amount
        self.touched_at = now
        return self.state(counter, now, date)

    def give_back(self, counter: Counter, amount: int) -> None:
        """Take back a charge that was taken just now: its call is refused by another counter."""
        if counter.algorithm is RATE:
            self.arrival -= gcra.cost(counter, amount)
        else:
            self.reserved -= amount

    def settle(self, counter: Counter, amount: int, used: int, taken_until: int, now: int) -> None:
        """Put what was used in place of what was taken, which had led to that arrival time."""
        self.touched_at = now
        if counter.algorithm is RATE:
            if used != amount:
                self.arrival += gcra.correction(counter, amount, used, taken_until, now)
            return
        self.reserved -= amount
        if counter.algorithm is QUOTA:
            self.spent += used

    def state(self, counter: Counter, now: int, date: float) -> State:
        """Tell where it stands."""
        if counter.algorithm is RATE:
            return gcra.state(counter, self.arrival, now)
        used, ceiling, ends_at = self.spent + self.reserved, counter.ceiling, counter.ends_at
        return State(used, ceiling - used if used < ceiling else 0, ends_at - date if ends_at > date else 0.0)

    def retry_after(self, counter: Counter, amount: int, now: int, date: float) -> float | None:
        """Tell in how many seconds there is room for so much that was refused; None if nobody knows."""
        if counter.algorithm is RATE:
            return gcra.retry_after(counter, amount, self.arrival, now)
        return max(0.0, counter.ends_at - date) if counter.ends_at else None

    def is_useless(self, now: int) -> bool:
        """Whether a new one would say the same, or nobody will ask: its period is over."""
        if self.reserved:
            return False
        if self.useless_at is not None:
            return now >= self.useless_at
        return not self.spent and self.arrival <= now
