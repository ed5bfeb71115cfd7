"""How long the tests try that leave something to chance: with random examples, at random moments.

With `GATEWAY_EFFORT=10` they try ten times as much as in an ordinary run, which takes longer and finds more.
"""

from __future__ import annotations

import os

EFFORT = float(os.environ.get("GATEWAY_EFFORT", "1"))


def times(count: int) -> int:
    """How often to try what an ordinary run tries so often."""
    return max(1, round(count * EFFORT))


EXAMPLES = times(50)
"""How many examples a property is tried with, unless its test says otherwise."""

KILL_ROUNDS = int(os.environ.get("GATEWAY_KILL_ROUNDS", times(3)))
"""How often a process is killed in one test."""
