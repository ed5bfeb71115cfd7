"""The calls that are made up: as many as were asked for, the same ones every time, in the shape of a company's."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from random import Random
from statistics import mean
from zoneinfo import ZoneInfo

import pytest

from ai_gateway.demo import cast
from ai_gateway.demo.calls import PRICES, Calls, Holder, outage
from ai_gateway.demo.hours import hours
from ai_gateway.meter import Entry

ZONE = ZoneInfo("Europe/Vienna")
NOW = datetime(2026, 11, 27, 16, 40, tzinfo=UTC)  # A Friday.
DAYS, CALLS = 28, 3000


def make(seed: int = 7, now: datetime = NOW) -> list[Entry]:
    holders = [Holder(key, number, key.owner, key.team) for number, key in enumerate(cast.KEYS, 1)]
    when = hours(cast.KEYS, days=DAYS, calls=CALLS, now=now, zone=ZONE)
    return list(Calls(holders, Random(seed), outage(now, ZONE), now.timestamp()).of(when))


@pytest.fixture(scope="module")
def made() -> list[Entry]:
    return make()


def local(entry: Entry) -> datetime:
    return datetime.fromtimestamp(entry.started_at, ZONE)


def test_there_are_as_many_as_were_asked_for__within_the_days__in_the_order_of_time(made: list[Entry]) -> None:
    assert len(made) == CALLS
    moments = [entry.started_at for entry in made]
    assert moments == sorted(moments)
    assert NOW.timestamp() - DAYS * 86400 <= moments[0]
    assert moments[-1] <= NOW.timestamp()
    assert [entry.id for entry in made] == sorted({entry.id for entry in made})


def test_the_same_seed_makes_the_same_calls_and_another_one_others(made: list[Entry]) -> None:
    assert make() == made
    assert make(seed=8) != made


def test_minutes_later_the_calls_of_past_hours_are_still_the_same(made: list[Entry]) -> None:
    hour = NOW.replace(minute=0).timestamp()
    again = make(now=NOW.replace(minute=45))
    assert [entry for entry in again if entry.started_at < hour] == [each for each in made if each.started_at < hour]


def test_people_work_by_day_and_in_the_week__pipelines_at_night(made: list[Entry]) -> None:
    agents = [local(entry) for entry in made if entry.key_name == "claude-code"]
    assert mean(8 <= moment.hour < 18 for moment in agents) > 0.8
    assert mean(moment.weekday() < 5 for moment in agents) > 0.9
    nightly = [local(entry) for entry in made if entry.key_name == "document-pipeline"]
    assert mean(moment.hour < 5 or moment.hour >= 22 for moment in nightly) > 0.8


def test_it_grows_from_week_to_week(made: list[Entry]) -> None:
    weeks = Counter(int(entry.started_at - made[0].started_at) // (7 * 86400) for entry in made)
    assert weeks[0] < weeks[1] < weeks[2] < weeks[3]


def test_on_the_bad_afternoon_a_route_goes_elsewhere__and_who_names_the_model_fails(made: list[Entry]) -> None:
    bad = outage(NOW, ZONE)
    assert datetime.fromtimestamp(bad.begins_at, ZONE).weekday() < 5
    during = [entry for entry in made if entry.started_at in bad]
    smart = [entry for entry in during if entry.route == "demo-smart"]
    assert mean(entry.provider != cast.ANTHROPIC for entry in smart) > 0.4
    assert mean(entry.outcome in ("answered", "disconnected") for entry in smart) > 0.9
    direct = [entry for entry in during if entry.model == f"{cast.ANTHROPIC}/claude-haiku-4-5"]
    assert mean(entry.outcome in ("failed", "timed_out") for entry in direct) > 0.3


def test_a_trail_has_the_attempts_that_failed(made: list[Entry]) -> None:
    tried = [entry for entry in made if entry.trail]
    assert tried
    for entry in tried:
        failed = entry.outcome in ("failed", "timed_out")
        assert len(entry.trail or ()) == entry.attempts - (not failed)


def test_agents_work_in_sessions_whose_context_is_read_from_the_cache(made: list[Entry]) -> None:
    sessions = Counter(entry.session for entry in made if entry.session)
    assert len(sessions) > 20
    assert max(sessions.values()) > 10
    answered = [entry for entry in made if entry.session and entry.outcome == "answered"]
    assert sum(entry.cache_read_tokens for entry in answered) > 5 * sum(entry.input_tokens for entry in answered)


def test_each_costs_what_its_price_says__and_a_model_without_one_is_unpriced(made: list[Entry]) -> None:
    unpriced = {entry.provider for entry in made if entry.cost_nanos is None}
    assert unpriced == {cast.LAB}
    sonnet = next(each for each in made if each.served_model == "claude-sonnet-4-5" and each.outcome == "answered")
    pico = sonnet.input_tokens * 3 * 10**6 + sonnet.cache_read_tokens * 3 * 10**5
    pico += sonnet.cache_write_tokens * 375 * 10**4 + sonnet.output_tokens * 15 * 10**6
    assert sonnet.cost_nanos == (pico + 500) // 1000


def test_the_one_budget_is_used_up__and_its_key_is_refused_from_then_on(made: list[Entry]) -> None:
    evals = [entry for entry in made if entry.key_name == "nightly-evals"]
    outcomes = [entry.outcome for entry in evals]
    assert set(outcomes[outcomes.index("limited") :]) == {"limited"}
    assert {entry.key_name for entry in made if entry.outcome == "limited"} == {"nightly-evals"}


def test_what_the_cast_asks_for_is_there() -> None:
    routes = {route.name: route.targets for route in cast.ROUTES}
    asked = {name for key in cast.KEYS for name in key.asks_for}
    targets = {target for name in asked for target in routes.get(name, (name,))}
    assert targets <= cast.MODELS.keys() == PRICES.keys()
    assert {person.team for person in cast.PEOPLE} == set(cast.TEAMS)
    assert {(key.owner, key.team) for key in cast.KEYS} <= set(cast.PEOPLE)
