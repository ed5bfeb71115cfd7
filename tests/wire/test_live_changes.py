"""Changes of the configuration while calls are served: by two workers, under load, with each kind of database."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ai_gateway import crypto
from ai_gateway.credentials import Secret
from tests import databases
from tests.threads import going_on
from tests.upstream import Upstream
from tests.wire.conftest import LIVE, ControlledGateway, Share, Start
from tests.wire.samples import CHAT, CHAT_PATH

PROBES = 24
"""Connections of their own that are opened to meet both workers: with fewer, one of them might be missed."""


def everywhere(ask: Callable[[], Any], expected: Any, seconds: float = LIVE) -> None:
    """Wait until every one of many connections sees the same, and fail if that takes too long."""
    deadline = time.monotonic() + seconds
    while (seen := {ask() for _ in range(PROBES)}) != {expected}:
        assert time.monotonic() < deadline, seen
        time.sleep(0.05)


@contextmanager
def load(gateway: ControlledGateway, token: str, model: str, threads: int = 3) -> Iterator[Counter[int]]:
    """Call all the time, and count the statuses."""
    statuses: Counter[int] = Counter()
    stop = threading.Event()

    def call() -> None:
        while not stop.wait(0.01):  # The suite has other things to do beside it.
            statuses[gateway.ask(token, model).status] += 1

    with going_on([threading.Thread(target=call) for _ in range(threads)], stop):
        yield statuses


@pytest.fixture
def workers(share: Share) -> ControlledGateway:
    """Two workers with the usual interval."""
    gateway = share("direct", "--workers", "2", POLL=2.0)
    deadline = time.monotonic() + 60
    while gateway.process.log().count("Application startup complete") < 2:
        assert time.monotonic() < deadline, gateway.process.log()
        time.sleep(0.05)
    return gateway


def test_two_workers_follow_every_change_within_seconds_and_no_call_fails(
    workers: ControlledGateway, upstream: Upstream
) -> None:
    """T93."""
    token, doomed = workers.issue("ann"), workers.issue("bob")
    everywhere(lambda: workers.ask(token).status, 200)
    with load(workers, token, "echo/echo-1") as statuses:
        workers.shell.run("make_route('mine', 'echo/echo-1')")
        everywhere(lambda: b"echo-1" in workers.ask(token, "mine").body, True)
        workers.shell.run("Route.objects.update(is_enabled=False); Route.objects.get().save()")
        everywhere(lambda: b"echo-1" in workers.ask(token, "mine").body, False)
        everywhere(lambda: workers.ask(doomed).status, 200)
        workers.shell.command("gateway_key", "revoke", doomed)
        everywhere(lambda: workers.ask(doomed).status, 401)
        workers.shell.run("user = User.objects.get(username='bob'); user.is_active = False; user.save()")
        workers.shell.run("VirtualKey.objects.filter(user__username='bob').update(is_active=True)")
        everywhere(lambda: workers.ask(doomed).status, 401)
    assert set(statuses) == {200}
    assert statuses[200] > 50


def test_a_credential_is_exchanged_under_load_without_a_failed_call(
    workers: ControlledGateway, upstream: Upstream
) -> None:
    """T93."""
    token = workers.issue("ann")
    make_gpu(workers, upstream)
    everywhere(lambda: credential_sent(workers, upstream, token), "Bearer sk-old-canary")
    with load(workers, token, "gpu/llama") as statuses:
        workers.shell.run("row = ProviderCredential.objects.get(); row.secret = 'sk-new-canary'; row.save()")
        everywhere(lambda: credential_sent(workers, upstream, token), "Bearer sk-new-canary")
    assert set(statuses) == {200}


def test_the_key_that_encrypts_is_exchanged_under_load_without_a_failed_call(
    start_controlled: Start, upstream: Upstream, tmp_path: Path
) -> None:
    """T90: the new key in front of the old one, everything encrypted anew, the old key gone."""
    old, new = crypto.generate_key(), crypto.generate_key()
    path = tmp_path / "keys"
    path.write_text(old)
    gateway = start_controlled(POLL=0.3, ENCRYPTION_KEYS=[f"file:{path}"])
    token = gateway.issue("ann")
    make_gpu(gateway, upstream)
    everywhere(lambda: credential_sent(gateway, upstream, token), "Bearer sk-old-canary")
    with load(gateway, token, "gpu/llama") as statuses:
        for content in (f"{new}\n{old}\n", new):
            draft = tmp_path / "draft"
            draft.write_text(content)
            draft.replace(path)
            gateway.shell.run("Provider.objects.get().save(); User.objects.get().save()")
            time.sleep(1.5)
            assert " 0 failed" in gateway.shell.command("gateway_rotate_secrets")
    assert set(statuses) == {200}
    assert upstream.requests[-1].header("authorization") == "Bearer sk-old-canary"
    assert gateway.shell.run("result = ProviderCredential.objects.get().secret.ciphertext").split(":")[1] == id_of(new)


def id_of(key: str) -> str:
    return crypto.Keyring([Secret(key)]).current


def make_gpu(gateway: ControlledGateway, upstream: Upstream) -> None:
    """Make a provider with a credential."""
    gateway.shell.run(
        "provider = make_provider('gpu', backend='custom', base_url=url, allow_private=True)\n"
        "make_credential(provider, secret='sk-old-canary')",
        url=f"http://127.0.0.1:{upstream.port}/v1",
    )


def credential_sent(gateway: ControlledGateway, upstream: Upstream, token: str) -> str | None:
    """Call that provider, and give the credential that it was called with: this call or one at the same time."""
    gateway.ask(token, "gpu/llama")
    return upstream.requests[-1].header("authorization") if upstream.requests else None


def test_a_broken_row_takes_nothing_else_down(workers: ControlledGateway) -> None:
    token = workers.issue("ann")
    everywhere(lambda: workers.ask(token).status, 200)
    with load(workers, token, "echo/echo-1") as statuses:
        workers.shell.run("Provider.objects.create(alias='broken', backend='no-such')")
        everywhere(lambda: workers.ask(token, "broken/m").status, 503)
    assert set(statuses) == {200}
    assert "'broken' is misconfigured" in workers.process.log()


@pytest.fixture
def postgres(
    postgres_server: databases.PostgresServer, database: databases.Database
) -> Iterator[databases.PostgresServer]:
    """A server that a test may stop: it runs again afterwards. Without a pool, which takes its time to notice."""
    del database["OPTIONS"]["pool"]
    yield postgres_server
    if postgres_server.process is None:
        postgres_server.start()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_database_that_goes_away_takes_nothing_down_that_worked(
    postgres: databases.PostgresServer, start_controlled: Start, upstream: Upstream
) -> None:
    gateway = start_controlled(POLL=0.3)
    token, cold = gateway.issue("ann"), gateway.issue("bob")
    gateway.shell.run("make_route('mine', 'echo/echo-1')")
    everywhere(lambda: b"echo-1" in gateway.ask(token, "mine").body, True)
    with load(gateway, token, "mine") as statuses:
        postgres.stop()
        time.sleep(7)
        ready = gateway.raw.get("/health/ready")
        assert (ready.status, ready.json()["status"]) == (200, "ready")
        assert "database" in ready.json()["warnings"]
        assert gateway.ask("gw_test-key-of-team-a").status == 200
        answer = gateway.ask(cold)
        assert (answer.status, answer.json()["error"]["code"]) == (503, "keys_unavailable")
        postgres.start()
        everywhere(lambda: gateway.ask(cold).status, 200, seconds=15)
        gateway.shell.run("make_route('later', 'echo/echo-1')")
        everywhere(lambda: b"echo-1" in gateway.ask(token, "later").body, True, seconds=15)
    assert set(statuses) == {200}
    assert gateway.raw.get("/health/ready").json() == {"status": "ready"}
    assert "what it said last stays in force" in gateway.process.log()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_gateway_that_starts_without_its_database_serves_the_settings_and_finds_it_later(
    postgres: databases.PostgresServer, start_controlled: Start, upstream: Upstream
) -> None:
    first = start_controlled(POLL=0.3)
    token = first.issue("ann")
    first.shell.run("make_route('mine', 'echo/echo-1')")
    postgres.stop()
    second = start_controlled(POLL=0.3, clear=False)
    assert second.ask("gw_test-key-of-team-a", "fast").status == 200
    assert second.ask(token).status == 503
    postgres.start()
    everywhere(lambda: second.ask(token).status, 200, seconds=15)
    everywhere(lambda: b"echo-1" in second.ask(token, "mine").body, True, seconds=15)


def test_the_first_call_of_a_site_without_lifespan_sees_the_database(start_controlled: Start) -> None:
    """As under Django's own handler, where nobody tells the gateway that the server starts."""
    gateway = start_controlled("stock", POLL=0.3)
    token = gateway.issue("ann")
    gateway.shell.run("make_route('mine', 'echo/echo-1')")
    assert b"echo-1" in gateway.raw.post(CHAT_PATH, {**CHAT, "model": "mine"}, [("x-api-key", token)]).body
