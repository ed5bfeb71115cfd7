"""The arithmetic of rates: GCRA, in whole microseconds.

GCRA is the generic cell rate algorithm (ATM Forum, Traffic Management Specification 4.0, 4.4.2): one number for a
counter, its theoretical arrival time. Each charge moves it on by the time in which so much flows back; it may be at
most a window ahead of now. So a window's worth can be taken at once, and no more than flows back after that, wherever a
window begins.

What a charge takes is rounded down, by less than a microsecond: a ceiling that does not divide its window is reached.
No charge takes more than MOST_WINDOWS: whoever asks for a million times the ceiling takes no rate away for years.
"""

from __future__ import annotations

from ai_gateway.charges import Counter, State

MICROSECONDS = 1_000_000

MOST_WINDOWS = 24 * 60
"""For so many windows a charge is a debt at most: with a minute, for a day."""


def cost(counter: Counter, amount: int) -> int:
    """Tell in which time so much flows back, in microseconds. A ceiling of 0, where nothing does, is taken for 1."""
    window = counter.window * MICROSECONDS
    moved = amount * window // (counter.ceiling or 1)
    return moved if moved <= window else min(moved, MOST_WINDOWS * window)


def latest(counter: Counter, amount: int, now: int) -> int:
    """Tell the latest arrival time that a counter may have now to admit so much. More than the ceiling is admitted if
    nothing else is taken: it would never be else. A ceiling of 0 admits nothing."""
    window = counter.window * MICROSECONDS
    return now + window - min(cost(counter, amount), window) if counter.ceiling else -1


def correction(counter: Counter, amount: int, actual: int, taken_until: int, now: int) -> int:
    """Tell by how much the arrival time moves when a charge is settled, which had moved it to `taken_until`.

    What was not used comes back as far as it has not flowed back by itself since: else it would come back twice.
    """
    moved = cost(counter, actual) - cost(counter, amount)
    if moved >= 0:
        return moved
    if taken_until <= now:
        return 0
    return moved if moved > now - taken_until else now - taken_until


def retry_after(counter: Counter, amount: int, arrival: int, now: int) -> float:
    """Tell in how many seconds a refused charge would be admitted; for a ceiling of 0 a window, though it never is."""
    if not counter.ceiling:
        return counter.window
    return max(0, arrival - latest(counter, amount, now)) / MICROSECONDS


def state(counter: Counter, arrival: int, now: int) -> State:
    """Tell where a counter stands."""
    ceiling = counter.ceiling
    if arrival <= now:
        return State(0, ceiling, 0.0)
    ahead = arrival - now
    used = -(-ahead * ceiling // (counter.window * MICROSECONDS))
    return State(used, ceiling - used if used < ceiling else 0, ahead / MICROSECONDS)
