"""The thread that watches for changes: what it reads, what it survives, how soon it is done."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import daemons, declared, refresher, registry
from ai_gateway.configuration import Configuration, SourceUnavailable
from ai_gateway.key_cache import KeyCache
from ai_gateway.refresher import Refresher
from ai_gateway.stored import Version
from tests.forking import forked
from tests.threads import none_can_start


class World:
    """A database, as far as the thread sees it."""

    def __init__(self) -> None:
        self.version = Version(1, 1)
        self.looks = 0
        self.routes: dict[str, list[str]] = {"one": ["echo/echo-1"]}
        self.error: Exception | None = None
        self.used: list[set[Any]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.is_stuck = False

    def read_version(self) -> Version:
        self.looks += 1
        self.gate.wait(5)
        if self.error is not None:
            raise self.error
        return self.version

    def source(self) -> Configuration:
        if self.error is not None:
            raise self.error
        return Configuration(routes=self.routes)

    def write_used(self, keys: Any) -> None:
        self.used.append(set(keys))

    def release(self) -> None:
        if self.is_stuck:
            raise OSError("the connection cannot be closed")

    def change(self, **routes: list[str]) -> None:
        self.routes = routes
        self.version = Version(self.version.configuration + 1, self.version.keys)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World()
    watching = Refresher(world.read_version, world.write_used, world.release)
    cache = KeyCache(lambda ids: {}, lambda: None)
    monkeypatch.setattr(registry, "SOURCES", [declared.from_settings, world.source])
    monkeypatch.setattr(registry, "key_cache", cache)
    monkeypatch.setattr(refresher, "refresher", watching)
    with override_settings(AI_GATEWAY={"POLL": 0.02, "ROUTES": {"zero": ["echo/echo-1"]}}):
        yield world
        refresher.end()


def routes() -> set[str]:
    return set(registry.snapshot().routes)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_first_snapshot_waits_for_the_database(world: World) -> None:
    assert not refresher.is_settled()
    assert set(asyncio.run(refresher.begin()).routes) == {"zero", "one"}
    assert refresher.is_settled()


def test_a_change_is_in_force_after_the_next_look(world: World) -> None:
    asyncio.run(refresher.begin())
    world.change(two=["echo/echo-1"])
    wait_until(lambda: routes() == {"zero", "two"})


def test_nothing_is_built_anew_while_nothing_changes(world: World) -> None:
    first = asyncio.run(refresher.begin())
    looks = world.looks
    wait_until(lambda: world.looks > looks + 5)
    assert registry.snapshot() is first


def test_a_change_of_keys_invalidates_them_and_builds_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first = asyncio.run(refresher.begin())
    invalidated = threading.Event()
    assert registry.key_cache is not None
    monkeypatch.setattr(registry.key_cache, "invalidate", invalidated.set)
    world.version = Version(1, 2)
    assert invalidated.wait(5)
    assert registry.snapshot() is first


@override_settings(AI_GATEWAY={"POLL": 60.0})
def test_a_change_in_this_process_is_looked_at_at_once(world: World) -> None:
    with override_settings(AI_GATEWAY={"POLL": 60.0}):
        asyncio.run(refresher.begin())
        world.change(two=["echo/echo-1"])
        assert refresher.refresher is not None
        refresher.refresher.look()
        wait_until(lambda: routes() == {"two"})


def test_without_the_thread_a_change_in_this_process_counts_with_the_next_call(world: World) -> None:
    registry.refresh()
    world.change(two=["echo/echo-1"])
    assert refresher.refresher is not None
    refresher.refresher.look()
    assert routes() == {"zero", "two"}


@pytest.mark.parametrize("error", [SourceUnavailable("away"), RuntimeError("a bug")])
def test_what_fails_leaves_the_snapshot_and_is_tried_again(
    world: World, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(refresher.begin())
    world.error = error
    looks = world.looks
    wait_until(lambda: world.looks > looks + 3)
    assert routes() == {"zero", "one"}
    world.error = None
    world.change(two=["echo/echo-1"])
    wait_until(lambda: routes() == {"zero", "two"})


def test_a_database_that_is_away_at_the_start_comes_into_force_when_it_is_back(world: World) -> None:
    world.error = SourceUnavailable("away")
    assert set(asyncio.run(refresher.begin()).routes) == {"zero"}
    assert registry.problems()
    world.error = None
    wait_until(lambda: routes() == {"zero", "one"})
    assert not registry.problems()


def test_a_database_that_hangs_at_the_start_holds_nobody_up_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresher, "FIRST_LOOK", 0.1)
    monkeypatch.setattr(registry, "SOURCES", [declared.from_settings])
    world.gate.clear()
    assert set(asyncio.run(refresher.begin()).routes) == {"zero"}
    assert refresher.is_settled()
    world.gate.set()


def test_used_keys_are_written_now_and_then_and_at_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresher, "USED_INTERVAL", 0.0)
    asyncio.run(refresher.begin())
    assert registry.key_cache is not None
    registry.key_cache.note_used(7)
    wait_until(lambda: world.used == [{7}])
    monkeypatch.setattr(refresher, "USED_INTERVAL", 1000.0)
    time.sleep(0.05)
    registry.key_cache.note_used(8)
    refresher.end()
    assert world.used == [{7}, {8}]


def test_a_stopped_one_can_be_started_again(world: World) -> None:
    asyncio.run(refresher.begin())
    refresher.end()
    assert not refresher.is_settled()
    world.change(two=["echo/echo-1"])
    assert "two" in asyncio.run(refresher.begin()).routes


def test_an_exchanged_file_is_in_force_after_the_next_look(world: World, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("gw_old")
    settings = {"POLL": 0.02, "KEYS": {"team-a": f"file:{path}"}}
    with override_settings(AI_GATEWAY=settings):
        first = asyncio.run(refresher.begin())
        path.write_text("gw_new")
        wait_until(lambda: registry.snapshot() is not first)
        assert registry.digest("gw_new") in registry.snapshot().keys
        second = registry.snapshot()
        looks = world.looks
        wait_until(lambda: world.looks > looks + 3)
        assert registry.snapshot() is second
        refresher.end()


def test_an_exchanged_file_is_in_force_while_the_database_is_away(world: World, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("gw_old")
    with override_settings(AI_GATEWAY={"POLL": 0.02, "KEYS": {"team-a": f"file:{path}"}}):
        asyncio.run(refresher.begin())
        world.error = SourceUnavailable("the database: away")
        wait_until(lambda: bool(registry.problems()))
        path.write_text("gw_new")
        wait_until(lambda: registry.digest("gw_new") in registry.snapshot().keys)
        assert routes() == {"one"}
        refresher.end()


def test_whoever_asks_has_everything_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that name a variable, say, which the process itself has set anew."""
    monkeypatch.setenv("TEAM_A_KEY", "gw_old")
    with override_settings(AI_GATEWAY={"POLL": 60.0, "KEYS": {"team-a": "env:TEAM_A_KEY"}}):
        asyncio.run(refresher.begin())
        monkeypatch.setenv("TEAM_A_KEY", "gw_new")
        refresher.reload()
        wait_until(lambda: registry.digest("gw_new") in registry.snapshot().keys)
        refresher.end()


