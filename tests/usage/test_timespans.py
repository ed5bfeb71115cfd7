"""What people may write for a point in time."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from ai_gateway.timespans import read_moment

NOW = datetime(2026, 11, 28, 23, 30, tzinfo=UTC)
VIENNA = ZoneInfo("Europe/Vienna")
"""There it is half past midnight of the next day."""


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1d", date(2026, 11, 29)),
        ("7d", date(2026, 11, 23)),
        ("0d", date(2026, 11, 29)),
        ("2w", date(2026, 11, 16)),
        ("today", date(2026, 11, 29)),
        ("month", date(2026, 11, 1)),
        ("12h", datetime(2026, 11, 28, 11, 30, tzinfo=UTC)),
        ("2026-11-01", date(2026, 11, 1)),
        ("2026-11-01T12:00", datetime(2026, 11, 1, 12, tzinfo=VIENNA)),
        ("2026-11-01 12:00:30", datetime(2026, 11, 1, 12, 0, 30, tzinfo=VIENNA)),
        ("2026-11-01T12:00Z", datetime(2026, 11, 1, 12, tzinfo=UTC)),
        ("99999d", date(1753, 2, 15)),
        ("99999w", date(110, 5, 26)),
    ],
)
def test_moments(text: str, moment: date) -> None:
    found = read_moment(text, "Europe/Vienna", NOW)
    assert found == moment
    assert type(found) is type(moment)


@pytest.mark.parametrize(
    "text", ["", "7", "d", "-7d", "7m", "yesterday", "2026-13-01", "2026-11-01T25:00", "\u0661d", "x" * 99]
)
def test_moments__what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not a point in time"):
        read_moment(text, "Europe/Vienna", NOW)
