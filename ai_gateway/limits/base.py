"""What a store of limits must do. The backends are interchangeable, and one suite of tests holds for all of them.

What is never settled, because the process died, expires: after its time it counts as spent as it was reserved.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ai_gateway.charges import Charges, Counter, States, Verdict


class StoreUnavailable(Exception):
    """The store does not answer. The message is for the operator."""


class Uncountable(StoreUnavailable):
    """The store answers, but what it was asked it cannot count. That concerns nobody else."""


class LimitStore(ABC):
    """Keeps counters."""

    is_seeded: ClassVar[bool] = False
    """Whether it forgets, and takes the option `seed`: what tells how much was spent of a counter that it has not."""

    @classmethod  # noqa: B027 - most have nothing to check.
    def check(cls, options: Mapping[str, Any]) -> None:
        """Raise ValueError, saying why, if it cannot count with these options (`OPTIONS`), whatever answers it."""

    def admit_now(self, charges: Charges) -> Verdict | None:
        """Take all charges of a call, or none, if that takes no waiting. None: it does, and nothing was taken."""
        return None

    @abstractmethod
    async def admit(self, charges: Charges, ttl: float) -> Verdict:
        """Take all charges of a call, or none. The name of the call is that of the reservation, and `ttl` is after how
        many seconds it expires if this process is dead by then: the store keeps those of calls under way from it.

        The counters come in the same order in every process. A call may be admitted more than once, for other counters,
        or for those that it has settled. One that is cancelled while it waits has taken nothing: what was taken for it
        all the same, the store gives back. Raises StoreUnavailable.
        """

    @abstractmethod
    def settle(self, charges: Charges, used: Sequence[int]) -> None:
        """Put what was used of each counter in place of what was taken: all that the call took, or a part of it. Waits
        for nothing: a store that is elsewhere does it soon.

        Idempotent: what was settled is not settled again. What had expired is corrected by the difference.
        """

    @abstractmethod
    async def states(self, counters: Sequence[Counter]) -> States:
        """Tell where counters stand, and take nothing. Raises StoreUnavailable."""

    @abstractmethod
    async def flush(self) -> None:
        """Wait until what was settled is."""

    @abstractmethod
    async def aclose(self) -> None:
        """Flush, and close what is open. The store can be used again after that."""
