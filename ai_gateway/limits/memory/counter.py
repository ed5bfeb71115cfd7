"""One counter in memory, whatever it counts."""

from __future__ import annotations

from ai_gateway.charges import Algorithm, Charge, State
from ai_gateway.limits import gcra

RATE, QUOTA = Algorithm.RATE, Algorithm.QUOTA


class Counter:
    """Where one limit stands for one subject. `now` is in microseconds of any clock, `date` in seconds since 1970."""

    __slots__ = ("arrival", "reserved", "spent", "touched_at", "useless_at")

    def __init__(self, now: int, useless_at: int | None = None) -> None:
        self.arrival = now
        self.spent = 0
        self.reserved = 0
        self.touched_at = now
        self.useless_at = useless_at

    def offer(self, charge: Charge, now: int) -> int | None:
        """Tell where a charge would bring the counter: the arrival time of a rate, else what is reserved. None: there
        is no room for it."""
        if charge.algorithm is RATE:
            return gcra.taken(charge, self.arrival, now)
        reserved = self.reserved + charge.amount
        return reserved if self.spent + reserved <= charge.ceiling or charge.is_soft else None

    def take(self, charge: Charge, offered: int, now: int, date: float) -> State:
        """Take a charge, with what was offered for it. Tells where the counter stands then."""
        self.touched_at = now
        if charge.algorithm is RATE:
            self.arrival = offered
        else:
            self.reserved = offered
        return self.state(charge, now, date)

    def settle(self, charge: Charge, actual: int, offered: int, now: int) -> None:
        """Put what was used in place of a charge that was taken with what was offered for it."""
        self.touched_at = now
        if charge.algorithm is RATE:
            if actual != charge.amount:
                self.arrival += gcra.correction(charge, actual, offered, now)
            return
        self.reserved -= charge.amount
        if charge.algorithm is QUOTA:
            self.spent += actual

    def state(self, charge: Charge, now: int, date: float) -> State:
        """Tell where it stands."""
        if charge.algorithm is RATE:
            return gcra.state(charge, self.arrival, now)
        used, ceiling, ends_at = self.spent + self.reserved, charge.ceiling, charge.ends_at
        return State(used, ceiling - used if used < ceiling else 0, ends_at - date if ends_at > date else 0.0)

    def retry_after(self, charge: Charge, now: int, date: float) -> float | None:
        """Tell in how many seconds there is room for a charge that was refused; None if nobody knows."""
        if charge.algorithm is RATE:
            return gcra.retry_after(charge, self.arrival, now)
        return max(0.0, charge.ends_at - date) if charge.ends_at else None

    def is_useless(self, now: int) -> bool:
        """Whether a new one would say the same, or nobody will ask: its period is over."""
        if self.reserved:
            return False
        if self.useless_at is not None:
            return now >= self.useless_at
        return not self.spent and self.arrival <= now
