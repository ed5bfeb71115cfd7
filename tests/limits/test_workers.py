"""Threads for what waits for a database: they can be started again, and end whatever happens."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from ai_gateway.limits import StoreUnavailable, workers
from ai_gateway.limits.workers import Workers
from tests.patience import PATIENCE
from tests.threads import none_can_start


def test_a_thread_that_cannot_be_started_is_tried_again_with_the_next_job() -> None:
    few, done = Workers("few", 1), []
    with none_can_start(), pytest.raises(StoreUnavailable, match="few has no thread: can't start new thread"):
        few.submit(lambda: done.append("refused"))
    assert few.submit(lambda: done.append("taken")) is not None
    few.dismiss().result(PATIENCE)
    assert done == ["taken"]


def test_where_no_other_can_be_started_those_that_there_are_do_the_job() -> None:
    few, go_on = Workers("few", 2), threading.Event()
    first = few.submit(lambda: go_on.wait(PATIENCE))
    with none_can_start():
        second = few.submit(lambda: 7)
    go_on.set()
    assert first.result(PATIENCE)
    assert second.result(PATIENCE) == 7


def test_a_connection_that_cannot_be_closed_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def close_all() -> None:
        raise OSError("it cannot be closed")

    monkeypatch.setattr(workers, "connections", SimpleNamespace(close_all=close_all))
    few = Workers("few", 1)
    assert few.submit(lambda: 7).result(PATIENCE) == 7
    few.dismiss().result(PATIENCE)
    assert "it cannot be closed" in caplog.text
