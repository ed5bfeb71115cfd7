"""Providers and credentials in the admin: what is stored can be replaced and used, and never read."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from ai_gateway.models import Limit, Price, Provider, ProviderCredential
from ai_gateway.stored import open_credential
from tests.admin.conftest import Login
from tests.admin.pages import filled_in, get, send, told, url
from tests.control.rows import SECRET, make_credential, make_provider, make_route
from tests.upstream import Upstream, json_answer

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key")]

NEW = {
    "alias": "groq",
    "backend": "groq",
    "credentials__0__name": "main",
    "credentials__0__secret": SECRET,
}


def test_add__stores_the_provider_and_its_credential(boss: Client) -> None:
    response = send(boss, "ai_gateway_provider_add", **NEW)
    assert response.status_code == 302
    credential = ProviderCredential.objects.get(provider__alias="groq")
    assert open_credential(credential).reveal() == SECRET


def test_add__a_wrong_form_comes_back_without_the_secret(boss: Client) -> None:
    response = send(boss, "ai_gateway_provider_add", **{**NEW, "base_url": "no URL"})
    assert response.status_code == 200
    assert "Write a URL such as" in response.content.decode()
    assert SECRET not in response.content.decode()
    assert not Provider.objects.exists()


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"base_url": "no URL"}, "base_url", "Write a URL such as https://api.example.com/v1."),
        ({"base_url": "https://a.example/v1/chat/completions"}, "base_url", "leave out what stands behind the version"),
        ({"timeouts": '{"first_byte": -1}'}, "timeouts", "Write numbers of seconds above 0."),
        ({"backend": "grok"}, "backend", "There is no backend &#x27;grok&#x27;. Write &quot;custom&quot; for any"),
        ({"backend": "os.system"}, "backend", "AI_GATEWAY[&#x27;STORED_BACKENDS&#x27;] permits: none."),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_add__what_is_wrong_is_said_once_and_beside_its_field(
    boss: Client, fields: dict[str, str], field: str, message: str
) -> None:
    page = send(boss, "ai_gateway_provider_add", **{**NEW, **fields}).content.decode()
    _, _, row = page.partition(f"field-{field}")
    assert message in row.partition("form-row")[0]
    assert "could not be called" not in page


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (NEW, ""),
        ({"alias": "echo", "backend": "echo"}, ""),
        ({"alias": "groq", "backend": "groq", "is_enabled": []}, ""),
        ({"alias": "groq", "backend": "groq"}, "It has no credential yet: add one to it"),
        (
            {**NEW, "credentials__0__secret": "", "credentials__0__reference": "env:NOT_SET_API_KEY"},
            "It cannot be called yet. The credential 'main': env:NOT_SET_API_KEY is empty, or not set.",
        ),
    ],
    ids=["a secret", "needs none", "switched off", "no credential", "not set"],
)
def test_add__says_what_is_missing_until_it_can_be_called(boss: Client, fields: dict[str, Any], message: str) -> None:
    response = send(boss, "ai_gateway_provider_add", **fields)
    assert response.status_code == 302
    warnings = [str(each) for each in get_messages(response.wsgi_request) if each.level_tag == "warning"]
    assert len(warnings) == bool(message)
    assert message in " ".join(warnings)


def test_add__a_secret_that_cannot_be_sent_is_refused_without_being_shown(boss: Client) -> None:
    response = send(boss, "ai_gateway_provider_add", **{**NEW, "credentials__0__secret": f" {SECRET}"})
    assert "It has blanks around it" in response.content.decode()
    assert SECRET not in response.content.decode()


def test_add__without_an_encryption_key_says_what_is_missing(boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AI_GATEWAY_ENCRYPTION_KEYS")
    response = send(boss, "ai_gateway_provider_add", **NEW)
    assert "There is no encryption key" in response.content.decode()


def test_secret__is_in_no_page_and_no_history(boss: Client) -> None:
    provider = make_provider()
    credential = make_credential(provider)
    ciphertext = credential.secret.ciphertext
    send(boss, "ai_gateway_provider_change", provider.pk, credentials__0__secret=f"{SECRET}-another")
    pages = [
        get(boss, "ai_gateway_provider_change", provider.pk),
        get(boss, "ai_gateway_provider_changelist"),
        get(boss, "ai_gateway_provider_history", provider.pk),
        get(boss, "ai_gateway_providercredential_change", credential.pk),
        get(boss, "ai_gateway_providercredential_changelist"),
        get(boss, "ai_gateway_providercredential_history", credential.pk),
        get(boss, "ai_gateway_provider_delete", provider.pk),
        get(boss, "ai_gateway_provider_test", provider.pk),
        *LogEntry.objects.values_list("change_message", flat=True),
    ]
    for page in pages:
        assert SECRET not in page
        assert ciphertext not in page
        assert "gw1:" not in page
    assert "Secret: changed" in pages[2]


def test_secret__left_empty_is_kept(boss: Client) -> None:
    provider = make_provider()
    credential = make_credential(provider)
    response = send(boss, "ai_gateway_provider_change", provider.pk, label="Changed")
    assert response.status_code == 302
    credential.refresh_from_db()
    assert open_credential(credential).reveal() == SECRET


def test_history__tells_old_and_new_values(boss: Client) -> None:
    provider = make_provider(label="Before")
    send(boss, "ai_gateway_provider_change", provider.pk, label="After", max_concurrency="7")
    page = get(boss, "ai_gateway_provider_history", provider.pk)
    assert "“Before” → “After”" in page
    assert "— → “7”" in page


def test_another_host__warns_of_credentials_that_do_not_open_any_more(boss: Client) -> None:
    provider = make_provider()
    make_credential(provider, "kept")
    make_credential(provider, "by-reference", reference="env:OPENAI_API_KEY")
    response = send(boss, "ai_gateway_provider_change", provider.pk, base_url="https://elsewhere.example/v1")
    assert "Enter these credentials again, which were for the old one: kept" in told(response)


def test_lines__dialects_are_chosen_and_stored_as_a_list(boss: Client) -> None:
    send(boss, "ai_gateway_provider_add", alias="own", backend="openai", dialects=["openai_chat", "gemini"])
    assert Provider.objects.get().dialects == ["openai_chat", "gemini"]


def test_credentials__are_switched_off_and_on_by_an_action(boss: Client) -> None:
    credential = make_credential(make_provider())
    data = {"action": "disable", "_selected_action": [credential.pk]}
    assert boss.post(url("ai_gateway_providercredential_changelist"), data).status_code == 302
    credential.refresh_from_db()
    assert credential.state == "disabled"
    assert LogEntry.objects.get().get_change_message() == "Changed state: “active” → “disabled”."


def test_viewer__sees_what_is_stored_where_but_no_field_for_it(login: Login) -> None:
    provider = make_provider()
    credential = make_credential(provider)
    viewer = login("view_provider", "view_providercredential")
    page = get(viewer, "ai_gateway_provider_change", provider.pk)
    assert "…cdef" in page
    assert 'type="password"' not in page
    assert "/test/" not in page
    assert 'type="password"' not in get(viewer, "ai_gateway_providercredential_change", credential.pk)
    assert viewer.get(url("ai_gateway_provider_test", provider.pk)).status_code == 403
    assert viewer.post(url("ai_gateway_provider_test", provider.pk)).status_code == 403


def test_stranger__sees_nothing(login: Login) -> None:
    provider = make_provider()
    stranger = login()
    for name in ("change", "test", "history", "delete"):
        assert stranger.get(url(f"ai_gateway_provider_{name}", provider.pk)).status_code == 403
    assert stranger.get(url("ai_gateway_provider_changelist")).status_code == 403


def test_test__asks_the_model_and_shows_the_answer(boss: Client) -> None:
    provider = make_provider("echo")
    make_route("fast", "echo/echo-1")
    page = get(boss, "ai_gateway_provider_test", provider.pk)
    assert 'value="echo-1"' in page
    response = boss.post(url("ai_gateway_provider_test", provider.pk), {"model": "echo-1", "prompt": "Say good day"})
    answer = response.content.decode()
    assert "It answered" in answer
    assert "Say good day" in answer
    assert "/v1/chat/completions" in answer


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic_messages", "openai_responses", "gemini"])
def test_test__asks_in_a_format_that_the_provider_speaks(boss: Client, dialect: str) -> None:
    provider = make_provider("echo", dialects=[dialect])
    response = boss.post(url("ai_gateway_provider_test", provider.pk), {"model": "echo-1", "prompt": "good day"})
    assert "It answered" in response.content.decode()
    assert '<blockquote class="gateway-answer">good day' in response.content.decode()


def test_test__shows_an_error_readably(boss: Client) -> None:
    provider = make_provider("dead", backend="custom", base_url="http://127.0.0.1:9/v1", allow_private=True)
    make_credential(provider)
    response = boss.post(url("ai_gateway_provider_test", provider.pk), {"model": "any", "prompt": "Hello"})
    page = response.content.decode()
    assert "It failed" in page
    assert "main" in page
    assert SECRET not in page


def test_test__of_a_provider_that_is_switched_off_says_so(boss: Client) -> None:
    provider = make_provider(is_enabled=False)
    response = boss.post(url("ai_gateway_provider_test", provider.pk), {"model": "any", "prompt": "Hello"})
    assert "It is switched off" in response.content.decode()


def test_test__is_not_run_by_opening_the_page(boss: Client) -> None:
    provider = make_provider("echo")
    assert "It answered" not in get(boss, "ai_gateway_provider_test", provider.pk, model="echo-1", prompt="x")


def test_test__masks_a_secret_that_the_provider_repeats(boss: Client, upstream: Upstream) -> None:
    upstream.answer(json_answer({"error": {"message": f"Wrong key {SECRET}"}}, status=401))
    provider = make_provider("own", backend="custom", base_url=f"http://127.0.0.1:{upstream.port}/v1")
    make_credential(provider)
    page = boss.post(url("ai_gateway_provider_test", provider.pk), {"model": "any", "prompt": "Hello"}).content.decode()
    assert upstream.requests[-1].header("authorization") == f"Bearer {SECRET}"
    assert "Wrong key ***" in page
    assert SECRET not in page


def test_test__lists_the_models_that_the_provider_tells(boss: Client, upstream: Upstream) -> None:
    upstream.answer(json_answer({"data": [{"id": "model-a"}, {"id": "model-b"}, "nonsense"]}))
    provider = make_provider("own", backend="custom", base_url=f"http://127.0.0.1:{upstream.port}/v1")
    make_credential(provider)
    page = boss.post(url("ai_gateway_provider_test", provider.pk), {"model": "", "prompt": "Hello"}).content.decode()
    assert "It lists 2 models" in page
    assert '<option value="model-b">' in page
    assert {request.target for request in upstream.requests} == {"/v1/models"}


def test_check__asks_several_at_once_and_costs_nothing(boss: Client, upstream: Upstream) -> None:
    upstream.answer(json_answer({"data": []}))
    good = make_provider("good", backend="custom", base_url=f"http://127.0.0.1:{upstream.port}/v1")
    make_credential(good)
    bare = make_provider("bare", backend="custom", base_url=f"http://127.0.0.1:{upstream.port}/v1")
    off = make_provider("off", backend="echo", is_enabled=False)
    data = {"action": "check_selected", "_selected_action": [good.pk, bare.pk, off.pk]}
    page = boss.post(url("ai_gateway_provider_changelist"), data).content.decode()
    assert "200" in page
    assert "no credential" in page
    assert "switched off" in page
    assert upstream.request.target == "/v1/models"
    assert SECRET not in page


def test_changes__of_all_objects_are_listed_without_counting(boss: Client) -> None:
    provider = make_provider(label="Before")
    make_credential(provider)
    send(boss, "ai_gateway_provider_change", provider.pk, label="After", credentials__0__secret=f"{SECRET}-another")
    boss.post(url("ai_gateway_provider_delete", provider.pk), {"post": "yes"})
    with CaptureQueriesContext(connection) as captured:
        page = get(boss, "ai_gateway_provider_changes")
    assert "“Before” → “After”" in page
    assert "Deleted." in page
    assert SECRET not in page
    assert not [each for each in captured.captured_queries if "COUNT(*)" in each["sql"]]


def test_changes__need_their_permission(login: Login) -> None:
    editor = login("view_provider", "change_provider")
    assert editor.get(url("ai_gateway_provider_changes")).status_code == 403
    assert url("ai_gateway_provider_changes") not in get(editor, "ai_gateway_provider_changelist")


@pytest.mark.parametrize("how", ["rename", "switch off", "delete", "delete several"])
def test_what_names_a_provider_that_is_gone_is_said(boss: Client, how: str) -> None:
    provider = make_provider("gpu", backend="echo")
    make_route("fast", "gpu/a", "gpu/b")
    Price.objects.create(provider="gpu", model="a", input=1)
    Limit.objects.create(name="l", scope="provider", subject="gpu", measure="requests", window="day", amount=1)
    if how == "rename":
        response = send(boss, "ai_gateway_provider_change", provider.pk, alias="gpus")
    elif how == "switch off":
        response = send(boss, "ai_gateway_provider_change", provider.pk, is_enabled=[])
    elif how == "delete":
        response = boss.post(url("ai_gateway_provider_delete", provider.pk), {"post": "yes"})
    else:
        data = {"action": "delete_selected", "_selected_action": [provider.pk], "post": "yes"}
        response = boss.post(url("ai_gateway_provider_changelist"), data)
    assert "“gpu” is still named by 1 prices, 1 limits and targets of routes: fast." in told(response)


@pytest.mark.parametrize(("alias", "is_named"), [("echo", False), ("groq", True)])
def test_a_provider_of_the_catalogue_is_still_there_without_its_row_if_it_needs_no_credential(
    boss: Client, alias: str, is_named: bool
) -> None:
    provider = make_provider(alias)
    make_route("fast", f"{alias}/a")
    response = boss.post(url("ai_gateway_provider_delete", provider.pk), {"post": "yes"})
    assert ("still named" in told(response)) is is_named


def test_a_form_does_not_undo_what_was_changed_while_it_was_open(boss: Client) -> None:
    provider = make_provider()
    credential = make_credential(provider)
    address = url("ai_gateway_provider_change", provider.pk)
    form = {**filled_in(get(boss, "ai_gateway_provider_change", provider.pk)), "label": "Ours"}
    boss.post(
        url("ai_gateway_providercredential_changelist"), {"action": "disable", "_selected_action": [credential.pk]}
    )
    page = boss.post(address, form).content.decode()
    assert "Somebody changed this while the form was open" in page
    credential.refresh_from_db()
    assert credential.state == ProviderCredential.State.DISABLED
    assert boss.post(address, {**filled_in(page), "label": "Ours"}).status_code == 302
    provider.refresh_from_db()
    assert provider.label == "Ours"
