"""`gateway_clear_cache`: which answers it has forgotten, and what it cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import CommandError
from django.test import override_settings

from ai_gateway import cache_store
from tests.commands import run
from tests.control.rows import make_key, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key")]

KEYS = {"ci": "gw_a-key-of-the-settings"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Any]:
    """A site whose cache other processes see, too."""
    files = {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": str(tmp_path)}
    with override_settings(CACHES={"default": files}, AI_GATEWAY={"RESPONSE_CACHE": {}, "KEYS": KEYS}) as changed:
        yield changed


def clear(*arguments: str) -> str:
    """Run the command."""
    return run("gateway_clear_cache", *arguments)[0]


def token(kind: str, name: str = "") -> Any:
    """How a mark stands."""
    return caches["default"].get(cache_store.MARK_PREFIX + (cache_store.mark_of(kind, name) if name else kind))


@pytest.mark.usefixtures("site")
def test_all_answers_are_forgotten_or_those_of_a_route_or_a_key() -> None:
    key = make_key(make_user("ann"))[0]
    meant = {
        ("--all",): ("everything", ""),
        ("--route", "fast"): ("route", "fast"),
        ("--key", key.public_id): ("owner", f"key:{key.pk}"),
        ("--key", "ci"): ("owner", "settings:ci"),
    }
    for arguments, mark in meant.items():
        assert token(*mark) is None
        assert "within 2 seconds" in clear(*arguments)
        first = token(*mark)
        clear(*arguments)
        assert first not in (None, token(*mark))


@pytest.mark.usefixtures("site")
def test_answers_of_a_user_are_forgotten_where_they_are_kept_for_users() -> None:
    user = make_user("ann")
    with pytest.raises(CommandError, match="kept for each key here"):
        clear("--user", "ann")
    with override_settings(AI_GATEWAY={"RESPONSE_CACHE": {"scope": "user"}}):
        clear("--user", "ann")
        with pytest.raises(CommandError, match="not for each key"):
            clear("--key", "ci")
    assert token("owner", f"user:{user.pk}") is not None


@pytest.mark.usefixtures("site")
def test_what_cannot_be_done_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError, match="required"):
        clear()
    with pytest.raises(CommandError, match="no such key"):
        clear("--key", "nobody's")
    with override_settings(AI_GATEWAY={}), pytest.raises(CommandError, match="not set"):
        clear("--all")
    local = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    with override_settings(CACHES=local), pytest.raises(CommandError, match="memory of each process"):
        clear("--all")
    monkeypatch.setattr("django.core.cache.backends.filebased.FileBasedCache.set", lambda *_, **__: 1 / 0)
    with pytest.raises(CommandError, match="ZeroDivisionError"):
        clear("--all")
