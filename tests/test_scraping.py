"""`/metrics`: for whom, and where."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.test import AsyncClient, AsyncRequestFactory, override_settings
from django.urls import path

from ai_gateway import scraping, views
from ai_gateway.calls import Arrival
from ai_gateway.intake import read_arrival
from tests.factories import Body, run

urlpatterns = [path("metrics", views.metrics)]
TOKEN = "metrics-token-0123456789"


@pytest.fixture(autouse=True)
def source(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(scraping, "source", lambda: b"ai_gateway_info 1\n")
    with override_settings(ROOT_URLCONF=__name__, AI_GATEWAY={"METRICS": True, "METRICS_TOKEN": TOKEN}):
        yield


def arrival(client: str | None, authorization: bytes = b"", method: str = "GET") -> Arrival:
    headers = [(b"authorization", authorization)] if authorization else []
    return read_arrival(method, "/metrics", b"/metrics", b"", headers, Body(), client)


def get(**headers: str) -> Any:
    return run(AsyncClient().get("/metrics", headers=headers))


def is_open_to(client: str | None, networks: bool | list[str]) -> bool:
    with override_settings(AI_GATEWAY={"METRICS": networks}):
        return scraping.is_open_to(arrival(client))


@pytest.mark.parametrize(
    ("client", "is_near"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("fd00::1", True),
        ("127.0.0.1", True),
        ("127.0.0.2", False),
        ("11.0.0.1", False),
        ("", False),
        (None, False),
    ],
)
def test_networks_that_are_named_may_read_without_a_token(client: str | None, is_near: bool) -> None:
    assert is_open_to(client, ["10.0.0.0/8", "fd00::/8", "127.0.0.1"]) is is_near
    assert not is_open_to(client, True)


def test_the_token_opens() -> None:
    response = get(authorization=f"Bearer {TOKEN}")
    assert (response.status_code, response.content) == (200, b"ai_gateway_info 1\n")
    assert response["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response["cache-control"] == "no-store"


def test_no_other_token_does() -> None:
    for authorization in ("", "Bearer wrong", f"Basic {TOKEN}"):
        with override_settings(MIDDLEWARE=[]):
            assert get(authorization=authorization).status_code == 403


@pytest.mark.parametrize(
    ("user", "status"),
    [
        (AnonymousUser(), 403),
        (User(is_staff=False), 403),
        (User(is_staff=True, is_active=False), 403),
        (User(is_staff=True), 200),
    ],
    ids=["nobody", "a user", "who was of the staff", "the staff"],
)
def test_the_staff_needs_no_token(user: User | AnonymousUser, status: int) -> None:
    async def auser() -> User | AnonymousUser:
        return user

    request = AsyncRequestFactory().get("/metrics")
    request.auser = auser
    assert run(views.metrics(request)).status_code == status


def test_other_methods_are_refused_in_json() -> None:
    response = run(AsyncClient().post("/metrics", headers={"authorization": f"Bearer {TOKEN}"}))
    assert (response.status_code, response["content-type"]) == (405, "application/json")


def test_head_has_no_body() -> None:
    reply = run(scraping.answer(arrival(None, method="HEAD")))
    assert (reply.status, reply.body, dict(reply.headers)[b"content-length"]) == (200, b"", b"18")


def test_without_its_package_there_is_nothing_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scraping, "source", None)
    response = get(authorization=f"Bearer {TOKEN}")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
