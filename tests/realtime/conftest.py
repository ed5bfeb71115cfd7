"""A site with a realtime API, of whose sessions nothing may be left, and its providers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.test import override_settings

from ai_gateway import gateway, live, overload
from ai_gateway.calls import UpstreamResponse
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
