"""Fixtures of the whole suite: the fake upstream, gateway processes for both doors, and a caller on bare sockets.

A gateway process is shared by all tests that want the same door and the same settings, until it is the one that was
wanted least recently. The upstream lives for the session, because its port stands in those settings; each test finds it
with nothing recorded.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
from asgiref.sync import SyncToAsync
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.sqlite3.base import DatabaseWrapper
from hypothesis import settings as hypothesis

from ai_gateway import crypto, ledger, peers, registry
from ai_gateway.test.isolation import isolated
from ai_gateway.test.providers import Books
from tests import databases
from tests.effort import EXAMPLES
from tests.gateway_process import Door, GatewayProcess, site_environment
from tests.mysql_server import MysqlServer, find_mysql
from tests.raw_client import RawClient
from tests.redis_server import RedisServer
from tests.upstream import Upstream

pytest_plugins = ["ai_gateway.test.fixtures", "tests.serving"]

# The suite starts many processes. Each of them would compile the whole package where nothing compiled may be kept.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Nothing is timed: the machine may be busy.
hypothesis.register_profile("gateway", max_examples=EXAMPLES, deadline=None)
hypothesis.load_profile("gateway")

GATEWAY_KEY = "gw_test-key-of-team-a"
SECOND_GATEWAY_KEY = "gw_test-key-of-team-b"
STORED = {"openai": "sk-stored-openai", "anthropic": "sk-ant-stored-anthropic", "gemini": "AIza-stored-gemini"}

MOST_PROCESSES = 6
"""Gateways that go on for later tests. One that has nothing to do costs little; forty cost a third of a CPU."""

MOST_THREADS = 26
"""A gateway's threads when every pool is full: the loop's own, uvloop's resolver (4), Django's (8), the pool of the
loop (6), what watches the configuration and what looks keys up (2), the ledger's (2), and what reads usage (2)."""


@pytest.fixture(autouse=True)
def _isolated(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tests that have no database read no configuration from it. None has it watched, and none has its calls written
    down there, or its breakers told of, unless it says so."""
    with isolated(database=request.node.get_closest_marker("django_db") is not None):
        yield
        peers.stop()
        # pytest-django has asked for it before, so it would be undone behind this: what a test put in the place of what
        # is isolated would stay for all that follow.
        monkeypatch.undo()


@pytest.fixture(scope="session", autouse=True)
def _threads_close_their_connections() -> Iterator[None]:
    """Have a connection to a database in memory closed by a thread that gives it back, as one to any other is. Django
    leaves it open, lest the database be gone with it; here the test's own connection keeps it. From 3.13 on, Python
    warns of those that nobody closes."""
    with pytest.MonkeyPatch.context() as patched:
        close = DatabaseWrapper.close

        def close_in_threads(self: DatabaseWrapper) -> None:
            is_main = threading.current_thread() is threading.main_thread()
            (close if is_main else BaseDatabaseWrapper.close)(self)

        patched.setattr(DatabaseWrapper, "close", close_in_threads)
        yield


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """The test database, which PostgreSQL does not delete while a connection to it is open: asgiref's own thread, in
    which synchronous code of async tests runs, lives as long as the process."""
    yield
    SyncToAsync.single_thread_executor.submit(connections.close_all).result(30)


@pytest.fixture
def books(monkeypatch: pytest.MonkeyPatch) -> Books:
    """The finished calls, in the place of the ledger of a site that writes them down."""
    made = Books()
    monkeypatch.setattr(ledger, "ledger", made)
    monkeypatch.setattr(registry, "writes_usage", lambda: True)
    return made


@pytest.fixture
def encryption_key(monkeypatch: pytest.MonkeyPatch) -> str:
    """An encryption key, set as an operator sets it."""
    key = crypto.generate_key()
    monkeypatch.setenv("AI_GATEWAY_ENCRYPTION_KEYS", key)
    return key


class StartGateway(Protocol):
    """Gives a gateway with these settings; the same one for the same settings."""

    def __call__(self, *, site: Mapping[str, Any] | None = None, **settings: Any) -> GatewayProcess: ...


@pytest.fixture(scope="session")
def _upstream() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.stop()


@pytest.fixture
def upstream(_upstream: Upstream) -> Iterator[Upstream]:
    """The fake provider, with nothing recorded and its default answer."""
    _upstream.forget()
    yield _upstream
    failures = list(_upstream.failures)
    _upstream.forget()
    assert not failures, failures


def default_settings(upstream: Upstream) -> dict[str, Any]:
    """Configure three providers with stored credentials, all of them the fake one, and two that cannot be reached."""
    at_root = f"http://127.0.0.1:{upstream.port}"
    unreachable = {"BACKEND": "custom", "OPTIONS": {"base_url": "http://127.0.0.1:9/v1", "allow_private": True}}
    nowhere = {"BACKEND": "custom", "OPTIONS": {"base_url": "http://gateway-test.invalid/v1"}}
    openai = {"base_url": f"{at_root}/v1", "allow_private": True, "api_key": STORED["openai"]}
    anthropic = {"base_url": at_root, "allow_private": True, "api_key": STORED["anthropic"]}
    gemini = {"base_url": at_root, "allow_private": True, "api_key": STORED["gemini"]}
    return {
        "PROVIDERS": {
            "openai": {"OPTIONS": openai},
            "anthropic": {"OPTIONS": anthropic},
            "gemini": {"OPTIONS": gemini},
            "groq": {"OPTIONS": {**openai, "api_key": "gsk-stored-groq"}},
            "echo": {},
            "unreachable": unreachable,
            "nowhere": nowhere,
        },
        "KEYS": {"team-a": GATEWAY_KEY, "team-b": SECOND_GATEWAY_KEY},
        "ROUTES": {"fast": ["openai/gpt-5-mini"]},
    }


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> databases.Database:
    """A database with tables and nothing in them, that nobody uses: it is there to be copied."""
    database = databases.sqlite(tmp_path_factory.mktemp("empty") / "db.sqlite3")
    databases.migrate(site_environment("direct", {}, {"DATABASES": {"default": database}}))
    return database


@pytest.fixture(scope="session")
def site_database(empty_database: databases.Database, tmp_path_factory: pytest.TempPathFactory) -> databases.Database:
    """One for all gateways of which a test wants nothing else. Other tests' calls are written down there."""
    return databases.copy_of(empty_database, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[databases.PostgresServer]:
    """A PostgreSQL server of the tests' own; skipped where it is not installed."""
    try:
        databases.find_postgres()
    except LookupError as error:
        pytest.skip(str(error))
    server = databases.PostgresServer()
    databases.migrate(site_environment("direct", {}, {"DATABASES": {"default": server.database}}))
    yield server
    server.remove()


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MysqlServer]:
    """A MariaDB server of the tests' own, or MySQL's where only that is; skipped where there is none, or no driver."""
    try:
        find_mysql()
    except LookupError as error:
        pytest.skip(str(error))
    server = MysqlServer()
    databases.migrate(site_environment("direct", {}, {"DATABASES": {"default": server.database}}))
    yield server
    server.remove()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis of the test's own; skipped where it is not installed."""
    server = RedisServer()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def gateway_processes(
    _upstream: Upstream, site_database: databases.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., GatewayProcess]]:
    """Give gateway processes, which may run already."""
    running: dict[str, GatewayProcess] = {}  # The one that was given last is the last.
    ended: list[GatewayProcess] = []
    logs: Path = tmp_path_factory.mktemp("gateways")

    def start(door: Door, settings: Mapping[str, Any], site: Mapping[str, Any]) -> GatewayProcess:
        name = json.dumps([door, settings, site], sort_keys=True)
        process = running.pop(name, None)
        if process is None or process.process.poll() is not None:
            if len(running) == MOST_PROCESSES:
                end(next(iter(running)))
            process = GatewayProcess(
                door,
                {**default_settings(_upstream), **settings},
                logs / f"{door}-{time.monotonic_ns()}.log",
                site={"DATABASES": {"default": site_database}, **site},
            )
        running[name] = process
        return process

    def end(name: str) -> None:
        ended.append(running.pop(name))
        ended[-1].terminate()

    yield start
    for name in [*running]:
        end(name)
    for process in ended:
        process.stop()


