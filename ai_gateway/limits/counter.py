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

    def admits(self, charge: Charge, now: int) -> bool:
        """Whether there is room for a charge."""
        if charge.is_soft:
            return True
        if charge.algorithm is RATE:
            return charge.ceiling > 0 and self.arrival <= gcra.latest(charge, now)
        return self.spent + self.reserved + charge.amount <= charge.ceiling

    def retry_after(self, charge: Charge, now: int, date: float) -> float | None:
        """Tell in how many seconds there is room for a charge that was refused; None if nobody knows."""
        if charge.algorithm is RATE:
            return gcra.retry_after(charge, self.arrival, now)
        return max(0.0, charge.ends_at - date) if charge.ends_at else None

    def take(self, charge: Charge, now: int) -> int:
        """Take a charge. Gives the arrival time after it, which `settle` wants to know."""
        self.touched_at = now
        if charge.algorithm is RATE:
            self.arrival = max(self.arrival, now) + gcra.cost(charge, charge.amount)
        else:
            self.reserved += charge.amount
        return self.arrival

    def settle(self, charge: Charge, actual: int, taken_until: int, now: int) -> None:
        """Put what was used in place of a charge."""
        self.touched_at = now
        if charge.algorithm is RATE:
            self.arrival += gcra.correction(charge, actual, taken_until, now)
            return
        self.reserved -= charge.amount
        if charge.algorithm is QUOTA:
            self.spent += actual

    def state(self, charge: Charge, now: int, date: float) -> State:
        """Tell where it stands."""
        if charge.algorithm is RATE:
            return gcra.state(charge, self.arrival, now)
        used = self.spent + self.reserved
        remaining = charge.ceiling - used
        resets_in = charge.ends_at - date if charge.ends_at else 0.0
        return State(used, remaining if remaining > 0 else 0, resets_in if resets_in > 0 else 0.0)

    def is_useless(self, now: int) -> bool:
        """Whether a new one would say the same, or nobody will ask: its period is over."""
        if self.reserved:
            return False
        if self.useless_at is not None:
            return now >= self.useless_at
        return not self.spent and self.arrival <= now
