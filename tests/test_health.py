"""Alive, ready, and how the providers did."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from django.db import DatabaseError, Error, InterfaceError
from django.test import override_settings

from ai_gateway import __version__, health, overload, registry
from ai_gateway.bulkheads import Bulkhead
from ai_gateway.calls import Reply
from ai_gateway.configuration import Configuration, NotHere
from tests.factories import run


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_asking", None)
    monkeypatch.setattr(health, "_database_answers", lambda: True)


def read(reply: Reply) -> tuple[int, Any]:
    assert isinstance(reply.body, bytes)
    return reply.status, json.loads(reply.body)


def test_alive_says_nothing_but_the_version() -> None:
    assert read(health.alive("req_test")) == (200, {"status": "healthy", "version": __version__})


def test_ready_when_everything_is_there() -> None:
    assert read(run(health.ready("req_test"))) == (200, {"status": "ready"})


def test_not_ready_while_draining() -> None:
    health.start_draining()
    assert read(run(health.ready("req_test"))) == (503, {"status": "unavailable", "problems": ["draining"]})


def not_here() -> Configuration:
    raise NotHere("a database is not read on an event loop")


def test_not_ready_without_a_database_that_was_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_database_answers", lambda: False)
    monkeypatch.setattr(registry, "SOURCES", [*registry.SOURCES, not_here])
    assert read(run(health.ready("req_test"))) == (503, {"status": "unavailable", "problems": ["database"]})


def test_ready_with_a_warning_without_a_database_that_was_read_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """All processes share it: if all said no, nobody would be left to serve what can be served without it."""
    monkeypatch.setattr(health, "_database_answers", lambda: False)
    registry.refresh()
    assert read(run(health.ready("req_test"))) == (200, {"status": "ready", "warnings": ["database"]})


def test_a_database_that_hangs_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is not asked again while it does."""
    asked: list[None] = []
    goes_on = threading.Event()

    def hang() -> bool:
        asked.append(None)
        return goes_on.wait(10)

    async def ask_twice() -> list[tuple[int, Any]]:
        answers = [read(await health.ready("req_test")) for _ in range(2)]
        goes_on.set()
        return answers

    monkeypatch.setattr(health, "_database_answers", hang)
    monkeypatch.setattr(health, "PATIENCE", 0.02)
    registry.refresh()
    assert run(ask_twice()) == [(200, {"status": "ready", "warnings": ["database"]})] * 2
    assert len(asked) == 1


def test_not_ready_without_a_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> registry.Snapshot:
        raise RuntimeError("canary")

    monkeypatch.setattr(registry, "snapshot", broken)
    assert read(run(health.ready("req_test"))) == (503, {"status": "unavailable", "problems": ["configuration"]})


def test_ready_with_a_warning_while_an_older_configuration_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong is for the log: this page is everybody's."""
    monkeypatch.setattr(registry, "_problems", {Configuration: "the database: canary"})
    assert read(run(health.ready("req_test"))) == (200, {"status": "ready", "warnings": ["configuration"]})


@pytest.mark.parametrize("error", [DatabaseError, InterfaceError])
def test_a_database_that_fails_does_not_answer(monkeypatch: pytest.MonkeyPatch, error: type[Error]) -> None:
    monkeypatch.undo()

    class Broken:
        vendor = "postgresql"
        was_closed = False

        def cursor(self) -> None:
            raise error("away")

        def close(self) -> None:
            self.was_closed = True

    connection = Broken()
    monkeypatch.setattr(health, "connection", connection)
    assert not health._database_answers()
    assert connection.was_closed


@pytest.mark.parametrize(
    ("status", "error", "ok"),
    [(200, None, True), (404, None, True), (429, None, False), (500, None, False), (502, "upstream_closed", False)],
)
def test_the_last_outcome_of_each_provider_is_remembered(status: int, error: str | None, ok: bool) -> None:
    health.note("openai", status, error)
    with override_settings(AI_GATEWAY={"PROVIDERS": {"groq": {"OPTIONS": {"api_key": "gsk-canary"}}}}):
        code, document = read(health.providers("req_test"))
    last = document["providers"]["openai"]["last"]
    assert (code, last["ok"], last["status"], last["error"]) == (200, ok, status, error)
    nothing: dict[str, Any] = {"last": None, "breakers": {}, "resting_credentials": {}}
    assert document["providers"]["groq"] == {"configured": True, "broken": None, **nothing}
    assert "canary" not in json.dumps(document)


def test_ready_with_a_warning_while_all_places_are_taken() -> None:
    with override_settings(AI_GATEWAY={"MAX_CALLS": 1}):
        overload.calls.enter(1)
        assert read(run(health.ready("req_test"))) == (200, {"status": "ready", "warnings": ["overloaded"]})


def test_the_calls_under_way_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(overload.at_providers, "openai", Bulkhead())
    overload.calls.enter(1)
    overload.at_providers["openai"].enter(1)
    overload.at_providers["openai"].line_up("somebody", 1, 0)
    health.note("openai", 200)
    _, document = read(health.providers("req_test"))
    assert document["calls"] == {"under_way": 1, "waiting": 0, "refused": 0}
    assert document["providers"]["openai"]["calls"] == {"under_way": 1, "waiting": 0, "refused": 1}


def test_a_failure_replaces_a_success_at_once() -> None:
    health.note("openai", 200)
    health.note("openai", 503)
    assert not health._outcomes["openai"].ok
    health.note("openai", 200)
    assert health._outcomes["openai"].ok
