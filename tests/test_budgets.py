"""When a budget is used up, at the pace so far."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from ai_gateway.allowances import read_limit
from ai_gateway.budgets import burn
from ai_gateway.standings import Standing

NOON = datetime(2026, 11, 11, tzinfo=UTC)
END_OF_MONTH = (datetime(2026, 12, 1, tzinfo=UTC) - NOON).total_seconds()


def standing(used: int, window: str = "month", resets_in: float | None = END_OF_MONTH) -> Standing:
    entry = {"name": "a", "scope": "everyone", "measure": "tokens", "window": window, "amount": 900}
    return Standing(read_limit(entry, id="1", zone="UTC"), "*", used, resets_in)


def test_a_pace_that_is_too_fast_tells_when() -> None:
    found = burn(standing(600), NOON)  # After ten days of thirty; 60 a day.
    assert found is not None
    assert found.elapsed == pytest.approx(1 / 3)
    assert found.exhausted_at == NOON + timedelta(days=5)


@pytest.mark.parametrize("used", [0, 200, 299])
def test_a_pace_that_lasts_tells_nothing(used: int) -> None:
    found = burn(standing(used), NOON)
    assert found is not None
    assert found.exhausted_at is None


def test_what_is_used_up_is_so_now() -> None:
    found = burn(standing(2000), NOON)
    assert found is not None
    assert found.exhausted_at == NOON


def test_at_the_beginning_it_is_too_early_to_tell() -> None:
    found = burn(standing(800, "day", 86_400 * 0.99), NOON)
    assert found is not None
    assert found.exhausted_at is None


@pytest.mark.parametrize(
    ("zone", "month", "days"),
    [
        *[("Europe/Vienna", month, days) for month, days in ((10, 31), (2, 28), (12, 31), (6, 30))],
        *[("America/Los_Angeles", month, days) for month, days in ((2, 28), (7, 31))],
        ("UTC", 2, 28),
    ],
)
def test_a_month_is_as_long_as_it_is_in_the_limits_time_zone(zone: str, month: int, days: int) -> None:
    first = datetime(2026, month, 1, tzinfo=ZoneInfo(zone))
    after = datetime(2026 + month // 12, month % 12 + 1, 1, tzinfo=ZoneInfo(zone))
    now = first.astimezone(UTC) + timedelta(days=7)
    entry = {"name": "a", "measure": "tokens", "window": "month", "amount": 900, "time_zone": zone}
    found = burn(Standing(read_limit(entry, id="1", zone="UTC"), "*", 1, (after - now).total_seconds()), now)
    assert found is not None
    assert found.elapsed == pytest.approx(7 / days, rel=0.002)  # An hour may be more or less of it.


def test_a_day_on_which_clocks_are_set_is_as_long_as_it_is() -> None:
    zone = ZoneInfo("Europe/Vienna")
    now, end = datetime(2026, 10, 25, 10, tzinfo=zone), datetime(2026, 10, 26, tzinfo=zone)
    entry = {"name": "a", "measure": "tokens", "window": "day", "amount": 900, "time_zone": "Europe/Vienna"}
    left = end.timestamp() - now.timestamp()
    found = burn(Standing(read_limit(entry, id="1", zone="UTC"), "*", 1, left), now.astimezone(UTC))
    assert found is not None
    assert found.elapsed == pytest.approx(11 / 25)


def test_what_never_begins_anew_is_not_projected() -> None:
    assert burn(standing(800, "total", None), NOON) is None
