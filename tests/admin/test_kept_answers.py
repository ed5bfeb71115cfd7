"""Kept answers in the admin: the switches of keys and routes, what was saved, and the action that forgets them."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import caches
from django.test import Client, override_settings

from ai_gateway import cache_store
from ai_gateway.models import Route, VirtualKey
from tests.admin.conftest import Login
from tests.admin.pages import get, send, url
from tests.control.rows import make_key, make_route, make_user
from tests.usage.rows import record, save

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key")]

KEYS, ROUTES = "ai_gateway_virtualkey_changelist", "ai_gateway_route_changelist"
LOCAL = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "marks"}}


@pytest.fixture(autouse=True)
def _cache() -> Any:
    with override_settings(CACHES=LOCAL, AI_GATEWAY={"RESPONSE_CACHE": {}}):
        caches["default"].clear()
        yield


def forget(client: Client, page: str, *rows: int) -> str:
    """Have the answers of these rows forgotten; give the page behind it."""
    data = {"action": "forget_answers", "_selected_action": rows}
    return client.post(url(page), data, follow=True).content.decode()


def marked() -> set[str]:
    """The marks that were made anew."""
    return {name.rpartition("mark:")[2] for name in list(getattr(caches["default"], "_cache"))}  # noqa: B009


def test_a_key_and_a_route_have_a_switch(boss: Client) -> None:
    key = make_key(make_user("ann"))[0]
    route = make_route("fast", "echo/echo-1")
    assert send(boss, "ai_gateway_virtualkey_change", key.pk, caching="on").status_code == 302
    given = {"caching": "off", "cache_seconds": "60", "cache_replay": "paced"}
    assert send(boss, "ai_gateway_route_change", route.pk, **given).status_code == 302
    assert VirtualKey.objects.get().caching == "on"
    assert Route.objects.values_list("caching", "cache_seconds", "cache_replay").get() == ("off", 60, "paced")


def test_answers_of_routes_are_forgotten(boss: Client) -> None:
    routes = [make_route(name, "echo/echo-1").pk for name in ("fast", "slow", "dear")]
    assert "Forgotten." in forget(boss, ROUTES, *routes[:2])
    assert marked() == {cache_store.mark_of("route", "fast"), cache_store.mark_of("route", "slow")}


@pytest.mark.parametrize(("scope", "owner"), [("key", "key:{key.pk}"), ("user", "user:{key.user_id}")])
def test_answers_of_a_key_are_forgotten(boss: Client, scope: str, owner: str) -> None:
    key = make_key(make_user("ann"))[0]
    with override_settings(AI_GATEWAY={"RESPONSE_CACHE": {"scope": scope}}):
        assert "Forgotten." in forget(boss, KEYS, key.pk)
    assert marked() == {cache_store.mark_of("owner", owner.format(key=key))}


def test_answers_for_everyone_are_no_keys(boss: Client) -> None:
    key = make_key(make_user("ann"))[0]
    with override_settings(AI_GATEWAY={"RESPONSE_CACHE": {"scope": "everyone"}}):
        assert "Answers are kept for everyone here" in forget(boss, KEYS, key.pk)
    assert marked() == set()


def test_a_cache_that_does_not_answer_is_no_broken_page(boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("no Redis at redis.internal")

    monkeypatch.setattr("django.core.cache.backends.locmem.LocMemCache.set", fail)
    page = forget(boss, ROUTES, make_route("fast", "echo/echo-1").pk)
    assert ("nothing is forgotten" in page, "redis.internal" in page) == (True, False)


def test_where_nothing_is_kept_there_is_nothing_to_forget(boss: Client, login: Login) -> None:
    make_route("fast", "echo/echo-1")
    assert "forget_answers" in get(boss, ROUTES)
    assert "forget_answers" not in get(login("view_route"), ROUTES)
    with override_settings(AI_GATEWAY={}):
        assert "forget_answers" not in get(boss, ROUTES)


def test_what_was_saved_is_shown(boss: Client) -> None:
    hit = record(outcome="cached", cost_nanos=0, saved_nanos=1_500_000_000)
    save(hit, record(outcome="answered"))
    page = get(boss, "ai_gateway_usagerecord_change", hit.pk)
    assert "It cost $1.5 when the provider gave it." in page
    assert "$1.50 saved" in get(boss, "ai_gateway_usagerecord_changelist")
