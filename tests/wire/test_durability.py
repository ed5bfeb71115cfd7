"""What is in the ledger after the worst: a killed process, a stopped one, a database that is away or locked.

The fake provider keeps every request, and is the independent witness of what was served.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import databases
from tests.conftest import default_settings
from tests.gateway_process import Door, GatewayProcess, site_environment
from tests.raw_client import ConnectionEnded, RawConnection
from tests.site_shell import SiteShell
from tests.upstream import Exchange, Upstream, event_stream, json_answer
from tests.wire.ledger_reader import new_request_id
from tests.wire.samples import BEARER, CHAT, CHAT_PATH, JSON
from tests.wire.test_accounting import ANSWER, PRICES, STREAM

ROUNDS = int(os.environ.get("GATEWAY_KILL_ROUNDS", "3"))
"""How often a process is killed in one test. More takes longer, and finds more."""

PATIENCE = 30.0


class Refused(Exception):
    """A call was answered with an error."""


class Calls:
    """Calls that are made all the time by some threads, and which of them their callers saw the end of."""

    def __init__(self, threads: int = 6) -> None:
        self.finished: list[str] = []
        self.failed = 0
        self._port = 0
        self._stop = threading.Event()
        self._threads = threads

    @contextmanager
    def to(self, port: int) -> Iterator[None]:
        """Call a gateway, until the block is over."""
        self._port = port
        self._stop.clear()
        workers = [threading.Thread(target=self._work, args=(number,)) for number in range(self._threads)]
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            self._stop.set()
            for worker in workers:
                worker.join()

    def _work(self, number: int) -> None:
        is_stream = number % 2 == 0
        while not self._stop.is_set():
            try:
                self.finished.append(call(self._port, stream=is_stream))
            except (OSError, ConnectionEnded, Refused):
                self.failed += 1
                time.sleep(0.01)


def call(port: int, *, stream: bool = False) -> str:
    """Call a gateway, read the answer to its end, and give the request id. Raises what goes wrong."""
    name = new_request_id()
    body = json.dumps({**CHAT, "stream": stream, "user": name}).encode()
    with RawConnection(port) as connection:
        connection.request("POST", CHAT_PATH, [BEARER, JSON, ("x-request-id", name)], body)
        answer = connection.read_head()
        if answer.status != 200:
            raise Refused(answer.status)
        if stream:
            connection.read_text_until(b"[DONE]")
        else:
            connection.read_exactly(int(answer.header("content-length") or 0))
    return name


class Site:
    """Gateways one after the other on one database, and a look into its ledger."""

    def __init__(self, door: Door, database: databases.Database, upstream: Upstream, folder: Path) -> None:
        self._door = door
        self._site = {"DATABASES": {"default": database}}
        self._settings = {**default_settings(upstream), "PRICES": PRICES, "DRAIN_TIMEOUT": 5.0}
        self._folder = folder
        self._started: list[GatewayProcess] = []
        self.shell = SiteShell(site_environment(door, self._settings, self._site))
        self.shell.run("UsageRecord.objects.all().delete(); UsageDaily.objects.all().delete()")

    def start(self, **settings: Any) -> GatewayProcess:
        log = self._folder / f"{len(self._started)}.log"
        process = GatewayProcess(self._door, {**self._settings, **settings}, log, site=self._site)
        self._started.append(process)
        return process

    def written(self) -> list[str]:
        """The request ids in the ledger."""
        return list(self.shell.run("result = list(UsageRecord.objects.values_list('request_id', flat=True))"))

    def wait_for(self, names: list[str]) -> None:
        """Wait until all of these are in the ledger, each once."""
        deadline = time.monotonic() + PATIENCE
        while missing := set(names) - set(self.written()):
            assert time.monotonic() < deadline, f"{len(missing)} of {len(names)} calls are lost: {sorted(missing)[:5]}"
            time.sleep(0.1)
        written = self.written()
        assert len(written) == len(set(written))

    def assert_reconciled(self) -> None:
        """Fail if the sums of the days are not those of the records."""
        code = "out = io.StringIO(); call_command('gateway_reconcile_usage', stdout=out); result = out.getvalue()"
        assert "were wrong: 0." in self.shell.run(code)

    def close(self) -> None:
        self.shell.close()
        for process in self._started:
            process.kill()


@pytest.fixture
def site(door: Door, database: databases.Database, upstream: Upstream, tmp_path: Path) -> Iterator[Site]:
    made = Site(door, database, upstream, tmp_path)
    yield made
    made.close()


async def answer(exchange: Exchange) -> None:
    """Answer plain calls and streams, each as it wants."""
    await exchange.read_body()
    script = event_stream(*STREAM) if exchange.request.json()["stream"] else json_answer(ANSWER)
    await script(exchange)


def served(upstream: Upstream) -> set[str]:
    """The calls that the provider saw."""
    return {request.json()["user"] for request in list(upstream.requests) if request.is_whole}


both_databases = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@both_databases
def test_a_killed_process_loses_nothing_that_a_caller_saw_the_end_of(site: Site, upstream: Upstream) -> None:
    """kill -9 at random moments, in committed mode."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    upstream.answer(answer)
    calls = Calls()
    for _ in range(ROUNDS):
        process = site.start(USAGE_DURABILITY="committed")
        with calls.to(process.port):
            time.sleep(chance.uniform(0.2, 1.0))
            process.kill()
    assert len(calls.finished) > 10 * ROUNDS
    site.start(USAGE_DURABILITY="committed")  # It finds what the others left in their journals.
    site.wait_for(calls.finished)
    assert set(site.written()) <= served(upstream)
    site.assert_reconciled()


