"""From settings and other sources to one snapshot."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading

import pytest
from django.test import override_settings

from ai_gateway import declared, registry
from ai_gateway.calls import Caller
from ai_gateway.configuration import Configuration, NotHere
from ai_gateway.providers import CATALOG
from tests.forking import forked

KEY = "gw_0123456789abcdefghij"
DIGEST = hashlib.sha256(KEY.encode()).digest()


def test_without_configuration_the_catalogue_is_there_and_nobody_has_a_key() -> None:
    with override_settings(AI_GATEWAY={}):
        snapshot = registry.snapshot()
    assert set(snapshot.providers) == set(CATALOG)
    assert not snapshot.keys
    assert "openai" not in snapshot.configured


def test_a_change_of_the_settings_is_seen() -> None:
    with override_settings(AI_GATEWAY={"PASSTHROUGH": False}):
        assert not registry.snapshot().passthrough
    with override_settings(AI_GATEWAY={}):
        assert registry.snapshot().passthrough


def test_a_route_that_cannot_be_read_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """A list has no details of its targets: a dict has."""
    routes = {"odd": [{"target": "openai/x"}], "fast": ["openai/x"], "slow": {"targets": [{"target": "openai/x"}]}}
    with override_settings(AI_GATEWAY={"ROUTES": routes}):
        assert set(registry.snapshot().routes) == {"fast", "slow"}
    assert "'odd' is left out" in caplog.text


@pytest.mark.parametrize("form", [KEY, f"sha256:{DIGEST.hex()}", "env:A_KEY"])
def test_a_key_may_be_written_in_several_ways(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    with override_settings(AI_GATEWAY={"KEYS": {"team": form}}):
        assert registry.snapshot().keys == {DIGEST: Caller(key_name="team")}


def test_neither_keys_nor_credentials_are_shown() -> None:
    options = {"KEYS": {"team": KEY}, "PROVIDERS": {"openai": {"OPTIONS": {"api_key": "sk-canary"}}}}
    with override_settings(AI_GATEWAY=options):
        shown = repr(registry.snapshot())
    assert "sk-canary" not in shown
    assert KEY not in shown


def test_what_is_broken_is_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    options = {
        "PROVIDERS": {"openai": {"OPTIONS": {"nonsense": 1}}, "groq": {"OPTIONS": {"api_key": "gsk"}}},
        "KEYS": {"bad": "sha256:zz", "good": KEY},
    }
    with caplog.at_level(logging.ERROR), override_settings(AI_GATEWAY=options):
        snapshot = registry.snapshot()
    assert "openai" not in snapshot.providers
    assert "nonsense" in snapshot.broken["openai"]
    assert snapshot.providers["groq"].is_configured
    assert list(snapshot.keys) == [DIGEST]
    assert {"'openai'" in record.getMessage() or "'bad'" in record.getMessage() for record in caplog.records} == {True}


def test_prices_and_limits_that_cannot_be_read_are_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    prices = [{"model": "good", "input": 1}, {"model": "bad", "input": "much"}, {"input": 1}]
    good = {"name": "good", "measure": "requests", "amount": 1, "window": "minute"}
    limits = [good, {**good, "name": "bad", "window": "fortnight"}]
    with override_settings(AI_GATEWAY={"PRICES": prices, "LIMITS": limits}), caplog.at_level(logging.ERROR):
        snapshot = registry.snapshot()
    assert [rule.name for rule in snapshot.limits.rules] == ["good"]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3
    assert sum("PRICES" in each for each in said) == 2
    assert sum("'bad'" in each and "limit" in each for each in said) == 1


def test_a_later_source_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    def database() -> Configuration:
        return Configuration(
            providers={"groq": {"OPTIONS": {"label": "from the database"}}}, routes={"fast": ["groq/llama"]}
        )

    monkeypatch.setattr(registry, "SOURCES", [declared.from_settings, database])
    settings = {"PROVIDERS": {"groq": {"OPTIONS": {"label": "from the settings"}}}, "ROUTES": {"fast": ["openai/x"]}}
    with override_settings(AI_GATEWAY=settings):
        snapshot = registry.refresh()
    assert snapshot.providers["groq"].label == "from the database"
    assert snapshot.routes["fast"][0].provider == "groq"


def test_a_source_that_fails_leaves_the_snapshot_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Configuration:
        raise RuntimeError("the database is away")

    with override_settings(AI_GATEWAY={}):
        before = registry.snapshot()
        monkeypatch.setattr(registry, "SOURCES", [broken])
        with pytest.raises(RuntimeError):
            registry.refresh()
        assert registry.snapshot() is before


def test_a_snapshot_that_a_call_builds_does_not_replace_one_that_knows_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database says nothing on an event loop; what is read elsewhere meanwhile must stay in force."""
    builds, is_refreshed = threading.Event(), threading.Event()

    def database() -> Configuration:
        if threading.current_thread() is not threading.main_thread():
            return Configuration(routes={"of-the-database": ["echo/echo-1"]})
        builds.set()
        assert is_refreshed.wait(10)
        raise NotHere

    def refresh() -> None:
        assert builds.wait(10)
        registry.refresh()
        is_refreshed.set()

    monkeypatch.setattr(registry, "SOURCES", [database])
    with override_settings(AI_GATEWAY={}):
        thread = threading.Thread(target=refresh)
        thread.start()
        found = asyncio.run(on_loop())
        thread.join()
        assert set(found.routes) == {"of-the-database"}
        assert registry.snapshot() is found


def test_a_snapshot_of_what_was_dropped_meanwhile_is_not_put_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    routes = [{"old": ["echo/echo-1"]}, {"new": ["echo/echo-1"]}]

    def source() -> Configuration:
        found = Configuration(routes=routes.pop(0))
        if routes:
            registry.forget()
        return found

    monkeypatch.setattr(registry, "SOURCES", [source])
    with override_settings(AI_GATEWAY={}):
        assert set(registry.snapshot().routes) == {"old"}
        assert set(registry.snapshot().routes) == {"new"}
        assert set(registry.snapshot().routes) == {"new"}


async def on_loop() -> registry.Snapshot:
    return registry.snapshot()


READS = """
import threading
import django
django.setup()
from ai_gateway import registry
from ai_gateway.configuration import Configuration
reads, go_on, parent = threading.Event(), threading.Event(), os.getpid()
def database():
    if os.getpid() == parent:
        reads.set()
        go_on.wait(30)
    return Configuration(routes={"one": ["echo/echo-1"]})
registry.SOURCES[:] = [database]
threading.Thread(target=registry.refresh, daemon=True).start()
reads.wait(10)
"""


def test_a_process_that_is_forked_while_the_configuration_is_read_reads_it_itself() -> None:
    assert forked(READS, "print(list(registry.refresh().routes))", "go_on.set()") == ["['one']"]


def test_private_addresses_may_be_allowed_for_all() -> None:
    with override_settings(AI_GATEWAY={"ALLOW_PRIVATE_UPSTREAMS": True}):
        assert all(provider.allow_private for provider in registry.snapshot().providers.values())
