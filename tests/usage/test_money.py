"""Money as it is written."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ai_gateway import money


@pytest.mark.parametrize(
    ("nanos", "exact", "rounded"),
    [
        (0, "0", "$0.00"),
        (1, "0.000000001", "<$0.0001"),
        (50_000, "0.00005", "$0.0001"),
        (1_234_000, "0.001234", "$0.0012"),
        (100_000_000, "0.1", "$0.1000"),
        (1_000_000_000, "1", "$1.00"),
        (20_000_000_000, "20", "$20.00"),
        (12_345_678_900_000_001, "12345678.900000001", "$12,345,678.90"),
    ],
)
def test_money__exact_for_programs_and_rounded_for_people(nanos: int, exact: str, rounded: str) -> None:
    assert money.exact(nanos) == exact
    assert money.rounded(nanos) == rounded
    assert money.dollars(nanos) == Decimal(exact)