@pytest.fixture(params=["direct", "django"])
def door(request: pytest.FixtureRequest) -> Door:
    """By which door the gateway is entered: every wire test runs through both."""
    name: Door = request.param
    return name


@pytest.fixture
def start_gateway(
    door: Door, upstream: Upstream, gateway_processes: Callable[..., GatewayProcess]
) -> Iterator[StartGateway]:
    """Give gateways with other settings than the default ones."""
    used: list[GatewayProcess] = []

    def start(*, site: Mapping[str, Any] | None = None, **settings: Any) -> GatewayProcess:
        process = gateway_processes(door, settings, site or {})
        used.append(process)
        return process

    yield start
    for process in used:
        process.assert_log_in_order()


@pytest.fixture
def gateway(start_gateway: StartGateway) -> GatewayProcess:
    """A gateway with the default settings."""
    return start_gateway()


@pytest.fixture
def raw(gateway: GatewayProcess) -> Iterator[RawClient]:
    """A caller of the default gateway who sends exact bytes."""
    client = RawClient(gateway.port)
    yield client
    client.close()


@pytest.fixture
def quiescent(gateway: GatewayProcess, upstream: Upstream) -> Iterator[None]:
    """After the test nothing may be left of it: no exchange at the upstream, no task, no thread, no socket."""
    upstream.wait_for("the upstream is quiet before the test", lambda: upstream.busy == 0)
    tasks, threads, files = gateway.tasks(), gateway.threads, gateway.open_files
    yield
    upstream.wait_for("no exchange with the upstream is left", lambda: upstream.busy == 0)
    upstream.wait_for(f"tasks are back to {tasks}, now {gateway.tasks()}", lambda: gateway.tasks() <= tasks + 1)
    # Connections to the upstream may stay open for later.
    upstream.wait_for("sockets are closed", lambda: gateway.open_files <= files + upstream.open + 2)
    assert gateway.threads <= max(threads, MOST_THREADS)
