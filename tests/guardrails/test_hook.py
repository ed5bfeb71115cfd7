"""Functions of the site's own as guardrails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connections
from pytest_django import DjangoDbBlocker

from ai_gateway.guardrails import hook
from ai_gateway.guardrails.base import Block, View
from ai_gateway.guardrails.hook import Hook
from ai_gateway.thread_pools import ThreadPool
from tests.factories import run
from tests.guardrails.views import seen, verdict


def test_functions_of_the_site_are_asked_in_their_way() -> None:
    async def is_bad(view: View, word: str) -> Block | None:
        return Block("async") if word in view.texts[0].value else None

    def is_bad_too(view: View, word: str) -> Block | None:
        assert threading.current_thread() is not threading.main_thread()
        return Block("sync") if word in view.texts[0].value else None

    assert verdict(Hook(is_bad, word="x"), seen("x")) == Block("async")
    assert verdict(Hook(is_bad_too, word="x"), seen("x")) == Block("sync")
    assert verdict(Hook(is_bad_too, word="x"), seen("y")) is None


def test_functions_that_hang_take_no_more_than_their_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook, "_threads", ThreadPool("one-guardrail", size=1, most=1))
    goes_on = threading.Event()
    try:
        guardrail = Hook(lambda view: goes_on.wait(30))

        async def twice() -> None:
            first = asyncio.ensure_future(guardrail.review(seen("x")))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="busy"):
                await guardrail.review(seen("x"))
            goes_on.set()
            await first

        run(twice())
    finally:
        goes_on.set()


@pytest.fixture
def _looked_up_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """A database for what a site looks up, and a thread of its own for that."""
    entry = {**connections.settings["default"], "NAME": str(tmp_path / "site.sqlite3"), "CONN_MAX_AGE": 0}
    entry |= {"ENGINE": "django.db.backends.sqlite3", "OPTIONS": {}}
    monkeypatch.setitem(connections.settings, "site", entry)
    monkeypatch.setattr(hook, "_threads", ThreadPool("one-guardrail", size=1))
    with django_db_blocker.unblock():
        yield


@pytest.mark.usefixtures("_looked_up_in")
def test_a_function_that_asks_a_database_keeps_no_connection() -> None:
    used: list[Any] = []

    def look(view: View) -> None:
        with connections["site"].cursor() as cursor:
            cursor.execute("SELECT 1")
        used.append(connections["site"])

    verdict(Hook(look), seen("x"))
    assert used[0].connection is None


@pytest.mark.usefixtures("_looked_up_in")
def test_a_function_is_asked_again_with_a_connection_that_works() -> None:
    def look(view: View) -> None:
        connection = connections["site"]
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            if view.texts[0].value == "the database restarts":
                connection.connection.close()
                cursor.execute("SELECT 1")

    guardrail = Hook(look)
    verdict(guardrail, seen("x"))
    with pytest.raises(DatabaseError):
        verdict(guardrail, seen("the database restarts"))
    verdict(guardrail, seen("x"))
