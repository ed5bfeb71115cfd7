"""The cache that all tests of answers again have. Nothing may be left of a call behind one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.cache import caches
from django.test import override_settings

from ai_gateway import live
from ai_gateway.test.providers import Books
from tests.response_cache.site import LOCAL, under_way


@pytest.fixture(autouse=True)
def _cache(books: Books) -> Iterator[None]:
    with override_settings(CACHES=LOCAL):
        caches["default"].clear()
        yield
        assert not len(under_way())
        assert not live.count()
