"""The kit for pytest. In a project's `conftest.py`:

    pytest_plugins = ["ai_gateway.test.fixtures"]

It is loaded when it is asked for, and not by itself: most tests of a site have nothing to do with the gateway.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import TransactionTestCase

from ai_gateway.test import FakeProviders, FakeServer


@pytest.fixture
def fake_providers(request: pytest.FixtureRequest) -> Iterator[FakeProviders]:
    """All providers, answering by a script. A test that has a database has the gateway's configuration from there."""
    with FakeProviders(database=_has_database(request)) as providers:
        yield providers


@pytest.fixture
def fake_server() -> Iterator[FakeServer]:
    """Providers on a socket, answering by a script, for a gateway that runs by itself."""
    with FakeServer() as server:
        yield server


def _has_database(request: pytest.FixtureRequest) -> bool:
    """Whether a test asked pytest-django for a database, in whichever way. Then it is there before the providers."""
    for name in ("db", "transactional_db"):
        if name in request.fixturenames:
            request.getfixturevalue(name)
            return True
    if request.node.get_closest_marker("django_db") is not None:
        return True
    return request.cls is not None and issubclass(request.cls, TransactionTestCase)  # Of which TestCase is one.
