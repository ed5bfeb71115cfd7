"""How much is left of a caller's budgets, as far as this process has heard? For routes that go by it (`conditions.py`).

To know it for certain takes a question to where limits are counted, and no call is to wait for that. But whenever a
call is admitted, the store tells where its limits stand. What it told of the last call of a caller is remembered here:
what that call and those under way have reserved counts as used, and calls that other processes serve are in it, too. A
caller that was not heard of has all of its budgets, and so has one whose period has begun anew.

Nothing is remembered before somebody has asked: most sites never do.
"""

from __future__ import annotations

import time
from collections.abc import Hashable

from ai_gateway.calls import Caller

REMEMBERED = 10_000
"""Callers that are remembered."""

_left: dict[Hashable, tuple[float, float]] = {}
"""What is left, in percent, and until when that holds (seconds since 1970), by caller."""

is_asked = False
"""Whether anybody wants to know."""


def left(caller: Caller) -> float:
    """Tell how many percent are left of the budget of a caller that has the least left."""
    global is_asked
    is_asked = True
    percent, until = _left.get(_name(caller), (100.0, 0.0))
    return percent if time.time() < until else 100.0


def note(caller: Caller, percent: float, until: float) -> None:
    """Remember how many percent are left of the budget of a caller that has the least left, until its period ends."""
    name = _name(caller)
    if name not in _left and len(_left) >= REMEMBERED:
        del _left[next(iter(_left))]
    _left[name] = (percent, until)


def forget() -> None:
    """Forget everything, and that somebody asked."""
    global is_asked
    is_asked = False
    _left.clear()


def _name(caller: Caller) -> Hashable:
    return caller.key_id, caller.key_name, caller.user_id, caller.group_id
