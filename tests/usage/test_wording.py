"""Limits, where they stand, and sums, in words."""

from __future__ import annotations

from typing import Any

import pytest

from ai_gateway import spending, statement, wording
from ai_gateway.allowances import read_limit
from ai_gateway.models.usage_queries import UsageTotals
from ai_gateway.standings import Standing


def standing(used: int, resets_in: float | None, **entry: Any) -> Standing:
    rule = read_limit({"amount": 20, **entry}, id="1", zone="UTC")
    return Standing(rule, "all", used, resets_in)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (standing(5, 12.2), "used 5 of 20 · resets in 12 s"),
        (standing(5, 0.01), "used 5 of 20 · resets in 1 s"),
        (standing(5, 90.0, window="hour"), "used 5 of 20 · resets in 1\xa0minute"),
        (standing(5, 3 * 86400.0, window="week"), "used 5 of 20 · resets in 3\xa0days"),
        (standing(0, 0.0), "used 0 of 20"),
        (standing(5, None, window="total"), "used 5 of 20"),
        (standing(3, 40.0, measure="concurrency"), "used 3 of 20"),
        (
            standing(12_300_000_000, 7200.0, measure="cost", window="day"),
            "used $12.30 of $20.00 · resets in 2\xa0hours",
        ),
    ],
)
def test_standing(found: Standing, words: str) -> None:
    assert wording.standing(found) == words


def test_figures__what_there_is_none_of_is_left_empty() -> None:
    found = wording.figures(UsageTotals(requests=1200, errors=0, limited=3, input_tokens=5_000_000, cost_nanos=10**9))
    assert found == {
        "requests": "1,200",
        "tokens": "5,000,000",
        "cost": "$1.00",
        "errors": "",
        "limited": "3",
        "unpriced": "",
    }


def test_the_statement_makes_sums_by_what_can_be_read() -> None:
    assert set(statement.GROUPINGS) == set(spending.GROUPINGS)
