"""The arithmetic of rates: GCRA, in whole microseconds.

GCRA is the generic cell rate algorithm (ATM Forum, Traffic Management Specification 4.0, 4.4.2): one number for a
counter, its theoretical arrival time. Each charge moves it on by the time in which so much flows back; it may be at
most a window ahead of now. So a window's worth can be taken at once, and no more than flows back after that, wherever a
window begins.

What a charge takes is rounded down, by less than a microsecond: a ceiling that does not divide its window is reached.
"""

from __future__ import annotations

from ai_gateway.charges import Charge, State

MICROSECONDS = 1_000_000


def cost(charge: Charge, amount: int) -> int:
    """Tell in which time so much flows back, in microseconds. A ceiling of 0, where nothing does, is taken for 1."""
    return amount * int(charge.window * MICROSECONDS) // (charge.ceiling or 1)


def latest(charge: Charge, now: int) -> int:
    """Tell the latest arrival time that a counter may have now to admit a charge. One of more than the ceiling is
    admitted if nothing else is taken: it would never be else."""
    window = int(charge.window * MICROSECONDS)
    return now + window - min(cost(charge, charge.amount), window)


def taken(charge: Charge, arrival: int, now: int) -> int | None:
    """Give the arrival time of a counter after a charge. None: there is no room for it."""
    ceiling, window = charge.ceiling, int(charge.window * MICROSECONDS)
    moved = charge.amount * window // (ceiling or 1)
    begin = arrival if arrival > now else now
    if not charge.is_soft and (not ceiling or begin - now + (moved if moved < window else window) > window):
        return None
    return begin + moved


def correction(charge: Charge, actual: int, taken_until: int, now: int) -> int:
    """Tell by how much settling a charge moves the arrival time, which it had moved to `taken_until`.

    What was not used comes back as far as it has not flowed back by itself since: else it would come back twice.
    """
    moved = cost(charge, actual) - cost(charge, charge.amount)
    return moved if moved >= 0 else -min(-moved, max(0, taken_until - now))


def retry_after(charge: Charge, arrival: int, now: int) -> float:
    """Tell in how many seconds a refused charge would be admitted; for a ceiling of 0 a window, though it never is."""
    if not charge.ceiling:
        return charge.window
    return max(0, arrival - latest(charge, now)) / MICROSECONDS


def state(charge: Charge, arrival: int, now: int) -> State:
    """Tell where a counter stands."""
    ceiling = charge.ceiling
    if arrival <= now:
        return State(0, ceiling, 0.0)
    ahead = arrival - now
    used = -(-ahead * ceiling // int(charge.window * MICROSECONDS))
    return State(used, ceiling - used if used < ceiling else 0, ahead / MICROSECONDS)
