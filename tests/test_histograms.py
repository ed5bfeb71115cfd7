"""Percentiles out of counts: close to the exact ones, and never outside of the bucket."""

from __future__ import annotations

import random
import statistics

import pytest

from ai_gateway.histograms import COLUMNS, DURATION_BOUNDS, FIRST_TOKEN_BOUNDS, percentile, tally


def test_a_bound_belongs_to_the_bucket_that_it_ends() -> None:
    counts = tally([0, 50, 51, 100, 102_400, 102_401], DURATION_BOUNDS)
    assert (counts[0], counts[1], counts[-2], counts[-1]) == (2, 2, 1, 1)
    assert sum(counts) == 6


def test_every_bucket_has_a_column() -> None:
    assert len(COLUMNS) == len(DURATION_BOUNDS) + len(FIRST_TOKEN_BOUNDS) + 2
    assert COLUMNS[0] == "duration_to_50"
    assert COLUMNS[-1] == "first_token_beyond"


def test_of_nothing_there_is_no_percentile() -> None:
    assert percentile([0] * 13, DURATION_BOUNDS, 0.5) is None


def test_above_the_last_bound_only_that_is_known() -> None:
    assert percentile(tally([999_999], DURATION_BOUNDS), DURATION_BOUNDS, 0.5) == 102_400


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("spread", [0.4, 0.8, 1.2])
def test_percentiles_are_close_to_the_exact_ones(share: float, spread: float) -> None:
    chance = random.Random(7)
    values = [round(chance.lognormvariate(7.2, spread)) for _ in range(20_000)]
    exact = statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]
    found = percentile(tally(values, DURATION_BOUNDS), DURATION_BOUNDS, share)
    assert found == pytest.approx(exact, rel=0.25)


def test_counts_of_two_days_are_those_of_both() -> None:
    first, second = [40, 900, 3000], [70, 70, 200_000]
    both = [
        one + other for one, other in zip(tally(first, DURATION_BOUNDS), tally(second, DURATION_BOUNDS), strict=True)
    ]
    assert both == tally(first + second, DURATION_BOUNDS)
