"""Which limits are there, and which of them does a call have to keep to?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from ai_gateway.allowances import NANOS, Due, LimitRule, LimitTable, in_order, name_in, period, read_limit, subject_of
from ai_gateway.calls import Call, Caller
from ai_gateway.charges import MOST, Algorithm
from tests.factories import make_call

VIENNA = "Europe/Vienna"
HOLDER = Caller(key_name="laptop", key_id=7, user_id=3, group_id=5)


def limit(name: str = "l", **entry: Any) -> LimitRule:
    return read_limit({"name": name, "amount": 10, **entry}, id=name, zone="UTC")


def names(dues: Any) -> list[str]:
    return sorted(due.rule.name for due in dues)


def of_call(*rules: LimitRule, call: Call | None = None, caller: Caller = HOLDER, route: str = "") -> list[str]:
    return names(LimitTable(rules).of_call(call or make_call(), caller, route))


def of_target(*rules: LimitRule, provider: str = "openai", model: str = "gpt-5.5-mini") -> list[str]:
    return names(LimitTable(rules).of_target(provider, model).dues)


# Whose calls a limit is for.


@pytest.mark.parametrize(("scope", "mine", "other"), [("key", 7, 8), ("user", "3", "4"), ("group", "5", "6")], ids=str)
def test_a_limit_of_somebody_is_for_nobody_else(scope: str, mine: Any, other: Any) -> None:
    found = of_call(limit("mine", scope=scope, subject=mine), limit("other", scope=scope, subject=other))
    assert found == ["mine"]


@pytest.mark.parametrize("scope", ["key", "user", "group"])
def test_a_limit_that_names_nobody_is_for_each_one_by_itself(scope: str) -> None:
    (due,) = LimitTable([limit(scope=scope)]).of_call(make_call(), HOLDER, "")
    assert due.subject == {"key": "7", "user": "3", "group": "5"}[scope]


def test_everybody_together_has_one_counter() -> None:
    table = LimitTable([limit(scope="everyone")])
    subjects = {due.subject for caller in (HOLDER, Caller()) for due in table.of_call(make_call(), caller, "")}
    assert subjects == {"all"}


def test_a_key_of_the_settings_is_named_by_its_name() -> None:
    assert of_call(limit(scope="key", subject="ci"), caller=Caller(key_name="ci")) == ["l"]


@pytest.mark.parametrize("name", ["7", "007", "name:7", "name:x"])
def test_a_key_of_the_settings_is_never_taken_for_the_virtual_key_of_that_number(name: str) -> None:
    ours = Caller(key_name=name)
    rules = [limit("named", scope="key", subject=name), limit("numbered", scope="key", subject=7)]
    assert of_call(*rules, caller=ours) == ["named"]
    assert of_call(*rules, caller=HOLDER) == ["numbered"]
    table = LimitTable([limit("each", scope="key")])
    (mine,), (theirs,) = (table.of_call(make_call(), caller, "") for caller in (ours, HOLDER))
    assert mine != theirs


def test_the_names_of_keys_and_their_subjects_lead_to_each_other() -> None:
    names = ["ci", "7", "007", "name:7", "name:name:7", "name:", "\N{ARABIC-INDIC DIGIT SEVEN}"]
    assert [name_in(subject_of(name)) for name in names] == names
    assert len({subject_of(name) for name in names}) == len(names)
    assert name_in("7") is None


def test_a_user_of_the_sites_own_pages_is_no_key() -> None:
    assert of_call(limit(scope="key"), caller=Caller(key_name="user 3", user_id=3)) == []


def test_a_stranger_has_neither_key_nor_user() -> None:
    assert of_call(*(limit(scope, scope=scope) for scope in ("key", "user", "group")), caller=Caller()) == []


def test_a_route_has_its_limits() -> None:
    fast, slow = limit("fast", scope="route", subject="fast"), limit("slow", scope="route", subject="slow")
    assert of_call(fast, slow, route="fast") == ["fast"]
    assert of_call(fast, slow) == []


def test_a_header_has_limits_for_each_of_its_values() -> None:
    rules = [
        limit("each", scope="header", header="x-user-id"),
        limit("ann", scope="header", header="x-user-id", subject="ann"),
    ]
    table = LimitTable(rules)
    found = table.of_call(make_call("/v1/chat/completions", (b"x-user-id", b"ann")), HOLDER, "")
    assert {(due.rule.name, due.subject) for due in found} == {("each", "ann"), ("ann", "ann")}
    assert names(table.of_call(make_call("/v1/chat/completions", (b"x-user-id", b"bob")), HOLDER, "")) == ["each"]
    assert names(table.of_call(make_call("/v1/chat/completions", (b"x-project-id", b"ann")), HOLDER, "")) == []


# What a target has to keep to.


def test_a_provider_has_its_limits() -> None:
    assert of_target(limit(scope="provider", subject="openai")) == ["l"]
    assert of_target(limit(scope="provider", subject="groq")) == []


@pytest.mark.parametrize("subject", ["gpt-5.5-mini", "gpt-*", "openai/gpt-5.5-mini", "openai/*", ""])
def test_a_model_is_named_alone_or_with_its_provider_or_by_a_pattern(subject: str) -> None:
    assert of_target(limit(scope="model", subject=subject)) == ["l"]


@pytest.mark.parametrize("subject", ["gpt-5.5-mini", "GPT-*", "openai/Gpt-5.5-mini", "OpenAI/*", ""])
def test_a_model_is_the_same_by_every_spelling_of_its_name(subject: str) -> None:
    table = LimitTable([limit(scope="model", subject=subject)])
    spelled = [table.of_target("openai", model).dues for model in ("gpt-5.5-mini", "GPT-5.5-Mini", "gpt-5.5-MINI")]
    assert [len(dues) for dues in spelled] == [1, 1, 1]
    assert {due.subject for dues in spelled for due in dues} == {subject or "gpt-5.5-mini"}


@pytest.mark.parametrize("subject", ["gpt-5.5", "azure/gpt-5.5-mini", "claude-*", "groq/*"])
def test_another_model_is_not(subject: str) -> None:
    assert of_target(limit(scope="model", subject=subject)) == []


def test_a_model_with_a_slash_of_its_own_is_found_without_its_provider() -> None:
    rule = limit(scope="model", subject="meta-llama/llama-4")
    assert of_target(rule, provider="together", model="meta-llama/llama-4") == ["l"]


def test_what_fits_a_pattern_is_counted_together() -> None:
    table = LimitTable([limit(scope="model", subject="gpt-*")])
    subjects = {due.subject for model in ("gpt-5.5", "gpt-5.5-mini") for due in table.of_target("openai", model).dues}
    assert subjects == {"gpt-*"}


def test_each_model_by_itself_is_counted_apart() -> None:
    table = LimitTable([limit(scope="model")])
    assert {due.subject for model in ("a", "b") for due in table.of_target("openai", model).dues} == {"a", "b"}


# How a limit is read.


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"scope": "planet"}, "scope is 'planet', and not one of: everyone, key"),
        ({"measure": "words"}, "measure is 'words'"),
        ({"window": "fortnight"}, "window is 'fortnight'"),
        ({"measure": "concurrency", "window": "day"}, "only concurrency has no window"),
        ({"measure": "requests", "window": ""}, "only concurrency has no window"),
        ({"measure": "cost", "window": "minute"}, "by the hour or longer"),
        ({"amount": -1}, "must be 0 or more"),
        ({"amount": "plenty"}, "not a number"),
        ({"amount": "nan"}, "must be 0 or more"),
        ({"amount": 9 * 10**15 + 1}, "must be at most 9000000000000000"),
        ({"amount": "1e999999"}, "must be at most"),
        ({"amount": "9000000.01", "measure": "cost", "window": "total"}, "must be at most 9000000"),
        ({"amount": 1.5}, "only money has a fraction"),
        ({"scope": "header"}, "a header belongs to the scope header"),
        ({"header": "x-user-id"}, "a header belongs to the scope header"),
        ({"scope": "header", "header": "Authorization"}, "holds a secret"),
        ({"scope": "header", "header": "x-api-key"}, "holds a secret"),
        ({"time_zone": "Mars/Olympus"}, "'Mars/Olympus' is not a time zone"),
        ({"max": 5}, "unknown key 'max'"),
    ],
)
def test_what_is_wrong_with_a_limit_is_said(entry: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        limit(**entry)


def test_money_is_kept_in_nano_dollars() -> None:
    assert limit(measure="cost", window="month", amount="12.5").amount == 12_500_000_000


def test_calls_at_once_need_no_window_to_be_said() -> None:
    assert limit(measure="concurrency").window == ""


# What is counted.

NOW = datetime(2026, 11, 28, 12, 30, tzinfo=UTC).timestamp()


def test_a_minute_is_a_rate() -> None:
    counter = Due(limit(measure="tokens", window="minute"), "7").counter(NOW)
    assert (counter.name, counter.algorithm, counter.ceiling) == ("l:tokens:everyone:7:minute", Algorithm.RATE, 10)


def test_calls_at_once_are_counted_one_by_one() -> None:
    counter = Due(limit(measure="concurrency"), "7").counter(NOW)
    assert (counter.algorithm, counter.ceiling) == (Algorithm.CONCURRENCY, 10)


def test_every_period_has_a_counter_of_its_own() -> None:
    due = Due(limit(measure="cost", window="day", amount=5), "7")
    today, tomorrow = due.counter(NOW), due.counter(NOW + 86400)
    assert today.algorithm is Algorithm.QUOTA
    assert (today.name, tomorrow.name) == ("l:cost:everyone:7:2026-11-28", "l:cost:everyone:7:2026-11-29")
    assert today.ends_at == datetime(2026, 11, 29, tzinfo=UTC).timestamp()
    assert today.ceiling == 5 * NANOS


def test_a_limit_that_is_changed_to_measure_something_else_has_another_counter() -> None:
    """Dollars that were spent are not tokens, and what a key used is not what the group of the same number did."""
    changes: list[dict[str, Any]] = [
        {"measure": "cost", "scope": "key"},
        {"measure": "tokens", "scope": "key"},
        {"measure": "tokens", "scope": "group"},
        {"measure": "tokens", "scope": "header", "header": "x-team"},
        {"measure": "tokens", "scope": "header", "header": "x-user-id"},
    ]
    for window in ("month", "total"):
        rules = [limit(**change, window=window) for change in changes]
        assert len({Due(rule, "7").counter(NOW).name for rule in rules}) == len(changes)


def test_a_limit_that_is_changed_otherwise_keeps_its_counter() -> None:
    before, after = limit(window="day"), limit(window="day", amount=99, is_soft=True)
    assert Due(before, "7").counter(NOW).name == Due(after, "7").counter(NOW).name


@pytest.mark.parametrize("subject", ["ann:2026-11-28", "ann:2026-11", "ann:total"])
def test_no_subject_has_a_rate_that_is_the_quota_of_another(subject: str) -> None:
    """Callers write values of headers as they like, and a limit may have been one per minute before."""
    quotas = {Due(limit(window=window), "ann").counter(NOW).name for window in ("day", "month", "total")}
    assert Due(limit(window="minute"), subject).counter(NOW).name not in quotas


def test_a_limit_that_only_warns_says_so() -> None:
    counter = Due(limit(window="day", is_soft=True), "7").counter(NOW)
    assert (counter.is_soft, counter.ceiling) == (True, 10)


# What is known of all that a call has to keep to, before there is a call.


def test_counters_are_the_same_until_a_period_ends() -> None:
    dues = in_order([Due(limit("day", window="day"), "7"), Due(limit("minute"), "7")])
    day, minute = dues.counters(NOW)
    assert dues.counters(NOW + 3600) is dues.counters(NOW)
    tomorrow, same = dues.counters(NOW + 86400)
    assert (day.name, tomorrow.name) == ("day:requests:everyone:7:2026-11-28", "day:requests:everyone:7:2026-11-29")
    assert same is minute
    assert dues.counters(NOW)[0] == day  # The clock was set back.


def test_counters_in_all_stay() -> None:
    dues = in_order([Due(limit(window="total"), "7")])
    assert dues.counters(NOW) is dues.counters(NOW + 10 * 365 * 86400)


def test_a_call_is_written_as_each_rule_measures_it() -> None:
    rules = [
        limit("cost", measure="cost", window="day"),
        limit("places", measure="concurrency"),
        limit("requests"),
        limit("tokens", measure="tokens"),
    ]
    dues = in_order(Due(rule, "7") for rule in rules)
    assert list(dues.amounts(30, 400)) == [400, 1, 1, 30]
    assert list(dues.amounts(10**320, 400)) == [400, 1, 1, MOST]
    assert list(dues.amounts(30, 10**320)) == [MOST, 1, 1, 30]
    assert (dues.has_costs, dues.has_tokens, dues.warns) == (True, True, False)
    assert dues.rates == [("requests", 2), ("tokens", 3)]
    assert not dues.has_rivals


def test_one_rule_alone_measures_as_among_others() -> None:
    assert list(in_order([Due(limit(measure="tokens"), "7")]).amounts(30, 400)) == [30]
    assert list(in_order([]).amounts(30, 400)) == []


def test_rules_that_measure_the_same_are_rivals() -> None:
    dues = in_order([Due(limit("all"), "7"), Due(limit("each"), "8"), Due(limit("tokens", measure="tokens"), "7")])
    assert dues.has_rivals


def test_all_callers_have_the_same_counter_of_what_is_for_everyone() -> None:
    table = LimitTable([limit(scope="everyone", window="day")])
    one, other = (table.of_first(make_call(), Caller(key_id=number), "", "openai", "m") for number in (1, 2))
    assert one.counters(NOW)[0] is other.counters(NOW)[0]


# The calendar.


def span(window: str, zone: str, *when: int) -> tuple[str, str, str]:
    """The label of a period, and its beginning and end in local time."""
    local = ZoneInfo(zone)
    found = period(window, zone, datetime(*when, tzinfo=local).timestamp())  # type: ignore[misc, arg-type]
    begin, end = (datetime.fromtimestamp(at, local) for at in (found.begins_at, found.ends_at))
    return found.label, begin.isoformat(), end.isoformat()


def test_a_week_begins_on_monday() -> None:
    assert span("week", "UTC", 2026, 11, 29, 23) == (
        "2026-W48", "2026-11-23T00:00:00+00:00", "2026-11-30T00:00:00+00:00"
    )  # fmt: skip


def test_the_year_of_a_week_is_that_of_its_thursday() -> None:
    assert span("week", "UTC", 2027, 1, 2)[0] == "2026-W53"


@pytest.mark.parametrize(
    ("month", "end"), [((2026, 1, 31), "2026-02-01"), ((2028, 2, 29), "2028-03-01"), ((2026, 12, 31), "2027-01-01")]
)
def test_a_month_ends_where_the_next_begins(month: tuple[int, int, int], end: str) -> None:
    assert span("month", "UTC", *month)[2].startswith(end)


def test_the_day_on_which_summer_begins_has_23_hours() -> None:
    found = period("day", VIENNA, datetime(2026, 3, 29, 12, tzinfo=ZoneInfo(VIENNA)).timestamp())
    assert found.ends_at - found.begins_at == 23 * 3600


def test_the_day_on_which_summer_ends_has_25_hours() -> None:
    found = period("day", VIENNA, datetime(2026, 10, 25, 12, tzinfo=ZoneInfo(VIENNA)).timestamp())
    assert found.ends_at - found.begins_at == 25 * 3600


def test_the_hour_that_is_there_twice_has_two_counters() -> None:
    first = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo(VIENNA), fold=0).timestamp()
    labels = {period("hour", VIENNA, first + offset).label for offset in (0, 3600)}
    assert len(labels) == 2


@pytest.mark.parametrize("zone", ["UTC", VIENNA, "Asia/Kathmandu", "Pacific/Kiritimati"])
@pytest.mark.parametrize("window", ["hour", "day", "week", "month"])
def test_periods_follow_each_other_without_a_gap(window: str, zone: str) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    found = period(window, zone, at)
    labels = []
    for _ in range(60):
        labels.append(found.label)
        after = period(window, zone, found.ends_at)
        assert after.begins_at == found.ends_at
        assert period(window, zone, found.ends_at - 0.001) == found
        found = after
    assert len(set(labels)) == len(labels)


def test_the_total_never_ends() -> None:
    assert period("total", "UTC", NOW) == ("total", 0.0, 0.0)


def test_many_limits_of_others_cost_a_call_nothing_but_a_look() -> None:
    rules = [limit(str(number), scope="key", subject=number) for number in range(1000)]
    (due,) = LimitTable(rules).of_call(make_call(), HOLDER, "")
    assert due == Due(rules[7], "7")
    assert msgspec.structs.asdict(due.rule)["subject"] == "7"
