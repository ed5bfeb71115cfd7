"""Work over long texts, beside the event loop."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

import pytest

from ai_gateway import beside
from ai_gateway.guardrails.patterns import Patterns
from ai_gateway.guardrails.redaction import Redaction
from ai_gateway.guardrails.search import search
from ai_gateway.thread_pools import Full
from tests.factories import run
from tests.guardrails.views import changed, of_body, seen


def here(text: str) -> tuple[str, bool]:
    return text, threading.current_thread() is threading.main_thread()


def test_what_is_short_is_done_at_once() -> None:
    assert run(beside.done(beside.LONG - 1, here, "x")) == ("x", True)


def test_what_is_long_is_done_by_another_thread() -> None:
    assert run(beside.done(beside.LONG, here, text="x")) == ("x", False)


@pytest.mark.parametrize("length", [0, beside.LONG])
def test_what_goes_wrong_is_raised(length: int) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        run(beside.done(length, int, "x"))


def test_nobody_waits_for_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **kwargs: Any) -> Future[Any]:
        raise Full

    monkeypatch.setattr(beside._threads, "submit", full)
    assert run(beside.done(beside.LONG, here, "x")) == ("x", True)


@pytest.fixture
def searched_by(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The threads in which anything was looked for."""
    threads: set[str] = set()

    def noted(*args: Any, **kwargs: Any) -> Any:
        threads.add(threading.current_thread().name)
        return search(*args, **kwargs)

    for module in ("redaction", "patterns"):
        monkeypatch.setattr(f"ai_gateway.guardrails.{module}.search", noted)
    return threads


@pytest.mark.parametrize("guardrail", [Redaction(kinds=["EMAIL"]), Patterns(deny=["a@x.org"], replacement="[EMAIL_1]")])
def test_guardrails_look_through_long_requests_beside_the_loop(
    guardrail: Redaction | Patterns, searched_by: set[str]
) -> None:
    body = b'{"messages": [{"role": "user", "content": "to a@x.org"}], "padding": "%s"}' % (b"." * beside.LONG)
    assert changed(guardrail, of_body(body))[0] == "to [EMAIL_1]"
    assert [name.startswith("ai-gateway-texts") for name in searched_by] == [True]


def test_and_through_short_ones_on_it(searched_by: set[str]) -> None:
    assert changed(Redaction(), seen("to a@x.org")) == ["to [EMAIL_1]"]
    assert searched_by == {threading.current_thread().name}
