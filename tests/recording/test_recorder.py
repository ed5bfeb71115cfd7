"""The recorder stores what it is given, off the path, within bounds, and outlives a database that does not answer."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from ai_gateway import daemons
from ai_gateway import recorder as recorders
from ai_gateway.calls import Headers
from ai_gateway.ids import new_id
from ai_gateway.recorder import Body, Recorder, Recording, Unavailable
from tests.patience import until
from tests.threads import none_can_start

NO_HEADERS: Headers = []


def recording(size: int = 10) -> Recording:
    return Recording(
        id=new_id(),
        at=0.0,
        dialect="openai_chat",
        path="/v1/chat/completions",
        is_stream=False,
        key_id=None,
        user_id=None,
        request_headers=NO_HEADERS,
        request=Body(b"x" * size, size),
        status=200,
        response_headers=NO_HEADERS,
        response=None,
        keeps_headers=False,
    )


class Store:
    """Stores, unless it is told to fail."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.error: Exception | None = None
        self.tries = 0

    def __call__(self, recordings: Sequence[Recording]) -> None:
        self.tries += 1
        if self.error is not None:
            raise self.error
        self.stored += [each.id for each in recordings]


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorders, "INTERVAL", 0.01)
    monkeypatch.setattr(recorders, "RETRY", 0.01)


def test_what_is_put_is_stored_by_another_thread() -> None:
    store = Store()
    recorder = Recorder(store, lambda: None)
    put = [recording() for _ in range(120)]
    for each in put:
        recorder.put(each)
    until(lambda: len(store.stored) == 120)
    assert store.stored == [each.id for each in put]
    recorder.stop()


def test_the_end_waits_until_everything_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorders, "INTERVAL", 60.0)
    store = Store()
    recorder = Recorder(store, lambda: None)
    before = threading.active_count()
    recorder.put(recording())
    recorder.stop()
    assert len(store.stored) == 1
    assert threading.active_count() == before


def test_a_database_that_is_away_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.error = Unavailable("the database is away")
    recorder = Recorder(store, lambda: None)
    recorder.put(recording())
    until(lambda: store.tries > 3)
    store.error = None
    until(lambda: len(store.stored) == 1)
    recorder.stop()
    assert caplog.text.count("does not take them: the database is away") == 1


def test_one_that_a_bug_is_about_takes_no_other_with_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recorders, "INTERVAL", 60.0)
    put = [recording() for _ in range(5)]
    stored: list[str] = []

    def store(recordings: Sequence[Recording]) -> None:
        if put[2] in recordings:
            raise ValueError("a bug")
        stored.extend(each.id for each in recordings)

    recorder = Recorder(store, lambda: None)
    for each in put:
        recorder.put(each)
    recorder.stop()
    assert stored == [each.id for each in put if each is not put[2]]
    assert "1 recordings cannot be stored" in caplog.text


def test_a_bug_takes_one_batch_and_not_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.error = ValueError("a bug")
    recorder = Recorder(store, lambda: None)
    recorder.put(recording())
    until(lambda: "are dropped" in caplog.text)
    store.error = None
    recorder.put(recording())
    until(lambda: len(store.stored) == 1)
    recorder.stop()


def test_the_memory_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.error = Unavailable("away")
    recorder = Recorder(store, lambda: None, room=25)
    for _ in range(5):
        recorder.put(recording(10))
    assert recorder.dropped == 3
    assert caplog.text.count("too many wait") == 1
    store.error = None
    until(lambda: len(store.stored) == 2)
    until(lambda: "3 recordings were dropped" in caplog.text)
    recorder.put(recording(25))
    until(lambda: len(store.stored) == 3)
    recorder.stop()


def test_a_recording_shows_nothing_of_what_it_holds() -> None:
    assert "xxx" not in repr(recording())


def test_a_connection_that_cannot_be_closed_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemons, "PAUSE", 0.01)
    store = Store()
    tries: list[None] = []

    def release() -> None:
        tries.append(None)
        raise OSError("it cannot be closed")

    recorder = Recorder(store, release)
    recorder.put(recording())
    until(lambda: len(tries) > 1)
    recorder.put(recording())
    until(lambda: len(store.stored) == 2)
    recorder.stop()


def test_without_a_thread_they_wait_for_one() -> None:
    store = Store()
    recorder = Recorder(store, lambda: None)
    with none_can_start():
        recorder.put(recording())
    recorder.put(recording())
    until(lambda: len(store.stored) == 2)
    recorder.stop()
