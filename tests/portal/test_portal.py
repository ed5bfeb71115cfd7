"""The portal: everybody's own keys and nobody else's, shown once, without a script or a style in the page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.sessions.models import Session
from django.test import Client, override_settings
from django.urls import reverse

from ai_gateway import crypto, issuing, registry
from ai_gateway.key_store import read_keys
from ai_gateway.keys import is_genuine
from ai_gateway.models import VirtualKey
from ai_gateway.portal.forms import MOST_KEYS
from tests.control.rows import make_key, make_provider, make_route, make_user

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("encryption_key"),
    pytest.mark.urls("tests.portal.urls"),
]

TOKEN = re.compile(r"gw_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}")
TICKET = re.compile(r'name="ticket" value="([^"]+)"')
PAGES = ["keys", "new", "usage", "models", "connect"]


def url(name: str, *args: Any) -> str:
    return reverse(f"ai_gateway_portal:{name}", args=args)


@pytest.fixture
def team() -> Group:
    """A team whose members may make keys."""
    team = Group.objects.create(name="team")
    team.permissions.add(Permission.objects.get(content_type__app_label="ai_gateway", codename="issue_own_keys"))
    return team


def log_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def ann(team: Group) -> Client:
    """A member of the team, and no member of staff."""
    return log_in(make_user("ann", team.name))


def make(client: Client, **fields: Any) -> Any:
    ticket = TICKET.search(client.get(url("new")).content.decode())
    assert ticket is not None
    return client.post(url("new"), {"ticket": ticket[1], "name": "laptop", "days": "90", **fields})


def token_in(response: Any) -> str:
    (token,) = set(TOKEN.findall(response.content.decode()))
    return str(token)


@pytest.mark.parametrize("name", PAGES)
def test_pages__are_for_those_who_are_logged_in(name: str) -> None:
    response = Client().get(url(name))
    assert response.status_code == 302
    assert "login" in response["Location"]


@pytest.mark.parametrize("name", PAGES)
def test_pages__work_under_the_strictest_policy(ann: Client, name: str) -> None:
    """Nothing in a page is a script, a style, or from elsewhere."""
    make_key(make_user("bob"))
    page = ann.get(url(name)).content.decode()
    assert not re.search(r"<style|style=|\son[a-z]+=|javascript:", page)
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)


@pytest.mark.parametrize("name", PAGES)
def test_pages__every_field_has_its_label(ann: Client, name: str) -> None:
    page = ann.get(url(name)).content.decode()
    labelled = set(re.findall(r'<label[^>]* for="([^"]+)"', page))
    for field in re.findall(r"<(?:input|select|textarea)\b[^>]*>", page):
        if 'type="hidden"' not in field:
            (field_id,) = re.findall(r'\bid="([^"]+)"', field)
            assert field_id in labelled


def test_keys__behind_the_last_page_there_is_the_first(ann: Client) -> None:
    for address in ("?page=9", "?page=99999"):
        response = ann.get(url("keys") + address)
        assert (response.status_code, response["Location"]) == (302, url("keys"))


def test_new__shows_a_key_that_works_once_and_keeps_it_nowhere(ann: Client) -> None:
    response = make(ann)
    token = token_in(response)
    key = VirtualKey.objects.get()
    record = read_keys([key.public_id])[key.public_id]
    assert is_genuine(token.encode(), record)
    assert record.problem is None
    assert key.user.get_username() == "ann"
    assert key.expires_at is not None
    assert "no-store" in response["Cache-Control"]
    assert "messages" not in response.cookies
    for page in (
        ann.get(url("keys")).content.decode(),
        ann.get(url("connect")).content.decode(),
        *(str(session.get_decoded()) for session in Session.objects.all()),
    ):
        assert token not in page
        assert key.digest not in page


def test_new__the_same_form_makes_one_key(ann: Client) -> None:
    ticket = TICKET.search(ann.get(url("new")).content.decode())
    assert ticket is not None
    data = {"ticket": ticket[1], "name": "laptop", "days": "90"}
    token_in(ann.post(url("new"), data))
    again = ann.post(url("new"), data).content.decode()
    assert "was sent already" in again
    assert not TOKEN.search(again)
    assert VirtualKey.objects.count() == 1


def test_new__for_a_team_and_some_models(ann: Client, team: Group) -> None:
    make_route("fast", "echo/echo-1")
    make(ann, group=team.pk, models=["fast"], days="0")
    key = VirtualKey.objects.get()
    assert (key.group, key.allowed_models, key.expires_at) == (team, ["fast"], None)


def test_new__not_for_a_team_of_others(ann: Client) -> None:
    response = make(ann, group=Group.objects.create(name="others").pk)
    assert not TOKEN.search(response.content.decode())
    assert not VirtualKey.objects.exists()


@pytest.mark.parametrize("fields", [{"name": ""}, {"days": "9999"}, {"days": "x"}, {"models": ["not-mine"]}])
def test_new__what_the_form_does_not_offer_is_refused(ann: Client, fields: dict[str, Any]) -> None:
    make_route("not-mine", "echo/echo-1", is_public=False)
    make_route("fast", "echo/echo-1")
    assert make(ann, **fields).status_code == 200
    assert not VirtualKey.objects.exists()


def test_new__offers_the_models_that_the_users_groups_allow(ann: Client, team: Group) -> None:
    make_route("closed", "echo/echo-1", is_public=False)
    make_route("ours", "echo/echo-1", is_public=False).groups.add(team)
    page = ann.get(url("new")).content.decode()
    assert 'value="ours"' in page
    assert 'value="closed"' not in page


def test_new__cannot_name_another_owner(ann: Client) -> None:
    bob = make_user("bob")
    make(ann, user=bob.pk, owner=bob.pk)
    assert VirtualKey.objects.get().user.get_username() == "ann"


def test_new__needs_the_permission() -> None:
    bob = log_in(make_user("bob"))
    assert bob.get(url("new")).status_code == 403
    assert bob.post(url("new"), {"name": "x", "days": "7"}).status_code == 403
    assert "You may not make keys yourself" in bob.get(url("keys")).content.decode()


def test_new__without_an_encryption_key_says_so(ann: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AI_GATEWAY_ENCRYPTION_KEYS")
    assert "There is no encryption key" in make(ann).content.decode()


def test_new__has_an_end(ann: Client) -> None:
    owner = make_user("eve", "team")
    rows = [
        VirtualKey(public_id=crypto.random_text(12), user=owner, name=f"{number}", digest="0" * 64)
        for number in range(MOST_KEYS)
    ]
    VirtualKey.objects.bulk_create(rows)
    assert "You have too many keys" in make(log_in(owner)).content.decode()
    assert token_in(make(ann))


def test_keys__shows_ones_own_only(ann: Client) -> None:
    make_key(make_user("bob"), name="key-of-bob")
    make(ann, name="key-of-ann")
    page = ann.get(url("keys")).content.decode()
    assert "key-of-ann" in page
    assert "key-of-bob" not in page


def test_keys__are_shown_a_page_at_a_time_without_counting(ann: Client, django_assert_max_num_queries: Any) -> None:
    owner = get_user_model().objects.get(username="ann")
    rows = [
        VirtualKey(public_id=crypto.random_text(12), user=owner, name=f"key-{number}", digest="0" * 64)
        for number in range(1000)
    ]
    VirtualKey.objects.bulk_create(rows)
    with django_assert_max_num_queries(6) as captured:
        page = ann.get(url("keys"), {"page": 3}).content.decode()
    assert not [each for each in captured.captured_queries if "COUNT" in each["sql"]]
    assert page.count('class="card"') == 50
    assert 'rel="next"' in page
    assert 'rel="prev"' in page


@pytest.mark.parametrize("page", ["x", "-1", "0", "99999999999999"])
def test_keys__a_strange_page_is_the_first_or_empty(ann: Client, page: str) -> None:
    assert ann.get(url("keys"), {"page": page}).status_code == 200


def test_revoke__asks_and_ends_the_key(ann: Client) -> None:
    make(ann)
    key = VirtualKey.objects.get()
    assert "Revoke laptop?" in ann.get(url("revoke", key.public_id)).content.decode()
    key.refresh_from_db()
    assert key.is_active
    assert ann.post(url("revoke", key.public_id)).status_code == 302
    key.refresh_from_db()
    assert not key.is_active


def test_revoke__ones_own_needs_no_permission() -> None:
    bob = make_user("bob")
    key, _ = make_key(bob)
    assert log_in(bob).post(url("revoke", key.public_id)).status_code == 302


def test_revoke__the_key_of_somebody_else_does_not_exist(ann: Client) -> None:
    key, _ = make_key(make_user("bob"))
    assert ann.get(url("revoke", key.public_id)).status_code == 404
    assert ann.post(url("revoke", key.public_id)).status_code == 404
    key.refresh_from_db()
    assert key.is_active


def test_forms__need_the_csrf_token(ann: Client) -> None:
    make(ann)
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = ann.cookies
    public_id = VirtualKey.objects.get().public_id
    assert strict.post(url("new"), {"name": "x", "days": "7"}).status_code == 403
    assert strict.post(url("revoke", public_id)).status_code == 403


def test_key__opens_no_page(ann: Client) -> None:
    """A key is for the API. It is no session."""
    token = token_in(make(ann))
    assert Client().get(url("keys"), headers={"authorization": f"Bearer {token}"}).status_code == 302


def test_models__lists_what_is_open_to_the_user(ann: Client, team: Group) -> None:
    make_provider("echo")
    make_route("closed", "echo/echo-1", is_public=False)
    make_route("ours", "echo/echo-1", is_public=False, description="For the team").groups.add(team)
    page = ann.get(url("models")).content.decode()
    assert "ours" in page
    assert "For the team" in page
    assert "closed" not in page
    assert "echo/echo-1" in page


def test_models__a_name_with_markup_in_it_stays_text(ann: Client) -> None:
    make_provider("echo")
    make_route("<b>bold</b>", "echo/echo-1")
    registry.forget()
    assert "<b>bold</b>" not in ann.get(url("models")).content.decode()


def test_connect__has_the_sites_own_address_and_the_chosen_model(ann: Client) -> None:
    response = ann.get(url("connect"), {"model": "fast"}, headers={"host": "ai.example.org"}, secure=True)
    page = response.content.decode()
    assert "https://ai.example.org/v1/chat/completions" in page
    assert "ANTHROPIC_BASE_URL=https://ai.example.org\n" in page
    assert "base_url = &quot;https://ai.example.org/v1&quot;" in page
    assert "&quot;model&quot;: &quot;fast&quot;" in page
    assert "ANTHROPIC_MODEL=fast" in page


@pytest.mark.parametrize("model", ["'; rm -rf ~ #", '"', "$(id)", "a b", "<script>"])
def test_connect__a_model_that_a_shell_could_mistake_is_not_written(ann: Client, model: str) -> None:
    page = ann.get(url("connect"), {"model": model}).content.decode()
    assert "echo/echo-1" in page
    assert model not in page.replace('"', "'") or model == '"'


@override_settings(ROOT_URLCONF="tests.portal.prefixed")
def test_connect__below_a_prefix(ann: Client) -> None:
    page = ann.get(url("connect")).content.decode()
    assert "http://testserver/ai/v1/chat/completions" in page
    assert "ANTHROPIC_BASE_URL=http://testserver/ai\n" in page


def test_new__of_two_that_are_sent_at_once_the_second_makes_none(ann: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuing, "read_ticket", lambda _: "000000000000")
    assert token_in(make(ann))
    assert make(ann).status_code == 302
    assert VirtualKey.objects.count() == 1
