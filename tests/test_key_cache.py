"""Virtual keys in memory: how seldom they are read, how soon a change counts, how little stays."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from ai_gateway import daemons, key_cache
from ai_gateway.calls import Caller
from ai_gateway.errors import KeysUnavailable
from ai_gateway.key_cache import KeyCache, KeyRecord
from tests.factories import run
from tests.forking import forked
from tests.threads import none_can_start


class Store:
    """Keys by public id, counting what is asked."""

    def __init__(self) -> None:
        self.records: dict[str, KeyRecord] = {}
        self.batches: list[list[str]] = []
        self.threads: set[str] = set()
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.releases = 0

    def add(self, public_id: str, **fields: object) -> None:
        self.records[public_id] = KeyRecord(Caller(key_name=public_id), b"k", b"d", **fields)  # type: ignore[arg-type]

    def read(self, public_ids: Sequence[str]) -> dict[str, KeyRecord]:
        self.threads.add(threading.current_thread().name)
        self.batches.append(list(public_ids))
        self.gate.wait(5)
        if self.error is not None:
            raise self.error
        return {each: self.records[each] for each in public_ids if each in self.records}

    def release(self) -> None:
        self.releases += 1

    @property
    def asked(self) -> int:
        return sum(map(len, self.batches))


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def cache(store: Store) -> Iterator[KeyCache]:
    cache = KeyCache(store.read, store.release)
    yield cache
    cache.stop()


def test_a_cold_key_is_read_once_and_a_warm_one_not_at_all(cache: KeyCache, store: Store) -> None:
    store.add("a")
    assert run(cache.find("a")) == store.records["a"]
    for _ in range(100):
        assert cache.peek("a") == store.records["a"]
    assert store.batches == [["a"]]
    assert store.threads == {"ai-gateway-keys"}


def test_calls_that_come_together_wait_for_one_read(cache: KeyCache, store: Store) -> None:
    store.add("a")

    async def both() -> list[KeyRecord | None]:
        return await asyncio.gather(*(cache.find("a") for _ in range(50)))

    assert run(both()) == [store.records["a"]] * 50
    assert store.asked == 1


def test_different_keys_that_come_together_are_read_together(cache: KeyCache, store: Store) -> None:
    store.gate.clear()

    async def many() -> None:
        first = asyncio.ensure_future(cache.find("first"))
        await asyncio.sleep(0.05)
        others = asyncio.gather(*(cache.find(f"k{number}") for number in range(400)))
        await asyncio.sleep(0)
        store.gate.set()
        await asyncio.gather(first, others)

    run(many())
    assert len(store.batches) == 2


def test_a_caller_that_hangs_up_does_not_take_the_answer_from_the_others(cache: KeyCache, store: Store) -> None:
    store.add("a")
    store.gate.clear()

    async def one_of_two() -> KeyRecord | None:
        gone, stays = asyncio.ensure_future(cache.find("a")), asyncio.ensure_future(cache.find("a"))
        await asyncio.sleep(0.02)
        gone.cancel()
        store.gate.set()
        return await stays

    assert run(one_of_two()) == store.records["a"]


def test_an_unknown_key_is_remembered_for_a_while(cache: KeyCache, store: Store) -> None:
    assert [run(cache.find("no")) for _ in range(20)] == [None] * 20
    assert store.asked == 1


def test_a_key_that_is_made_after_it_was_tried_works_at_once(cache: KeyCache, store: Store) -> None:
    assert run(cache.find("a")) is None
    store.add("a")
    cache.invalidate()
    assert run(cache.find("a")) is not None


def test_a_change_counts_with_the_next_call(cache: KeyCache, store: Store) -> None:
    store.add("a")
    run(cache.find("a"))
    store.add("a", problem="revoked")
    cache.invalidate()
    assert cache.peek("a") is None
    found = run(cache.find("a"))
    assert found is not None
    assert found.problem == "revoked"


def test_what_was_read_before_a_change_does_not_count_as_read_after_it(cache: KeyCache, store: Store) -> None:
    store.add("a")
    store.gate.clear()

    async def overtaken() -> None:
        waiting = asyncio.ensure_future(cache.find("a"))
        await asyncio.to_thread(wait_until, lambda: bool(store.batches))
        cache.invalidate()
        store.gate.set()
        await waiting

    run(overtaken())
    assert cache.peek("a") is None


def test_a_call_that_comes_after_a_change_does_not_wait_for_a_read_that_began_before(
    cache: KeyCache, store: Store
) -> None:
    store.add("a")
    store.gate.clear()
    slow_read = store.read

    def read(public_ids: Sequence[str]) -> dict[str, KeyRecord]:
        seen = dict(store.records)  # As a query does: what is committed while it takes its time it does not see.
        slow_read(public_ids)
        return {each: seen[each] for each in public_ids if each in seen}

    cache._read = read

    async def revoked_meanwhile() -> tuple[KeyRecord | None, KeyRecord | None]:
        before = asyncio.ensure_future(cache.find("a"))
        await asyncio.to_thread(wait_until, lambda: bool(store.batches))
        store.add("a", problem="revoked")
        cache.invalidate()
        after = asyncio.ensure_future(cache.find("a"))
        await asyncio.sleep(0.02)
        store.gate.set()
        return await before, await after

    before, after = run(revoked_meanwhile())
    assert before is not None
    assert after is not None
    assert (before.problem, after.problem) == (None, "revoked")
    assert store.asked == 2


def test_without_a_thread_keys_cannot_be_read_until_there_is_one(
    cache: KeyCache, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add("a")
    store.add("b")
    with none_can_start(), pytest.raises(KeysUnavailable):
        run(cache.find("a"))
    assert run(cache.find("a")) == store.records["a"]
    cache._daemon.end(5)
    monkeypatch.setattr(key_cache, "FRESH", 0.0)
    with none_can_start():
        assert cache.peek("a") == store.records["a"]  # What was known last stays in use.
        assert run(cache.find("a")) == store.records["a"]
        with pytest.raises(KeysUnavailable):
            run(cache.find("b"))
    assert run(cache.find("b")) == store.records["b"]


def test_a_connection_that_cannot_be_closed_ends_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_cache, "IDLE", 0.01)
    monkeypatch.setattr(daemons, "PAUSE", 0.01)

    def release() -> None:
        store.releases += 1
        raise OSError("it cannot be closed")

    cache = KeyCache(store.read, release)
    store.add("a")
    store.add("b")
    run(cache.find("a"))
    wait_until(lambda: store.releases > 0)
    assert run(cache.find("b")) == store.records["b"]
    cache.stop()


READS = """
import asyncio, os, threading
from ai_gateway.key_cache import KeyCache
go_on, parent = threading.Event(), os.getpid()
def read(ids):
    if os.getpid() == parent:
        go_on.wait(30)
    return {}
