"""What is in the ledger after the worst: a killed process, a stopped one, a database that is away or locked.

The fake provider keeps every request, and is the independent witness of what was served. What is safe does not depend
on the door, so each door comes with one kind of database; what callers see is in `test_committed.py`, for both.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import databases
from tests.effort import KILL_ROUNDS
from tests.gateway_process import Door, GatewayProcess
from tests.private_server import PrivateServer
from tests.upstream import End, Exchange, Upstream, event_stream, json_answer
from tests.wire.durable_site import Calls, DurableSite, begin, call, locked
from tests.wire.test_accounting import ANSWER, PRICES, STREAM

OUTAGE = 3.0
"""Seconds for which a database is away: longer than the ledger waits for it."""


def on(*pairs: str) -> pytest.MarkDecorator:
    """Run a test with these doors and databases."""
    return pytest.mark.parametrize(("door", "database"), [pair.split("-") for pair in pairs], indirect=True)


def in_mode(*modes: str) -> pytest.MarkDecorator:
    """Run a test with these kinds of durability, doors and databases."""
    names = ("durability", "door", "database")
    return pytest.mark.parametrize(names, [mode.split("-") for mode in modes], indirect=["door", "database"])


@pytest.fixture
def site(door: Door, database: databases.Database, upstream: Upstream, tmp_path: Path) -> Iterator[DurableSite]:
    upstream.answer(answer)
    made = DurableSite(door, database, upstream, tmp_path, PRICES=PRICES, DRAIN_TIMEOUT=1.0)
    yield made
    made.close()


async def answer(exchange: Exchange) -> None:
    """Answer plain calls and streams, each as it wants."""
    await exchange.read_body()
    script = event_stream(*STREAM) if exchange.request.json()["stream"] else json_answer(ANSWER)
    await script(exchange)


def seen_by(upstream: Upstream) -> set[str]:
    """The calls that the provider saw."""
    return {request.json()["user"] for request in list(upstream.requests) if request.is_whole}


# kill -9.


@on("direct-sqlite", "django-postgresql")
def test_a_killed_process_loses_nothing_that_a_caller_saw_the_end_of(site: DurableSite, upstream: Upstream) -> None:
    """In committed mode, at random moments."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    calls = Calls()
    for _ in range(KILL_ROUNDS):
        process = site.start(USAGE_DURABILITY="committed")
        with calls.to(process.port):
            calls.wait_for_more()
            time.sleep(chance.uniform(0, 0.6))
            process.kill()
    site.start(USAGE_DURABILITY="committed")  # It finds what the others left in their journals.
    site.assert_written_once(calls.finished)
    assert set(site.written()) <= seen_by(upstream)
    print(f"{KILL_ROUNDS} kills, {len(calls.finished)} calls whose end was seen, {len(site.written())} in the ledger")


@on("direct-sqlite")
def test_a_killed_process_loses_what_ended_since_the_last_batch_at_most(site: DurableSite) -> None:
    """In batched mode."""
    process = site.start(USAGE_INTERVAL=0.2)
    first = [call(process.port, stream=number % 2 == 0) for number in range(40)]
    site.assert_written_once(first)
    last = [call(process.port) for _ in range(10)]
    process.kill()
    site.start(USAGE_INTERVAL=0.2)
    site.assert_written_once(first)
    assert set(site.written()) <= {*first, *last}


# SIGTERM.


@in_mode("batched-direct-sqlite", "committed-django-postgresql")
def test_a_process_that_is_stopped_loses_nothing(site: DurableSite, upstream: Upstream, durability: str) -> None:
    """Under load, with streams that have no time to finish: those are written down as what they are."""
    process = site.start(USAGE_DURABILITY=durability, USAGE_INTERVAL=60)
    upstream.answer(event_stream(*STREAM[:2], End.STALL))
    unfinished = [begin(process.port, stream=True) for _ in range(3)]
    for _, connection in unfinished:
        connection.read_head()
        connection.read_text_until(b"Hello there")
    upstream.answer(answer)
    calls = Calls()
    with calls.to(process.port):
        calls.wait_for_more(30)
        process.terminate()
        process.wait()
    for _, connection in unfinished:
        connection.close()
    names = [name for name, _ in unfinished]
    site.assert_written_once([*calls.finished, *names])
    assert site.outcomes(names) == ["stopped"] * 3


# A database that is away.


@pytest.fixture
def server(request: pytest.FixtureRequest, database: databases.Database) -> Iterator[PrivateServer]:
    """A server that a test may stop: it runs again afterwards. Without a pool, which takes its time to notice."""
    is_postgresql = "postgresql" in database["ENGINE"]
    database["OPTIONS"].pop("pool", None)
    found: PrivateServer = request.getfixturevalue("postgres_server" if is_postgresql else "mariadb_server")
    yield found
    if not found.is_running:
        found.start()


@in_mode("batched-direct-postgresql", "committed-django-postgresql", "batched-direct-mariadb")
def test_a_database_that_goes_away_costs_no_call_and_no_entry(
    server: PrivateServer, site: DurableSite, durability: str
) -> None:
    process = site.start(USAGE_DURABILITY=durability, USAGE_INTERVAL=0.2)
    calls = Calls(threads=4)
    with calls.to(process.port):
        calls.wait_for_more()
        server.stop()
        calls.wait_for_more()
        time.sleep(OUTAGE)
        calls.wait_for_more()
        server.start()
        calls.wait_for_more()
    assert not calls.failures
    site.assert_written_once(calls.finished)
    assert "they go to the journal" in process.log()


@in_mode("batched-django-sqlite", "committed-direct-sqlite")
def test_a_database_that_is_locked_costs_no_call_and_no_entry(
    site: DurableSite, database: databases.Database, durability: str
) -> None:
    process = site.start(USAGE_DURABILITY=durability, USAGE_INTERVAL=0.2)
    calls = Calls(threads=4)
    with calls.to(process.port):
        calls.wait_for_more()
        with locked(database):
            calls.wait_for_more()
            time.sleep(OUTAGE)
            calls.wait_for_more()
        calls.wait_for_more()
    assert not calls.failures
    site.assert_written_once(calls.finished)


@pytest.mark.parametrize(
    ("durability", "end"), [("committed", GatewayProcess.kill), ("batched", GatewayProcess.stop)], ids=["kill", "stop"]
)
@on("direct-sqlite")
def test_a_process_that_ends_while_the_database_is_locked_leaves_its_calls_in_the_journal(
    site: DurableSite, database: databases.Database, durability: str, end: Callable[[GatewayProcess], None]
) -> None:
    process = site.start(USAGE_DURABILITY=durability, USAGE_INTERVAL=0.2)
    calls = Calls()
    with locked(database), calls.to(process.port):
        calls.wait_for_more(16)
        end(process)
    site.start()
    site.assert_written_once(calls.finished)


@on("direct-sqlite")
def test_calls_go_on_if_neither_the_database_nor_the_journal_takes_anything(
    site: DurableSite, upstream: Upstream, database: databases.Database, tmp_path: Path
) -> None:
    """They wait in memory, and the log says so."""
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a directory")
    process = site.start(USAGE_JOURNAL=str(in_the_way / "journal"), USAGE_INTERVAL=0.2)
    with locked(database):
        names = [call(process.port) for _ in range(5)]
        upstream.wait_for("the log tells", lambda: "the journal does not take them" in process.log())
        names += [call(process.port) for _ in range(5)]
    site.assert_written_once(names)
