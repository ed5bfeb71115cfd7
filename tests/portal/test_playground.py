"""The playground in the portal: for those with the permission, staff or not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from tests.control.rows import make_provider, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.portal.urls")]

PROMPT: dict[str, Any] = {"model": "echo/echo-1", "messages": [{"role": "user", "text": "Good day"}], "stream": False}


@pytest.fixture
def ann(client: Client) -> Client:
    """A customer who may use it."""
    make_provider("echo")
    user = make_user("ann")
    user.user_permissions.add(Permission.objects.get(codename="use_playground"))
    client.force_login(user)
    return client


def ask(client: Client) -> Any:
    path = reverse("ai_gateway_portal:ai_gateway_playground_answer")
    return client.post(path, json.dumps(PROMPT), content_type="application/json")


def test_page__is_linked_and_answers_without_a_script(ann: Client) -> None:
    path = reverse("ai_gateway_portal:playground")
    assert path in ann.get(reverse("ai_gateway_portal:keys")).content.decode()
    form = {"model": "echo/echo-1", "format": "openai_responses", "message": "Good day"}
    assert '<div class="play-text">Good day</div>' in ann.post(path, form).content.decode()


def test_answer__comes(ann: Client) -> None:
    assert b"Good day" in ask(ann).content


def test_others__see_nothing_of_it(client: Client) -> None:
    path = reverse("ai_gateway_portal:playground")
    assert client.get(path).status_code == 302
    assert ask(client).status_code == 403
    client.force_login(make_user("bob"))
    assert client.get(path).status_code == 403
    assert ask(client).status_code == 403
    assert path not in client.get(reverse("ai_gateway_portal:keys")).content.decode()
