"""How long calls took, as counts that can be added up: histograms with fixed bounds, and percentiles read out of them.

The percentile of a month cannot be made of those of its days. Counts can be added: so a day keeps how many of its
calls fell between two bounds, and the percentile of any sum of days is interpolated between the two that it lies
between. Each bound is twice the one before: what is told is never off by more than that, and by less than a quarter as
a rule.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

DURATION_BOUNDS = tuple(50 * 2**power for power in range(12))
"""Milliseconds, from 50 to 102 400: the upper ends of all buckets but the last, which has none."""

FIRST_TOKEN_BOUNDS = tuple(25 * 2**power for power in range(12))
"""Milliseconds, from 25 to 51 200."""


def _names(what: str, bounds: Sequence[int]) -> tuple[str, ...]:
    return (*(f"{what}_to_{bound}" for bound in bounds), f"{what}_beyond")


DURATION = _names("duration", DURATION_BOUNDS)
"""The columns that count durations, one for each bucket."""

FIRST_TOKEN = _names("first_token", FIRST_TOKEN_BOUNDS)
"""The columns that count times to the first token."""

COLUMNS = (*DURATION, *FIRST_TOKEN)


def tally(values: Iterable[int], bounds: Sequence[int]) -> list[int]:
    """Count how many values fall into each bucket. A bound belongs to the bucket that it ends."""
    counts = [0] * (len(bounds) + 1)
    for value in values:
        counts[bisect_left(bounds, value)] += 1
    return counts


def percentile(counts: Sequence[int], bounds: Sequence[int], share: float) -> int | None:
    """Tell what so large a share of the values does not exceed; None if there are no values.

    Above the last bound nothing is known but that: the bound itself is told.
    """
    total = sum(counts)
    if not total:
        return None
    rank, below = share * total, 0
    for place, count in enumerate(counts[:-1]):
        if count and below + count >= rank:
            upper = bounds[place]
            lower = bounds[place - 1] if place else upper / 2
            within: float = lower * (upper / lower) ** ((rank - below) / count)
            return round(within)
        below += count
    return bounds[-1]
