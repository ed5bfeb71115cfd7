"""Where limits stand, as their store tells."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from ai_gateway.allowances import Due, LimitRule, read_limit
from ai_gateway.charges import Counter, State, States
from ai_gateway.limits.memory import MemoryStore
from ai_gateway.standings import Standing, amount, standings
from tests.factories import run

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()


class Told(MemoryStore):
    """A store that tells what it was told to tell."""

    def __init__(self, *states: State) -> None:
        super().__init__()
        self.told = states
        self.asked: list[Counter] = []

    async def states(self, counters: Sequence[Counter]) -> States:
        self.asked += counters
        return self.told


def rule(**entry: Any) -> LimitRule:
    return read_limit({"name": "mine", "amount": 20, **entry}, id="1", zone="UTC")


def standing(state: State, **entry: Any) -> Standing:
    (found,) = run(standings([Due(rule(**entry), "7")], Told(state), NOON))
    return found


def test_nothing_is_asked_about_no_limits() -> None:
    assert run(standings([], Told(), NOON)) == []


def test_a_budget_is_written_in_exact_dollars_and_begins_anew_with_its_month() -> None:
    found = standing(State(12_300_000_001, 0, 5.0), scope="key", measure="cost", window="month")
    assert found.document(NOON) == {
        "name": "mine",
        "scope": "key",
        "measure": "cost",
        "window": "month",
        "limit": "20",
        "used": "12.300000001",
        "left": "7.699999999",
        "resets_at": "2026-12-01T00:00:00Z",
        "resets_in": 10.5 * 24 * 3600,
        "warns_only": False,
    }


def test_a_rate_is_as_good_as_new_when_the_store_says_so() -> None:
    found = standing(State(5, 15, 15.25), measure="requests", window="minute").document(NOON)
    assert (found["limit"], found["used"], found["left"]) == (20, 5, 15)
    assert (found["resets_in"], found["resets_at"]) == (15.25, "2026-11-20T12:00:15Z")


def test_what_never_begins_anew_says_so() -> None:
    found = standing(State(5, 15, 0.0), measure="tokens", window="total").document(NOON)
    assert (found["resets_at"], found["resets_in"]) == (None, None)


def test_calls_at_once_have_no_window() -> None:
    assert standing(State(1, 19, 0.0), measure="concurrency").document(NOON)["window"] is None


@pytest.mark.parametrize(("used", "left", "percent"), [(0, 20, 0), (10, 10, 50), (20, 0, 100), (25, 0, 100)])
def test_what_is_left_is_never_less_than_nothing(used: int, left: int, percent: int) -> None:
    found = standing(State(used, 0, 0.0), measure="tokens", window="day", is_soft=True)
    assert (found.left, found.percent) == (left, percent)


def test_of_nothing_everything_is_used() -> None:
    assert standing(State(0, 0, 0.0), measure="tokens", window="day", amount=0).percent == 100


def test_the_counters_that_calls_use_are_asked_and_nothing_is_taken() -> None:
    store = Told(State(0, 20, 0.0))
    run(standings([Due(rule(measure="requests", window="day"), "7")], store, NOON))
    (counter,) = store.asked
    assert counter.name == "1:requests:everyone:7:2026-11-20"


def test_amounts_for_people() -> None:
    assert amount(rule(measure="cost", window="day"), 1_500_000_000) == "$1.50"
    assert amount(rule(measure="tokens", window="day"), 1_500_000) == "1,500,000"
