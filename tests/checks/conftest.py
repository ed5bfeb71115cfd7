"""The site that all tests of checks start from: it is in order, and triggers none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.checks.site import Site

if TYPE_CHECKING:
    from pytest_django import Settings


@pytest.fixture
def site(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Site:
    return Site(settings, monkeypatch, tmp_path)
