"""How often, and after what wait, is a call tried again?

Another target is asked at once. The same targets are asked again only if `RETRIES` says so: the callers' SDKs repeat
calls of their own accord, and two who repeat multiply. Waits are random up to a bound that doubles each time ("full
jitter", Amazon's Architecture Blog, 2015), and never shorter than the provider asks for; who asks for longer than
`max_wait` is passed on to the caller, with its `retry-after`.

Repetitions have a budget: at most `percent` of the calls under way, and `least` in any case, so that a provider that
fails gets hardly more calls for it (Envoy's retry budget, with the same defaults).
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ai_gateway.failures import Failure, Phase

FIRST_WAIT = 0.25
LONGEST_WAIT = 8.0
"""Seconds between which the bound of the random wait doubles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """What `AI_GATEWAY["RETRIES"]` says."""

    attempts: int = 5
    """How often a call is tried at most, wherever."""
    rounds: int = 1
    """How often each target is asked at most."""
    ambiguous: bool = False
    """Whether a call goes elsewhere, or again, of which nobody knows whether the provider did the work."""
    max_wait: float = 10.0
    """Seconds that a call waits at most for a provider that asks for it."""
    percent: int = 20
    least: int = 3

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> RetryPolicy:
        """Read an entry of the settings. Raises TypeError for an unknown name."""
        return cls(**entry)

    def is_worth_it(self, failure: Failure) -> bool:
        """Whether somebody else may take a call that failed so."""
        return failure.phase is not Phase.FINAL and (failure.phase is not Phase.AMBIGUOUS or self.ambiguous)

    def is_repeatable(self, failure: Failure) -> bool:
        """Whether the same target may be asked again."""
        return failure.phase is not Phase.UNSUITABLE and failure.status != 401 and self.is_worth_it(failure)

    def wait(self, failure: Failure, number: int) -> float | None:
        """Give the seconds to wait before the repetition of this number, from 1 on; None if that is too long."""
        asked = failure.retry_after or 0.0
        if asked > self.max_wait:
            return None
        bound = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (number - 1))
        return max(asked, random.uniform(0, bound))


class Budget:
    """How many repetitions are under way beside how many calls, in this process."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin with nothing; in a forked process as well, which has none of its parent's calls."""
        self.calls = 0
        self.repetitions = 0

    def allows(self, policy: RetryPolicy) -> bool:
        """Whether one repetition more may begin."""
        return self.repetitions < max(policy.least, self.calls * policy.percent // 100)


budget = Budget()

os.register_at_fork(after_in_child=budget.begin)
