"""`GET /v1/usage`: the holder of a key is told what it used and what is left, of that key and no other."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from django.db import DatabaseError
from django.test import override_settings

from ai_gateway import registry, spending, statement
from ai_gateway.calls import Caller, Reply
from ai_gateway.configuration import SourceUnavailable
from ai_gateway.errors import BadRequest, InvalidCredential, LimitsUnavailable, MethodNotAllowed, UsageUnavailable
from ai_gateway.limits import StoreUnavailable, store
from ai_gateway.models import UsageDaily
from ai_gateway.timespans import Span
from tests.control.rows import make_key, make_user
from tests.factories import HOLDER, make_call, run
from tests.usage.rows import DOLLAR, NOON, record, save, some_days

LIMITS = [
    {"name": "each key", "scope": "key", "measure": "cost", "window": "month", "amount": "20"},
    {"name": "all", "measure": "requests", "window": "minute", "amount": 60},
    {"name": "of team-b", "scope": "key", "subject": "team-b", "measure": "requests", "window": "day", "amount": 5},
    {"name": "of a model", "scope": "model", "subject": "gpt-5", "measure": "requests", "window": "day", "amount": 5},
]
SPENT = {"today": {"cost": "1"}, "span": {"cost": "2"}}


@pytest.fixture(autouse=True)
def _site(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A site with limits, whose database nobody has asked yet."""
    monkeypatch.setattr(statement, "reader", None)
    with override_settings(AI_GATEWAY={"LIMITS": LIMITS, "TIME_ZONE": "Europe/Vienna"}):
        yield


def ask(query: bytes = b"", *, caller: Caller = HOLDER, method: str = "GET") -> Reply:
    call = make_call("/v1/usage", method=method, body=b"")
    call = call.__class__(**{name: getattr(call, name) for name in call.__struct_fields__} | {"query": query})
    assert statement.is_asked(call)
    return run(statement.answer(call, caller, registry.snapshot()))


def document(reply: Reply) -> Any:
    assert isinstance(reply.body, bytes)
    return json.loads(reply.body)


def reading(read: Any) -> list[int]:
    """Have this read what was spent; give the threads in which it was released."""
    released: list[int] = []
    statement.reader = statement.Reader(read, lambda: released.append(threading.get_ident()))
    return released


# The answer.


def test_the_whole_of_it() -> None:
    reading(lambda caller, span, by: {"today": {"cost": "1"}})
    found = document(ask())
    assert (found["object"], found["key"], found["currency"]) == ("usage", "team", "USD")
    assert found["time_zone"] == "Europe/Vienna"
    assert found["as_of"].endswith("Z")
    assert found["spent"] == {"today": {"cost": "1"}}
    assert [limit["name"] for limit in found["limits"]] == ["all", "each key"]


def test_limits_of_other_keys_and_of_models_are_not_this_keys() -> None:
    found = document(ask(caller=Caller(key_name="team-b")))
    assert {limit["name"] for limit in found["limits"]} == {"all", "each key", "of team-b"}


def test_without_a_database_there_are_the_limits_still() -> None:
    found = document(ask())
    assert found["spent"] is None
    assert found["limits"]


def test_head__is_the_same_without_the_body() -> None:
    reply = ask(method="HEAD")
    assert reply.body == b""
    assert int(dict(reply.headers)[b"content-length"]) > 100


def test_no_cache_keeps_it() -> None:
    assert (b"cache-control", b"no-store") in ask().headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_not_possible(method: str) -> None:
    with pytest.raises(MethodNotAllowed):
        ask(method=method)


@pytest.mark.parametrize("caller", [Caller(), Caller(credential=(b"authorization", b"Bearer sk-theirs"))])
def test_who_holds_no_key_is_told_nothing(caller: Caller) -> None:
    with pytest.raises(InvalidCredential):
        ask(caller=caller)


def test_with_a_provider_named_it_is_that_providers() -> None:
    assert not statement.is_asked(make_call("/v1/usage", (b"x-provider", b"openai"), method="GET"))


# The query.


def test_query__a_span_and_what_its_sums_are_made_by() -> None:
    asked: list[Any] = []

    def read(caller: Caller, *given: Any) -> Any:
        asked.append(given)
        return SPENT

    reading(read)
    found = document(ask(b"since=2026-11-01&until=2026-12-01&by=day"))
    assert asked == [(Span(date(2026, 11, 1), date(2026, 12, 1)), "day")]
    assert found["spent"]["span"] == {"since": "2026-11-01", "until": "2026-12-01", "cost": "2"}


def test_query__sums_without_a_span_are_of_this_month() -> None:
    span, by = statement.read_query(b"by=model")
    assert by == "model"
    assert span is not None
    assert span.since is not None
    assert (span.since.day, span.until) == (1, None)