def test_a_connection_that_cannot_be_closed_ends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemons, "PAUSE", 0.01)
    world.is_stuck = True
    assert set(asyncio.run(refresher.begin()).routes) == {"zero", "one"}
    world.change(two=["echo/echo-1"])
    wait_until(lambda: routes() == {"zero", "two"})


def test_files_that_cannot_be_looked_at_end_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(refresher.begin())
    with monkeypatch.context() as patch:
        patch.setattr(refresher, "changed_files", lambda: 1 / 0)
        wait_until(lambda: "The configuration cannot be refreshed" in caplog.text)
    world.change(two=["echo/echo-1"])
    wait_until(lambda: routes() == {"zero", "two"})


def test_without_a_thread_the_settings_are_served_and_the_next_call_tries_again(world: World) -> None:
    with none_can_start():
        assert "zero" in asyncio.run(refresher.begin()).routes
        assert not refresher.is_settled()
    world.change(two=["echo/echo-1"])
    assert set(asyncio.run(refresher.begin()).routes) == {"zero", "two"}
    assert refresher.is_settled()


WATCHES = """
import django
django.setup()
from ai_gateway import registry
from ai_gateway.refresher import Refresher
from ai_gateway.stored import Version
registry.SOURCES[:] = []
watching = Refresher(lambda: Version(1, 1), lambda used: None, lambda: None)
watching.start().result(10)
"""
CHILD = "print(watching.is_running, watching.is_settled, watching.start().result(10), watching.is_settled)"


def test_a_forked_process_watches_for_itself() -> None:
    assert forked(WATCHES, CHILD, "print(watching.is_running)") == ["False False None True", "True"]
