"""A site with a realtime API, of whose sessions nothing may be left, and its providers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import gateway, keys, live, overload
from ai_gateway.calls import Caller, UpstreamResponse
from ai_gateway.test.providers import Books
from tests.realtime.session import SETTINGS, Providers


@pytest.fixture(autouse=True)
def _settings(books: Books) -> Iterator[None]:
    with override_settings(AI_GATEWAY=SETTINGS):
        yield
    assert live.count() == 0, "a session was left behind"
    assert overload.calls.taken == 0, "a place was not given back"


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Providers]:
    """Have the gateway reach these providers."""

    def use(*outcomes: UpstreamResponse | Exception) -> Providers:
        made = Providers(*outcomes)
        monkeypatch.setattr(gateway, "transport_of", lambda loop: made)
        return made

    return use


@pytest.fixture
def key_is_for(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Say what the callers' key is for, from then on: in the words of `Caller`; with none, for everything."""

    def become(**facts: Any) -> None:
        async def identify(*_: object) -> Caller:
            return Caller(key_name="team", **facts)

        monkeypatch.setattr(keys, "identify", identify)

    return become
