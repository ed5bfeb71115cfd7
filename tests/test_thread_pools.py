"""Threads for work that blocks: bounded, there in forked processes, too, and no hindrance to the end of a process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from ai_gateway.thread_pools import Ended, Full, ThreadPool
from tests.forking import forked
from tests.patience import until
from tests.threads import none_can_start


def test_work_is_done_in_threads_of_that_name_and_no_more_than_there_are() -> None:
    pool, names = ThreadPool("pool-of-two", size=2), set()
    go_on = threading.Event()

    def work(number: int, *, factor: int) -> int:
        names.add(threading.current_thread().name)
        go_on.wait(10)
        return number * factor

    futures = [pool.submit(work, number, factor=10) for number in range(5)]
    until(lambda: len(names) == 2)
    assert pool.pending == 5
    go_on.set()
    assert [future.result(10) for future in futures] == [0, 10, 20, 30, 40]
    assert {name.rpartition("_")[0] for name in names} == {"pool-of-two"}
    until(lambda: pool.pending == 0)


def test_what_fails_tells_whoever_waits_and_is_over() -> None:
    pool = ThreadPool("failing", size=1, most=1)
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 / 0).result(10)
    until(lambda: pool.pending == 0)
    assert pool.submit(lambda: 7).result(10) == 7


def test_more_than_it_takes_on_is_refused_at_once() -> None:
    pool, go_on = ThreadPool("bounded", size=1, most=2), threading.Event()
    running, waiting = pool.submit(go_on.wait, 10), pool.submit(go_on.wait, 10)
    with pytest.raises(Full):
        pool.submit(lambda: None)
    assert waiting.cancel()  # Whoever gave up makes room.
    assert pool.pending == 1
    last = pool.submit(lambda: 7)
    go_on.set()
    assert running.result(10)
    assert last.result(10) == 7


def test_where_no_thread_can_be_started_those_that_there_are_do_the_work() -> None:
    pool, go_on = ThreadPool("few", size=2), threading.Event()
    with none_can_start(), pytest.raises(Full, match="no thread: can't start new thread"):
        pool.submit(lambda: 7)
    assert pool.pending == 0
    running = pool.submit(go_on.wait, 10)
    with none_can_start():
        waiting = pool.submit(lambda: 7)
    go_on.set()
    assert running.result(10)
    assert waiting.result(10) == 7


def test_what_nobody_waits_for_any_more_is_not_kept_behind_what_hangs() -> None:
    pool, go_on = ThreadPool("hanging", size=1), threading.Event()
    running = pool.submit(go_on.wait, 10)
    until(lambda: pool._busy)
    for _ in range(3):
        assert pool.submit(lambda: None).cancel()
    assert not pool._waiting
    go_on.set()
    assert running.result(10)


def test_a_thread_without_work_ends_and_gives_back_what_it_kept() -> None:
    names: list[str] = []
    pool = ThreadPool("patient", size=1, patience=0.01, last=lambda: names.append(threading.current_thread().name))
    for done in (1, 2):
        assert pool.submit(lambda: 7).result(10) == 7
        until(lambda done=done: names == ["patient_0"] * done)  # type: ignore[misc]


def test_threads_that_are_dismissed_do_their_work_first_and_others_do_what_comes_then() -> None:
    ends: list[int] = []
    pool, go_on = ThreadPool("dismissed", size=2, last=lambda: ends.append(1)), threading.Event()
    futures = [pool.submit(go_on.wait, 10) for _ in range(3)]
    dismissed = pool.dismiss()
    assert not dismissed.done()
    go_on.set()
    dismissed.result(10)
    assert [future.result(0) for future in futures] == [True] * 3
    assert len(ends) == 2
    assert pool.submit(lambda: 7).result(10) == 7
    pool.dismiss().result(10)
    pool.dismiss().result(0)  # Nobody is there any more.


def test_at_the_end_of_the_process_all_is_done_that_takes_no_time() -> None:
    pool = ThreadPool("ending", size=1)
    done: list[int] = []
    for number in range(10):
        pool.submit(done.append, number)
    pool.finish(time.monotonic() + 10)
    assert done == list(range(10))


def test_at_the_end_of_the_process_what_waits_behind_what_hangs_is_told(caplog: pytest.LogCaptureFixture) -> None:
    pool, go_on = ThreadPool("ending", size=1), threading.Event()
    running = pool.submit(go_on.wait, 10)
    until(lambda: pool._busy)
    waiting = [pool.submit(lambda: 7) for _ in range(2)]
    pool.finish(time.monotonic())
    for each in waiting:
        with pytest.raises(Ended):
            each.result(0)
    assert "ending: 2 pieces of work are given up" in caplog.text
    go_on.set()
    assert running.result(10)
    assert pool.submit(lambda: 7).result(10) == 7


HANGING = """
import threading, time
from ai_gateway import thread_pools
thread_pools.LAST = 0.2
pool = thread_pools.ThreadPool("hanging", size=1)
began = threading.Event()
def hang():
    began.set()
    time.sleep(3600)
pool.submit(hang)
waiting = pool.submit(print)
waiting.add_done_callback(lambda future: print(repr(future.exception()), flush=True))
began.wait(10)
"""


def test_work_that_never_returns_does_not_keep_a_process_from_ending() -> None:
    printed = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, check=True, timeout=30)
    assert printed.stdout.startswith("Ended(")


WORKS = """
import threading
from ai_gateway.thread_pools import ThreadPool

pool, go_on = ThreadPool("forked", size=1, most=1), threading.Event()
running = pool.submit(go_on.wait, 30)
"""
CHILD = 'print(pool.pending, pool.submit(lambda: "done").result(10))'
PARENT = "print(pool.pending, go_on.set(), running.result(10))"


def test_a_forked_process_has_threads_of_its_own_and_none_of_its_parents_work() -> None:
    assert forked(WORKS, CHILD, PARENT) == ["0 done", "1 None True"]