cache = KeyCache(read, lambda: None)
cache._ask("a")
cache._lock.acquire()  # As a thread of the parent may at the moment of the fork.
"""
PARENT = """
cache._lock.release()
go_on.set()
"""


def test_a_forked_process_reads_for_itself() -> None:
    assert forked(READS, 'print(asyncio.run(cache.find("a")))', PARENT) == ["None"]


def test_a_key_in_use_is_read_again_beside_the_calls(
    cache: KeyCache, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add("a")
    run(cache.find("a"))
    monkeypatch.setattr(key_cache, "FRESH", 0.0)
    store.add("a", problem="revoked")
    assert cache.peek("a") == KeyRecord(Caller(key_name="a"), b"k", b"d")
    monkeypatch.undo()
    wait_until(lambda: (cache.peek("a") or store.records["a"]).problem == "revoked")
    assert store.asked == 2


def test_a_key_that_was_not_used_for_a_while_is_read_before_it_counts(
    cache: KeyCache, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add("a")
    run(cache.find("a"))
    monkeypatch.setattr(key_cache, "FRESH", 0.0)
    monkeypatch.setattr(key_cache, "TTL", 0.0)
    assert cache.peek("a") is None


def test_while_the_source_fails_what_was_known_keeps_working(cache: KeyCache, store: Store) -> None:
    store.add("a")
    run(cache.find("a"))
    store.error = OSError("away")
    cache.invalidate()
    assert run(cache.find("a")) == store.records["a"]
    store.gate.clear()  # Who waited for the source now would wait for long.
    assert cache.peek("a") == store.records["a"]
    store.gate.set()
    with pytest.raises(KeysUnavailable):
        run(cache.find("b"))
    store.error = None
    store.add("b")
    wait_until(lambda: run(cache.find("b")) is not None)


def test_a_source_that_hangs_makes_nobody_wait_for_ever(
    cache: KeyCache, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_cache, "PATIENCE", 0.1)
    store.gate.clear()
    with pytest.raises(KeysUnavailable):
        run(cache.find("a"))
    store.gate.set()


def test_20000_unknown_keys_leave_little_behind_and_cost_few_reads(cache: KeyCache, store: Store) -> None:
    """T16."""

    async def flood(total: int, at_once: int) -> None:
        names = iter(range(total))

        async def worker() -> None:
            for number in names:
                assert await cache.find(f"bad-{number}") is None

        await asyncio.gather(*(worker() for _ in range(at_once)))

    began = time.monotonic()
    run(flood(20_000, 500))
    seconds = time.monotonic() - began
    assert len(cache) <= key_cache.MAX_UNKNOWN
    assert len(store.batches) <= seconds / key_cache.PAUSE + 1
    assert max(map(len, store.batches)) <= key_cache.BATCH


def test_known_keys_are_bounded_too_and_a_flood_does_not_push_them_out(
    cache: KeyCache, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_cache, "MAX_FOUND", 10)
    monkeypatch.setattr(key_cache, "MAX_UNKNOWN", 10)

    async def all_of(names: list[str]) -> None:
        await asyncio.gather(*map(cache.find, names))

    for number in range(20):
        store.add(f"good-{number}")
    run(all_of([f"good-{number}" for number in range(20)]))
    run(all_of([f"bad-{number}" for number in range(50)]))
    assert len(cache) == 20
    assert cache.peek("good-19") is not None
    assert cache.peek("good-0") is None


def test_more_unknown_keys_than_can_wait_are_told_to_come_back(
    cache: KeyCache, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_cache, "MAX_WAITING", 5)
    store.gate.clear()

    async def flood() -> list[BaseException | KeyRecord | None]:
        tasks = [asyncio.ensure_future(cache.find(f"k{number}")) for number in range(8)]
        await asyncio.sleep(0.02)
        store.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    refused = [each for each in run(flood()) if isinstance(each, Exception)]
    assert len(refused) == 3
    assert {getattr(each, "status", None) for each in refused} == {503}


def test_an_idle_thread_gives_its_connection_back(
    cache: KeyCache, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_cache, "IDLE", 0.05)
    run(cache.find("a"))
    wait_until(lambda: store.releases > 0)


def test_used_keys_are_told_once(cache: KeyCache) -> None:
    for key in (1, 2, 2):
        cache.note_used(key)
    assert cache.take_used() == {1, 2}
    assert cache.take_used() == set()


def test_a_record_shows_no_secret() -> None:
    assert "canary" not in repr(KeyRecord(Caller(key_name="k"), b"canary", b"canary"))


def wait_until(condition: object, seconds: float = 5.0) -> None:
    """Wait for something that another thread does."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
