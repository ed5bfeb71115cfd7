"""A naive store of limits, to compare the real ones with: it remembers every call and counts anew each time.

Rates are in whole seconds: ceilings must divide 60, and the clock moves by seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ai_gateway.charges import Algorithm
from tests.limits.charging import Charge


@dataclass
class Taking:
    """A charge of a call, and what became of it. `store` is who holds it."""

    call: str
    charge: Charge
    store: int
    expires_at: float
    until: int = 0
    actual: int | None = None
    is_expired: bool = False

    @property
    def used(self) -> int:
        return self.charge.amount if self.actual is None else self.actual

    @property
    def is_open(self) -> bool:
        return self.actual is None and not self.is_expired


@dataclass
class Model:
    """All takings, and the buckets of rates, which are levels that sink by the second."""

    now: int = 0
    takings: list[Taking] = field(default_factory=list)
    levels: dict[str, int] = field(default_factory=dict)

    def advance(self, seconds: int) -> None:
        self.now += seconds
        self.levels = {name: level - seconds for name, level in self.levels.items()}

    def expire(self) -> None:
        """Let go what the dead hold."""
        for taking in self.takings:
            if taking.is_open and self.now > taking.expires_at:
                taking.is_expired = True

    def used(self, charge: Charge) -> int:
        """How much of a counter is used, in its unit."""
        if charge.counter.algorithm is Algorithm.RATE:
            return -(-max(0, self.levels.get(charge.counter.name, 0)) * charge.counter.ceiling // 60)
        of_it = [taking for taking in self.takings if taking.charge.counter.name == charge.counter.name]
        if charge.counter.algorithm is Algorithm.CONCURRENCY:
            return sum(taking.is_open for taking in of_it)
        return sum(taking.used for taking in of_it)

    def refused(self, charges: Sequence[Charge]) -> int | None:
        """Which charge there is no room for; None if there is for all."""
        for place, charge in enumerate(charges):
            is_alone = charge.counter.algorithm is Algorithm.RATE and self.used(charge) == 0
            if self.used(charge) + charge.amount > charge.counter.ceiling and not is_alone:
                return place
        return None

    def take(self, call: str, charges: Sequence[Charge], store: int, ttl: float) -> None:
        for charge in charges:
            taking = Taking(call, charge, store, self.now + ttl)
            if charge.counter.algorithm is Algorithm.RATE:
                level = max(0, self.levels.get(charge.counter.name, 0)) + self._seconds(charge, charge.amount)
                self.levels[charge.counter.name] = level
                taking.until = self.now + level
            self.takings.append(taking)

    def settle(self, taking: Taking, actual: int) -> None:
        taking.actual = actual
        charge = taking.charge
        if charge.counter.algorithm is Algorithm.RATE:
            back = self._seconds(charge, charge.amount - actual)
            self.levels[charge.counter.name] -= min(back, max(0, taking.until - self.now))

    @staticmethod
    def _seconds(charge: Charge, amount: int) -> int:
        return amount * 60 // charge.counter.ceiling
