"""The site's views call the gateway, under WSGI and ASGI, in transactions of their own."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import AsyncClient, Client, override_settings

from ai_gateway.models import Route
from ai_gateway.test import FakeProviders, says
from tests.control.rows import make_key, make_route, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.client.urls")]


@pytest.fixture
def providers(fake_providers: FakeProviders) -> FakeProviders:
    fake_providers.answer(says("Good morning"))
    return fake_providers


def test_a_synchronous_view_in_a_transaction(providers: FakeProviders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    assert b"Good morning" in Client().get("/ask/").content
    [record] = providers.records()
    assert record.user == get_user_model().objects.get(username="new")


def test_a_synchronous_view_that_streams(providers: FakeProviders, client: Client) -> None:
    user = make_user()
    client.force_login(user)
    pieces: Any = client.get("/tell/").streaming_content  # type: ignore[attr-defined]
    assert len(list(pieces)) > 2
    assert [record.outcome for record in providers.records()] == ["answered"]


def test_an_asynchronous_view(providers: FakeProviders, async_client: AsyncClient) -> None:
    async def call() -> bytes:
        await async_client.aforce_login(user)
        return (await async_client.get("/ask-on-the-loop/")).content

    user = make_user()
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"):
        assert b"Good morning" in async_to_sync(call)()
    assert [record.user for record in providers.records()] == [user]


def test_the_doors_answer_by_the_same_script(providers: FakeProviders, encryption_key: str) -> None:
    """What calls the gateway over HTTP in a test is served, too: with keys and routes of the test's transaction."""
    _, token = make_key(make_user())

    async def call() -> Any:
        headers = {"authorization": f"Bearer {token}"}
        body = {"model": "fast", "messages": [{"role": "user", "content": "Hello"}]}
        return await AsyncClient().post("/v1/chat/completions", body, content_type="application/json", headers=headers)

    for model in ("claude-5", "claude-6"):
        make_route("fast", f"anthropic/{model}")
        answer = async_to_sync(call)()
        assert answer.json()["choices"][0]["message"]["content"] == "Good morning"
        assert providers.sent[-1].model == model
        Route.objects.all().delete()