@on_sqlite
def test_a_killed_process_loses_what_ended_since_the_last_batch_at_most(site: Site, upstream: Upstream) -> None:
    """kill -9, in batched mode."""
    upstream.answer(answer)
    process = site.start(USAGE_INTERVAL=0.2)
    first = [call(process.port, stream=number % 2 == 0) for number in range(40)]
    site.wait_for(first)
    last = [call(process.port) for _ in range(10)]
    process.kill()
    site.start(USAGE_INTERVAL=0.2)
    site.wait_for(first)
    assert set(site.written()) <= {*first, *last}
    site.assert_reconciled()


@both_databases
@pytest.mark.parametrize("durability", ["batched", "committed"])
def test_a_process_that_is_stopped_loses_nothing(site: Site, upstream: Upstream, durability: str) -> None:
    """SIGTERM under load."""
    upstream.answer(answer)
    process = site.start(USAGE_DURABILITY=durability, USAGE_INTERVAL=5.0)
    calls = Calls()
    with calls.to(process.port):
        time.sleep(1.0)
        process.terminate()
        process.wait()
    assert len(calls.finished) > 10
    site.wait_for(calls.finished)
    site.assert_reconciled()


@pytest.fixture
def postgres(
    postgres_server: databases.PostgresServer, database: databases.Database
) -> Iterator[databases.PostgresServer]:
    """A server that a test may stop: it runs again afterwards. Without a pool, which takes its time to notice."""
    database.pop("OPTIONS", None)
    yield postgres_server
    if postgres_server.process is None:
        postgres_server.start()


@on_postgresql
@pytest.mark.parametrize("durability", ["batched", "committed"])
def test_a_database_that_goes_away_costs_no_call_and_no_entry(
    postgres: databases.PostgresServer, site: Site, upstream: Upstream, durability: str
) -> None:
    upstream.answer(answer)
    process = site.start(USAGE_DURABILITY=durability, USAGE_INTERVAL=0.2)
    calls = Calls(threads=3)
    with calls.to(process.port):
        time.sleep(0.5)
        postgres.stop()
        before = len(calls.finished)
        time.sleep(3)
        assert len(calls.finished) > before
        postgres.start()
        time.sleep(1)
    assert calls.failed == 0
    site.wait_for(calls.finished)
    site.assert_reconciled()
    assert "they go to the journal" in process.log()


@on_sqlite
@pytest.mark.parametrize("durability", ["batched", "committed"])
def test_a_database_that_is_locked_costs_no_call_and_no_entry(
    site: Site, upstream: Upstream, database: databases.Database, durability: str
) -> None:
    upstream.answer(answer)
    process = site.start(USAGE_DURABILITY=durability, USAGE_INTERVAL=0.2)
    calls = Calls(threads=3)
    with calls.to(process.port):
        time.sleep(0.3)
        with locked(database):
            before = len(calls.finished)
            time.sleep(4)
            assert len(calls.finished) > before
        time.sleep(0.5)
    assert calls.failed == 0
    site.wait_for(calls.finished)
    site.assert_reconciled()


@contextmanager
def locked(database: databases.Database) -> Iterator[None]:
    """Let nobody else write to a SQLite file."""
    connection = sqlite3.connect(database["NAME"], timeout=PATIENCE, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@on_sqlite
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
def test_the_end_of_an_answer_waits_until_it_is_written_down(
    site: Site, upstream: Upstream, database: databases.Database, stream: bool
) -> None:
    """In committed mode: the caller of a stream has all of it but the proof of its end, and the entry is not there."""
    upstream.answer(answer)
    process = site.start(USAGE_DURABILITY="committed")
    call(process.port)
    name = new_request_id()
    body = json.dumps({**CHAT, "stream": stream, "user": name}).encode()
    with locked(database), RawConnection(process.port) as connection:
        connection.request("POST", CHAT_PATH, [BEARER, JSON, ("x-request-id", name)], body)
        began = time.monotonic()
        connection.read_head()
        if stream:
            connection.read_text_until(b"[DONE]")
        # The database is locked, so the journal took it: that is when the patience with the database ends.
        assert time.monotonic() - began > 0.3
        assert list(journal_of(database)), "neither the database nor the journal has it"
    site.wait_for([name])


def journal_of(database: databases.Database) -> Iterator[Path]:
    """The journals of gateways with this database, as `site_settings` places them."""
    text = json.dumps({"default": database}, sort_keys=True)
    folder = Path(tempfile.gettempdir()) / f"gateway-test-journal-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return folder.glob("*.journal")


@on_sqlite
def test_calls_go_on_if_neither_the_database_nor_the_journal_takes_anything(
    site: Site, upstream: Upstream, database: databases.Database, tmp_path: Path
) -> None:
    upstream.answer(answer)
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a directory")
    process = site.start(USAGE_JOURNAL=str(in_the_way / "journal"), USAGE_INTERVAL=0.2)
    with locked(database):
        names = [call(process.port) for _ in range(5)]
        upstream.wait_for("the log tells", lambda: "the journal does not take them" in process.log())
        names += [call(process.port) for _ in range(5)]
    site.wait_for(names)
