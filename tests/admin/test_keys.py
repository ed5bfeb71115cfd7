"""Virtual keys in the admin: shown once, exchanged, revoked, and only by those who may."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils.html import escape

from ai_gateway import crypto, issuing, snippets
from ai_gateway.key_store import read_keys
from ai_gateway.keys import is_genuine
from ai_gateway.models import VirtualKey
from tests.admin.conftest import Login
from tests.admin.pages import filled_in, get, send, url
from tests.control.rows import make_key, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key")]

TOKEN = re.compile(r"gw_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}")


def tokens_in(response: Any) -> set[str]:
    return set(TOKEN.findall(response.content.decode()))


def works(token: str) -> bool:
    """Whether a token is the key of the row that it names."""
    public_id = crypto.public_id_of(token.encode())
    assert public_id is not None
    record = read_keys([public_id])[public_id]
    return is_genuine(token.encode(), record) and record.problem is None


def test_add__shows_a_key_that_works_once_and_keeps_it_nowhere(boss: Client) -> None:
    ann = make_user("ann")
    response = send(boss, "ai_gateway_virtualkey_add", name="laptop", user=ann.pk, allowed_models="fast\nopenai/*")
    (token,) = tokens_in(response)
    key = VirtualKey.objects.get()
    assert works(token)
    assert key.allowed_models == ["fast", "openai/*"]
    assert "no-store" in response["Cache-Control"]
    assert token not in response.request["PATH_INFO"] + response.request["QUERY_STRING"]
    assert "messages" not in response.cookies
    pages = [
        get(boss, "ai_gateway_virtualkey_changelist"),
        get(boss, "ai_gateway_virtualkey_change", key.pk),
        get(boss, "ai_gateway_virtualkey_history", key.pk),
        get(boss, "ai_gateway_virtualkey_rotate", key.pk),
        *LogEntry.objects.values_list("change_message", flat=True),
        *(str(session.get_decoded()) for session in Session.objects.all()),
    ]
    for page in pages:
        assert token not in page
        assert key.digest not in page
        assert "gw1:" not in page


def test_add__a_key_that_has_ended_already_is_refused(boss: Client) -> None:
    ends = {"expires_at_0": "2020-01-01", "expires_at_1": "00:00:00"}
    response = send(boss, "ai_gateway_virtualkey_add", name="laptop", user=make_user("ann").pk, **ends)
    assert "This is past" in response.content.decode()
    assert not VirtualKey.objects.exists()


def test_change__texts_with_a_comma_stay_whole(boss: Client) -> None:
    key, _ = make_key(make_user("ann"), tags=["team a, b", "c"])
    assert send(boss, "ai_gateway_virtualkey_change", key.pk, name="renamed").status_code == 302
    key.refresh_from_db()
    assert (key.name, key.tags) == ("renamed", ["team a, b", "c"])


def test_change__several_models_on_a_line_are_refused(boss: Client) -> None:
    key, _ = make_key(make_user("ann"))
    response = send(boss, "ai_gateway_virtualkey_change", key.pk, allowed_models="fast, slow")
    assert "Write one a line, without commas." in response.content.decode()


def test_list__those_that_work_have_an_owner_who_is_active(boss: Client) -> None:
    works, _ = make_key(make_user("ann"))
    idle, _ = make_key(make_user("bob", is_active=False))
    for state, wanted in (("active", works), ("idle", idle)):
        page = boss.get(url("ai_gateway_virtualkey_changelist"), {"state": state})
        assert list(page.context["cl"].result_list) == [wanted]


def test_change__a_key_may_be_ended(boss: Client) -> None:
    key, _ = make_key(make_user("ann"))
    ends = {"expires_at_0": "2020-01-01", "expires_at_1": "00:00:00"}
    assert send(boss, "ai_gateway_virtualkey_change", key.pk, **ends).status_code == 302
    key.refresh_from_db()
    assert key.is_expired


@pytest.mark.parametrize(
    "metadata",
    [
        "[" * 3000,
        '{"x": ' * 3000,
        '{"x": %s}' % ("9" * 6000),
        r'{"x": "\ud800"}',
        r'{"x": "\u0000"}',
        '{"x": NaN}',
        '{"x": 1e999}',
        "{",
    ],
)
def test_add__json_that_cannot_be_kept_is_refused_and_shown_again(boss: Client, metadata: str) -> None:
    user = make_user("ann").pk
    response = send(boss, "ai_gateway_virtualkey_add", name="laptop", user=user, metadata=metadata)
    assert "Enter a valid JSON." in response.content.decode()
    assert escape(metadata) in response.content.decode()
    assert not VirtualKey.objects.exists()


def test_add__the_same_form_makes_one_key(boss: Client) -> None:
    ann = make_user("ann")
    data = {**filled_in(get(boss, "ai_gateway_virtualkey_add")), "name": "laptop", "user": ann.pk}
    assert tokens_in(boss.post(url("ai_gateway_virtualkey_add"), data))
    again = boss.post(url("ai_gateway_virtualkey_add"), data)
    assert not tokens_in(again)
    assert "was sent already" in again.content.decode()
    assert VirtualKey.objects.count() == 1


def test_add__with_an_invented_ticket_makes_none(boss: Client) -> None:
    response = send(boss, "ai_gateway_virtualkey_add", name="x", user=make_user("ann").pk, ticket="AAAAAAAAAAAA")
    assert "This form is too old" in response.content.decode()
    assert not VirtualKey.objects.exists()


def test_add__without_an_encryption_key_says_so(boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AI_GATEWAY_ENCRYPTION_KEYS")
    response = send(boss, "ai_gateway_virtualkey_add", name="laptop", user=make_user("ann").pk)
    assert "There is no encryption key" in response.content.decode()


def test_add__in_a_group_that_the_owner_is_no_member_of_is_refused(boss: Client) -> None:
    team = Group.objects.create(name="team")
    response = send(boss, "ai_gateway_virtualkey_add", name="laptop", user=make_user("ann").pk, group=team.pk)
    assert "not a member of this group" in response.content.decode()


def test_rotate__shows_a_new_key_and_ends_the_old_one(boss: Client) -> None:
    key, old = make_key(make_user("ann"), allowed_models=["fast"])
    response = send(boss, "ai_gateway_virtualkey_rotate", key.pk)
    (token,) = tokens_in(response)
    assert works(token)
    assert not works(old)
    assert "no-store" in response["Cache-Control"]
    key.refresh_from_db()
    assert key.allowed_models == ["fast"]
    assert "exchanged for a new one" in LogEntry.objects.get().get_change_message()


def test_rotate__the_same_form_exchanges_once(boss: Client) -> None:
    key, _ = make_key(make_user("ann"))
    data = filled_in(get(boss, "ai_gateway_virtualkey_rotate", key.pk))
    assert tokens_in(boss.post(url("ai_gateway_virtualkey_rotate", key.pk), data))
    again = boss.post(url("ai_gateway_virtualkey_rotate", key.pk), data)
    assert not tokens_in(again)
    assert "exchanged in the meantime" in again.content.decode()


def test_rotate__needs_a_post(boss: Client) -> None:
    key, old = make_key(make_user("ann"))
    get(boss, "ai_gateway_virtualkey_rotate", key.pk)
    assert works(old)


def test_revoke__ends_the_key_for_good(boss: Client) -> None:
    key, token = make_key(make_user("ann"))
    assert send(boss, "ai_gateway_virtualkey_revoke", key.pk).status_code == 302
    assert not works(token)
    assert boss.get(url("ai_gateway_virtualkey_rotate", key.pk)).status_code == 403
    page = get(boss, "ai_gateway_virtualkey_change", key.pk)
    assert "revoked" in page
    assert 'name="name"' not in page


def test_revoke__several_by_an_action(boss: Client) -> None:
    ann = make_user("ann")
    keys = [make_key(ann)[0].pk for _ in range(3)]
    boss.post(url("ai_gateway_virtualkey_changelist"), {"action": "revoke_selected", "_selected_action": keys[:2]})
    assert VirtualKey.objects.filter(is_active=True).count() == 1
    assert LogEntry.objects.count() == 2


def test_change__cannot_move_a_key_to_another_owner_or_revive_it(boss: Client) -> None:
    ann, bob = make_user("ann"), make_user("bob")
    key, _ = make_key(ann, is_active=True)
    send(boss, "ai_gateway_virtualkey_change", key.pk, user=bob.pk, name="renamed", is_active="on")
    key.refresh_from_db()
    assert (key.user, key.name) == (ann, "renamed")


def test_change__notes_lists_in_the_history(boss: Client) -> None:
    key, _ = make_key(make_user("ann"), allowed_models=["a"])
    send(boss, "ai_gateway_virtualkey_change", key.pk, allowed_models="a\nb")
    assert LogEntry.objects.get().get_change_message() == "Changed Allowed models: “a” → “a, b”."


def test_issue_keys__is_needed_for_the_keys_of_others(login: Login) -> None:
    ann = make_user("ann")
    clerk = login("add_virtualkey", "change_virtualkey", "view_virtualkey", "issue_own_keys", name="clerk")
    assert 'name="user"' not in get(clerk, "ai_gateway_virtualkey_add")
    response = send(clerk, "ai_gateway_virtualkey_add", name="mine", user=ann.pk)
    assert tokens_in(response)
    assert VirtualKey.objects.get().user.get_username() == "clerk"
    key, _ = make_key(ann)
    assert clerk.get(url("ai_gateway_virtualkey_rotate", key.pk)).status_code == 403
    assert clerk.post(url("ai_gateway_virtualkey_rotate", key.pk)).status_code == 403


def test_add__needs_the_right_to_issue(login: Login) -> None:
    clerk = login("add_virtualkey", "view_virtualkey")
    assert clerk.get(url("ai_gateway_virtualkey_add")).status_code == 403


def test_issuer__makes_keys_for_others(login: Login) -> None:
    ann = make_user("ann")
    issuer = login("add_virtualkey", "change_virtualkey", "view_virtualkey", "issue_keys")
    assert tokens_in(send(issuer, "ai_gateway_virtualkey_add", name="for ann", user=ann.pk))
    assert VirtualKey.objects.get().user == ann


def test_viewer__can_neither_exchange_nor_revoke(login: Login) -> None:
    key, _ = make_key(make_user("ann"))
    viewer = login("view_virtualkey", "issue_keys")
    page = get(viewer, "ai_gateway_virtualkey_change", key.pk)
    assert "/rotate/" not in page
    assert "/revoke/" not in page
    for name in ("rotate", "revoke"):
        assert viewer.post(url(f"ai_gateway_virtualkey_{name}", key.pk)).status_code == 403
    assert "revoke_selected" not in get(viewer, "ai_gateway_virtualkey_changelist")


@pytest.mark.parametrize("term", ["lapt", "ann", "{public_id}", "gw_{public_id}_…"])
def test_search__finds_by_name_owner_and_public_id(boss: Client, term: str) -> None:
    key, _ = make_key(make_user("ann"), name="laptop")
    make_key(make_user("bob"), name="elsewhere")
    page = get(boss, "ai_gateway_virtualkey_changelist", q=term.format(public_id=key.public_id))
    assert key.public_id in page
    assert "elsewhere" not in page


@pytest.mark.parametrize(
    ("state", "names"), [("active", {"works"}), ("revoked", {"ended"}), ("unused", {"works", "ended"})]
)
def test_filter__by_state(boss: Client, state: str, names: set[str]) -> None:
    ann = make_user("ann")
    make_key(ann, name="works")
    make_key(ann, name="ended", is_active=False)
    page = get(boss, "ai_gateway_virtualkey_changelist", state=state)
    assert {name for name in ("works", "ended") if f">{name}</a>" in page} == names


def test_rotate_and_revoke__need_the_csrf_token(boss: Client) -> None:
    key, _ = make_key(make_user("ann"))
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = boss.cookies
    for name in ("rotate", "revoke"):
        assert strict.post(url(f"ai_gateway_virtualkey_{name}", key.pk)).status_code == 403


def test_add__owners_are_given_by_id_where_the_admin_cannot_search_them(
    boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = make_user("ann")
    monkeypatch.setattr(UserAdmin, "search_fields", ())
    assert "vForeignKeyRawIdAdminField" in get(boss, "ai_gateway_virtualkey_add")
    assert tokens_in(send(boss, "ai_gateway_virtualkey_add", name="laptop", user=ann.pk))


def test_key__opens_no_page_of_the_admin() -> None:
    _, token = make_key(make_user("boss", is_superuser=True, is_staff=True))
    for name in ("provider_changelist", "virtualkey_add", "explain"):
        for header in ("authorization", "x-api-key"):
            response = Client().get(url(f"ai_gateway_{name}"), headers={header: f"Bearer {token}"})
            assert response.status_code == 302


def test_error_report__has_no_key_in_it(boss: Client, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """What fails while a key is shown is reported with the variables of every frame."""
    settings.DEBUG = True
    shown: list[str] = []

    def fail(_: Any, token: str) -> None:
        shown.append(token)
        raise RuntimeError

    monkeypatch.setattr(snippets, "for_key", fail)
    boss.raise_request_exception = False
    response = send(boss, "ai_gateway_virtualkey_add", name="laptop", user=make_user("ann").pk)
    assert response.status_code == 500
    assert "RuntimeError" in response.content.decode()
    assert str(shown[0]) not in response.content.decode()


def test_add__of_two_that_are_sent_at_once_the_second_makes_none(boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = make_user("ann")
    data = {**filled_in(get(boss, "ai_gateway_virtualkey_add")), "name": "laptop", "user": ann.pk}
    public_id = issuing.read_ticket(data["ticket"])
    monkeypatch.setattr(issuing, "read_ticket", lambda _: public_id)
    assert tokens_in(boss.post(url("ai_gateway_virtualkey_add"), data))
    second = boss.post(url("ai_gateway_virtualkey_add"), data, follow=True)
    assert "Nothing was saved" in second.content.decode()
    assert VirtualKey.objects.count() == 1
