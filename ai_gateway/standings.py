"""Where do limits stand? How much is used of them, how much is left, and when do they begin anew.

The store is asked and nothing is taken. What calls under way have reserved counts as used.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ai_gateway.allowances import Due, LimitRule
from ai_gateway.charges import Algorithm
from ai_gateway.limits import LimitStore
from ai_gateway.money import exact, rounded


class Standing(NamedTuple):
    """Where a limit stands for somebody. The amounts are in requests, tokens, calls or nano-dollars; `resets_in` is in
    seconds, None for a limit that never begins anew."""

    rule: LimitRule
    subject: str
    used: int
    resets_in: float | None

    @property
    def left(self) -> int:
        """How much can be used still."""
        return max(self.rule.amount - self.used, 0)

    @property
    def percent(self) -> int:
        """How much of it is used: 100 is all of it, and more is not shown."""
        if self.rule.amount == 0:
            return 100
        return min(self.used * 100 // self.rule.amount, 100)

    def document(self, now: float) -> dict[str, Any]:
        """Write it for a program, at a time in seconds since 1970. Money is in dollars, exact, and so a string."""
        rule = self.rule
        write = exact if rule.measure == "cost" else int
        resets_at = None if self.resets_in is None else datetime.fromtimestamp(now + self.resets_in, UTC)
        return {
            "name": rule.name,
            "scope": rule.scope,
            "measure": rule.measure,
            "window": rule.window or None,
            "limit": write(rule.amount),
            "used": write(self.used),
            "left": write(self.left),
            "resets_at": resets_at.isoformat(timespec="seconds").replace("+00:00", "Z") if resets_at else None,
            "resets_in": None if self.resets_in is None else round(self.resets_in, 3),
            "warns_only": rule.is_soft,
        }


def amount(rule: LimitRule, value: int) -> str:
    """Write an amount of what a rule measures, for people."""
    return rounded(value) if rule.measure == "cost" else f"{value:,}"


async def standings(dues: Sequence[Due], store: LimitStore, now: float) -> list[Standing]:
    """Ask the store where limits stand, at a time in seconds since 1970. Raises StoreUnavailable."""
    if not dues:
        return []
    counters = [due.counter(now) for due in dues]
    states = await store.states(counters)
    found = []
    for due, counter, state in zip(dues, counters, states, strict=True):
        resets_in: float | None = state.resets_in
        if counter.algorithm is Algorithm.QUOTA:
            resets_in = counter.ends_at - now if counter.ends_at else None
        found.append(Standing(due.rule, due.subject, state.used, resets_in))
    return found
