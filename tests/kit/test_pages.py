"""What the pages about the client and the kit show works."""

from __future__ import annotations

import re
import unittest
from pathlib import Path
from typing import Any

import pytest
from django.test import RequestFactory, override_settings

from ai_gateway.test import FakeProviders
from tests.control.rows import make_user

DOCS = Path(__file__).resolve().parents[2] / "docs"


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.django_db
@override_settings(AI_GATEWAY={"PROVIDERS": {"echo": {}}})
def test_the_page_about_the_client(fake_providers: FakeProviders) -> None:
    found: list[dict[str, Any]] = []
    for block in blocks("client.md"):
        found.append({})
        exec(compile(block, "client.md", "exec"), found[-1])
    user = make_user()
    request = RequestFactory().get("/")
    request.user = user
    assert b"Good morning" in found[1]["greet"](request).content
    assert "A story" in found[2]["summary"](user, "A story")
    assert [record.user for record in fake_providers.records(2)] == [user, user]


@pytest.mark.django_db
def test_the_page_about_the_kit() -> None:
    for block in blocks("testing.md"):
        space: dict[str, Any] = {"__name__": "page"}
        exec(compile(block, "testing.md", "exec"), space)
        for each in list(space.values()):
            if isinstance(each, type) and issubclass(each, unittest.TestCase) and each.__module__ == "page":
                result = unittest.defaultTestLoader.loadTestsFromTestCase(each).run(unittest.TestResult())
                assert result.testsRun, "it has tests"
                assert result.wasSuccessful(), result.errors + result.failures