@pytest.mark.parametrize(
    ("query", "param"), [(b"by=user", "by"), (b"since=yesterday", "since"), (b"until=2026-13-01", "until")]
)
def test_query__what_cannot_be_read_is_said_with_its_name(query: bytes, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        ask(query)
    assert caught.value.param == param


# Reading beside the event loop.


def test_reader__reads_and_gives_back_in_another_thread() -> None:
    read: list[int] = []
    released = reading(lambda *_: read.append(threading.get_ident()))
    ask()
    assert read == released != [threading.get_ident()]


def test_reader__a_database_that_is_away_is_a_503(caplog: pytest.LogCaptureFixture) -> None:
    def read(*_: object) -> None:
        raise SourceUnavailable("the database: connection refused")

    released = reading(read)
    with pytest.raises(UsageUnavailable) as caught:
        ask()
    assert caught.value.status == 503
    assert "connection refused" in caplog.text
    assert "connection" not in caught.value.message
    assert len(released) == 1


def test_reader__one_that_is_slow_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement, "PATIENCE", 0.01)
    done = threading.Event()
    reading(lambda *_: done.wait(30))
    try:
        with pytest.raises(UsageUnavailable):
            ask()
    finally:
        done.set()


def test_reader__as_many_as_wait_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement, "MOST_WAITING", 0)
    reading(lambda *_: None)
    with pytest.raises(UsageUnavailable, match="Too many"):
        ask()


def test_limits__a_store_that_is_away_is_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    async def states(counters: object) -> None:
        raise StoreUnavailable("redis: connection refused")

    monkeypatch.setattr(store(), "states", states)
    with pytest.raises(LimitsUnavailable):
        ask()


# What was spent.


@pytest.fixture
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The day of the rows is today."""
    monkeypatch.setattr(spending, "today", NOON.date)


@pytest.mark.django_db
@pytest.mark.usefixtures("at_noon", "encryption_key")
def test_spending__today_this_month_and_in_total_of_this_key_alone() -> None:
    ann = make_user("ann")
    mine, _ = make_key(ann)
    other, _ = make_key(ann)
    save(*some_days(30, key=mine, cost_nanos=DOLLAR), *some_days(30, key=other), *some_days(3, key_name="laptop"))
    found = spending.of_caller(Caller(key_name="laptop", key_id=mine.pk, user_id=ann.pk), None, None)
    assert found is not None
    assert [(found[name]["requests"], found[name]["cost"]) for name in found] == [(1, "1"), (20, "20"), (30, "30")]
    assert found["today"]["tokens"]["total"] == 120
    assert found["today"]["tokens"]["input"] == 100


@pytest.mark.django_db
@pytest.mark.usefixtures("at_noon", "encryption_key")
def test_spending__of_a_key_of_the_settings() -> None:
    key, _ = make_key(make_user("ann"), name="team-a")
    save(record(key_name="team-a"), record(key_name="team-b"), record(key=key, key_name="team-a"))
    found = spending.of_caller(Caller(key_name="team-a"), None, None)
    assert found is not None
    assert found["total"]["requests"] == 1


@pytest.mark.django_db
@pytest.mark.usefixtures("at_noon")
def test_spending__in_a_span_by_model_and_by_day() -> None:
    save(*some_days(3, key_name="team"), record(key_name="team", served_model="gpt-5", cost_nanos=DOLLAR))
    span = Span(date(2026, 11, 19), None)
    by_model = spending.of_caller(HOLDER, span, "model")
    by_day = spending.of_caller(HOLDER, span, "day")
    assert by_model is not None
    assert by_day is not None
    rows = [(row["provider"], row["model"], row["requests"]) for row in by_model["span"]["by_model"]]
    assert rows == [("openai", "gpt-5", 1), ("openai", "gpt-5-mini", 2)]
    assert [(row["day"], row["requests"]) for row in by_day["span"]["by_day"]] == [("2026-11-19", 1), ("2026-11-20", 2)]
    assert by_day["span"]["requests"] == 3


@pytest.mark.django_db
def test_spending__a_site_that_writes_nothing_down() -> None:
    with override_settings(AI_GATEWAY={"USAGE": False}):
        assert spending.of_caller(HOLDER, None, None) is None


@pytest.mark.django_db
def test_spending__a_database_that_fails_is_a_source_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise DatabaseError("gone")

    monkeypatch.setattr(UsageDaily.objects.all().__class__, "totals", fail)
    with pytest.raises(SourceUnavailable, match="gone"):
        spending.of_caller(HOLDER, None, None)
