"""Which of a provider's credentials are left alone for a while?"""

from __future__ import annotations

import pytest

from ai_gateway import cooldowns
from ai_gateway.credentials import Secret
from ai_gateway.providers import Credential

ONE, TWO = (Credential(name, Secret(f"sk-{name}")) for name in ("one", "two"))


def test_all_are_usable_at_first() -> None:
    assert cooldowns.usable("openai", [ONE, TWO]) == [ONE, TWO]


def test_one_that_was_limited_rests() -> None:
    cooldowns.rest("openai", "one", 30)
    assert cooldowns.usable("openai", [ONE, TWO]) == [TWO]
    assert cooldowns.usable("azure", [ONE, TWO]) == [ONE, TWO]
    assert cooldowns.is_resting("openai", "one")


def test_if_all_rest_the_one_whose_rest_ends_first_is_used() -> None:
    cooldowns.rest("openai", "one", 300)
    cooldowns.rest("openai", "two", 30)
    assert cooldowns.usable("openai", [ONE, TWO]) == [TWO]


def test_those_that_rest_are_told_by_name() -> None:
    cooldowns.rest("openai", "one", 30)
    cooldowns.rest("openai", "two", 0)
    assert list(cooldowns.resting("openai")) == ["one"]
    assert 29 < cooldowns.resting("openai")["one"] <= 30
    assert cooldowns.resting("azure") == {}


def test_a_rest_ends() -> None:
    cooldowns.rest("openai", "one", 0)
    assert cooldowns.usable("openai", [ONE, TWO]) == [ONE, TWO]
    assert not cooldowns.is_resting("openai", "one")


def test_a_listener_that_fails_keeps_nobody_else_from_hearing(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[tuple[str, str, float]] = []

    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    cooldowns.listeners += [fail, lambda *what: heard.append(what)]
    cooldowns.rest("openai", "one", 30)
    assert heard == [("openai", "one", 30)]
    assert cooldowns.is_resting("openai", "one")
    assert "could not be told: ('openai', 'one', 30)" in caplog.text
