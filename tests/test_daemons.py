"""Threads beside the calls: what they outlive, and that they can be started again."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from ai_gateway import daemons
from ai_gateway.daemons import Daemon
from tests.patience import PATIENCE, until
from tests.threads import none_can_start


class Work:
    """Work that is done when it is asked for."""

    def __init__(self) -> None:
        self.turns = self.ends = 0
        self.error: BaseException | None = None
        self.leaves = False
        self.go_on = threading.Event()
        self.daemon = Daemon("a-daemon", self._turn, self.go_on.set, self._last)

    def _turn(self) -> None:
        self.go_on.wait(PATIENCE)
        self.go_on.clear()
        self.turns += 1
        if self.leaves:
            self.leaves = False
            self.daemon.leave()
        error, self.error = self.error, None
        if error is not None:
            raise error

    def _last(self) -> None:
        self.ends += 1

    def have_a_turn(self) -> None:
        turns = self.turns
        self.go_on.set()
        until(lambda: self.turns > turns)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    monkeypatch.setattr(daemons, "PAUSE", 0.01)
    work = Work()
    yield work
    work.daemon.end(PATIENCE)


def test_it_takes_turns_until_it_is_ended_and_can_be_started_again(work: Work) -> None:
    assert not work.daemon.is_running
    assert work.daemon.start()
    thread = work.daemon.thread
    assert thread is not None
    assert (thread.name, thread.daemon) == ("a-daemon", True)
    assert work.daemon.start()
    assert work.daemon.thread is thread
    work.have_a_turn()
    work.daemon.end(PATIENCE)
    assert not work.daemon.is_running
    assert not thread.is_alive()
    assert work.ends == 1
    assert work.daemon.start()
    work.have_a_turn()


def test_it_ends_itself_with_a_turn_and_can_be_started_again(work: Work) -> None:
    work.daemon.start()
    thread = work.daemon.thread
    assert thread is not None
    work.leaves = True
    work.have_a_turn()
    thread.join(PATIENCE)
    assert not work.daemon.is_running
    assert work.ends == 1
    assert work.daemon.start()
    work.have_a_turn()
    assert work.daemon.is_running


def test_it_outlives_what_fails(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    work.daemon.start()
    work.error = OSError("the connection cannot be closed")
    work.have_a_turn()
    work.have_a_turn()
    assert work.daemon.is_running
    assert caplog.text.count("The thread a-daemon fails, and goes on") == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_it_does_not_count_as_running_when_something_ended_it(work: Work) -> None:
    work.daemon.start()
    thread = work.daemon.thread
    assert thread is not None
    work.error = KeyboardInterrupt()
    work.have_a_turn()
    thread.join(PATIENCE)  # What ended it is told by then, and is no other test's.
    assert not work.daemon.is_running
    assert work.daemon.start()
    work.have_a_turn()


def test_one_that_cannot_be_started_is_tried_again(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    with none_can_start():
        assert not work.daemon.start()
        assert not work.daemon.start()
        assert not work.daemon.is_running
        work.daemon.end(PATIENCE)
    assert caplog.text.count("cannot be started, and is tried again: can't start new thread") == 1
    assert work.daemon.start()
    work.have_a_turn()
    work.daemon.end(PATIENCE)
    with none_can_start():
        assert not work.daemon.start()
    assert caplog.text.count("cannot be started") == 2


def test_one_that_hangs_is_waited_for_no_longer_than_was_said() -> None:
    hangs, is_free = threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        is_free.wait(PATIENCE)

    daemon = Daemon("hanging", hang)
    daemon.start()
    thread = daemon.thread
    assert hangs.wait(PATIENCE)
    assert thread is not None
    daemon.end(0.01)
    assert not daemon.is_running
    assert thread.is_alive()
    is_free.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
