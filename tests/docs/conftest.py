"""One gateway for all pages that a process of the test run looks at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.docs.gateway import DocumentedGateway


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentedGateway]:
    """The gateway of the pages, started when the first one asks for it."""
    started = DocumentedGateway(tmp_path_factory.mktemp("pages"))
    yield started
    started.stop()
