"""Routes in the admin: their targets, the test of one, and the explanation of a call."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client, override_settings

from ai_gateway import breakers, registry
from ai_gateway.calls import Target
from ai_gateway.models import Route
from tests.admin.conftest import Login
from tests.admin.pages import get, send, told, url
from tests.control.rows import make_key, make_provider, make_route, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key")]


def test_add__with_a_target(boss: Client) -> None:
    make_provider("echo")
    page = get(boss, "ai_gateway_route_add")
    assert '<option value="echo">' in page
    response = send(boss, "ai_gateway_route_add", name="fast", targets__0__provider="echo", targets__0__model="echo-1")
    assert response.status_code == 302
    assert [str(target) for target in Route.objects.get().targets.all()] == ["echo/echo-1"]


def test_add__targets_without_a_position_come_last_in_their_order(boss: Client) -> None:
    make_provider("echo")
    fields = {"targets__TOTAL_FORMS": "4"}
    for number, (model, position) in enumerate((("third", ""), ("second", "7"), ("fourth", ""), ("first", "0"))):
        fields |= {f"targets__{number}__provider": "echo", f"targets__{number}__model": model}
        fields |= {f"targets__{number}__position": position, f"targets__{number}__weight": "1"}
        fields |= {f"targets__{number}__part": "serve", f"targets__{number}__percent": "0"}
        fields |= {f"targets__{number}__conditions": "{}", f"targets__{number}__timeouts": "{}"}
    assert send(boss, "ai_gateway_route_add", name="fast", **fields).status_code == 302
    found = Route.objects.get().targets.values_list("model", "position")
    assert list(found) == [("first", 0), ("second", 7), ("third", 8), ("fourth", 9)]


def test_change__a_target_whose_position_is_emptied_goes_to_the_end(boss: Client) -> None:
    route = make_route("fast", "echo/a", "echo/b")
    first, second = route.targets.all()
    assert send(boss, "ai_gateway_route_change", route.pk, targets__0__position="").status_code == 302
    assert list(route.targets.all()) == [second, first]


def test_add__an_unknown_provider_is_refused(boss: Client) -> None:
    response = send(boss, "ai_gateway_route_add", name="fast", targets__0__provider="nowhere", targets__0__model="m")
    assert "There is no provider nowhere. Add it first, or write the alias of another one." in response.content.decode()


def test_change__notes_targets_in_the_history(boss: Client) -> None:
    route = make_route("fast", "echo/echo-1")
    send(boss, "ai_gateway_route_change", route.pk, targets__0__model="echo-2")
    message = LogEntry.objects.get().get_change_message()
    assert message == "Changed Model: “echo-1” → “echo-2” for target “echo/echo-2”."


def test_change__conditions_are_kept_and_broken_ones_explained(boss: Client) -> None:
    route = make_route("fast", "echo/echo-1")
    response = send(boss, "ai_gateway_route_change", route.pk, targets__0__conditions='{"colour": "red"}')
    assert "There is no condition &#x27;colour&#x27;. Known are: images" in response.content.decode()
    wanted = {"targets__0__conditions": '{"images": true}', "targets__0__timeouts": '{"first_byte": 5}'}
    assert send(boss, "ai_gateway_route_change", route.pk, timeouts='{"idle": 9}', **wanted).status_code == 302
    target = route.targets.get()
    assert (target.conditions, target.timeouts) == ({"images": True}, {"first_byte": 5})
    assert Route.objects.get().timeouts == {"idle": 9}


@pytest.mark.parametrize("name", ["a&b", "a#b", "a+b", "a%2Fb"])
def test_change__leads_to_the_explanation_of_this_very_route(boss: Client, name: str) -> None:
    page = get(boss, "ai_gateway_route_change", make_route(name, "echo/echo-1").pk)
    links = [unescape(link) for link in re.findall(r'href="([^"]*\?(?:model|route)=[^"]*)"', page)]
    assert [parse_qsl(urlsplit(link).query)[0][1] for link in links] == [name] * len(links)
    assert any("explain" in link for link in links)


def test_list__marks_targets_that_lead_nowhere_with_the_reason(boss: Client) -> None:
    make_provider("off", backend="echo", is_enabled=False)
    make_provider("wrong", backend="custom")
    make_route("fast", "echo/good", "echo/ill", "off/m", "wrong/m")
    make_route("lost", "nobody/<m>")
    breakers.note(Target("echo", "ill"), breakers.BreakerPolicy(consecutive=1), is_good=False)
    registry.refresh()
    page = get(boss, "ai_gateway_route_changelist")
    assert "echo/good → echo/ill <span" in page
    assert "(last, because its breaker is open)" in page
    assert "✗ off/m: its provider is switched off" in page
    assert "✗ wrong/m: its provider is not set up correctly" in page
    assert "✗ nobody/&lt;m&gt;: there is no such provider" in page


def test_a_route_without_a_target_is_said_to_lead_nowhere(boss: Client) -> None:
    response = send(boss, "ai_gateway_route_add", name="empty")
    assert "It has no target that is enabled" in told(response)
    registry.refresh()
    assert "✗ no target" in get(boss, "ai_gateway_route_changelist")
    explained = boss.post(url("ai_gateway_explain"), {"model": "empty", "path": "/v1/chat/completions"})
    assert "nothing names a provider, so the default one is asked" in explained.content.decode()


def test_explain__names_targets_that_lead_nowhere(boss: Client) -> None:
    make_provider("off", backend="echo", is_enabled=False)
    make_route("fast", "echo/echo-1", "off/m")
    data = {"model": "fast", "path": "/v1/chat/completions", "headers": "", "body": ""}
    page = boss.post(url("ai_gateway_explain"), data).content.decode()
    assert "✗ left out: its provider is switched off" in page
    assert "Where it goes" in page


def test_explain__looks_at_a_body(boss: Client) -> None:
    route = make_route("fast", "echo/text", "echo/eyes")
    route.targets.filter(model="text").update(conditions={"images": False})
    body = '{"messages": [{"content": [{"type": "image_url"}]}]}'
    data = {"model": "fast", "path": "/v1/chat/completions", "headers": "", "body": body}
    breakers.note(Target("echo", "eyes"), breakers.BreakerPolicy(consecutive=1), is_good=False)
    page = boss.post(url("ai_gateway_explain"), data).content.decode()
    assert "left out: it wants a call without images" in page
    assert "last, because its breaker is open" in page
    page = boss.post(url("ai_gateway_explain"), {**data, "body": "nonsense"}).content.decode()
    assert "400 invalid_json" in page


def test_test__asks_the_route_as_the_user(boss: Client) -> None:
    make_provider("echo")
    route = make_route("fast", "echo/echo-1")
    response = boss.post(url("ai_gateway_route_test", route.pk), {"prompt": "good day"})
    page = response.content.decode()
    assert "It answered" in page
    assert "good day" in page
    assert "echo / echo-1" in page
    assert "is a route, whose targets are asked in order" in page


def test_test__a_route_that_is_not_open_to_the_user_is_refused_as_any_caller_would_be(login: Login) -> None:
    make_provider("echo")
    route = make_route("secret", "echo/echo-1", is_public=False)
    editor = login("change_route", "view_route")
    page = editor.post(url("ai_gateway_route_test", route.pk), {"prompt": "Hello"}).content.decode()
    assert "It failed" in page
    assert "does not exist, or is not open to this key" in page


def test_test__needs_the_right_to_change(login: Login) -> None:
    route = make_route("fast", "echo/echo-1")
    viewer = login("view_route")
    assert viewer.get(url("ai_gateway_route_test", route.pk)).status_code == 403


def test_explain__shows_targets_and_reason_and_sends_nothing(boss: Client) -> None:
    make_provider("echo")
    make_route("fast", "echo/echo-1", "groq/llama")
    assert 'value="fast"' in get(boss, "ai_gateway_explain", model="fast")
    data = {"model": "fast", "path": "/v1/chat/completions", "headers": ""}
    with override_settings(AI_GATEWAY={"RESPONSE_CACHE": {"ttl": 60}}):
        page = boss.post(url("ai_gateway_explain"), data).content.decode()
    assert "is a route, whose targets are asked in order" in page
    assert "can be asked" in page
    assert "<li>An answer to an equal call" in page
    assert "no credential" in page or "groq" in page


def test_explain__by_a_key_and_headers(boss: Client) -> None:
    make_provider("echo")
    key, _ = make_key(make_user("ann"), allowed_providers=["groq"])
    data = {"model": "echo-1", "path": "/v1/chat/completions", "headers": "x-provider: echo", "key": key.pk}
    page = boss.post(url("ai_gateway_explain"), data).content.decode()
    assert "x-provider names the provider" in page
    assert "404" in page


def test_explain__a_revoked_key_is_said_to_be_one(boss: Client) -> None:
    key, _ = make_key(make_user("ann"), is_active=False)
    data = {"model": "fast", "path": "/v1/chat/completions", "headers": "", "key": key.pk}
    assert "This gateway key was revoked." in boss.post(url("ai_gateway_explain"), data).content.decode()


@pytest.mark.parametrize("header", ["Authorization: Bearer sk-canary", "x-api-key: sk-canary", "Cookie: sk-canary"])
def test_explain__refuses_credentials_and_does_not_repeat_them(boss: Client, header: str) -> None:
    data = {"model": "fast", "path": "/v1/chat/completions", "headers": f"x-user-id: me\n{header}"}
    page = boss.post(url("ai_gateway_explain"), data).content.decode()
    assert "Credentials are not needed here" in page
    assert "sk-canary" not in page


def test_explain__keys_can_be_chosen_by_those_only_who_may_see_them(login: Login) -> None:
    key, _ = make_key(make_user("ann"), is_active=False)
    viewer = login("view_route")
    assert 'name="key"' not in get(viewer, "ai_gateway_explain")
    data = {"model": "fast", "path": "/v1/chat/completions", "headers": "", "key": key.pk}
    assert "revoked" not in viewer.post(url("ai_gateway_explain"), data).content.decode()
    assert login(name="nobody").get(url("ai_gateway_explain")).status_code == 403
