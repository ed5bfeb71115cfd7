"""What a call finds out is heard by all who listen, and costs the call nothing."""

from __future__ import annotations

import pytest

from ai_gateway.announcements import Listeners


def test_all_hear_in_the_order_in_which_they_came() -> None:
    heard: list[str] = []
    listeners: Listeners[[str]] = Listeners()
    listeners.append(lambda what: heard.append(f"first {what}"))
    listeners.append(lambda what: heard.append(f"second {what}"))
    listeners.tell("news")
    assert heard == ["first news", "second news"]


def test_one_that_fails_keeps_nobody_else_from_hearing_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail(what: str) -> None:
        raise RuntimeError("can't start new thread")

    heard: list[str] = []
    listeners: Listeners[[str]] = Listeners([fail, heard.append])
    listeners.tell("news")
    assert heard == ["news"]
    assert "What a call found out could not be told: ('news',)" in caplog.text
    assert "can't start new thread" in caplog.text
