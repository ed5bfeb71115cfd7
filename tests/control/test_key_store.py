"""From a row to what a call needs of a key, and whether the key is valid."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.utils import timezone

from ai_gateway import crypto, keys, registry
from ai_gateway.calls import Caller
from ai_gateway.errors import InvalidCredential, KeysUnavailable
from ai_gateway.key_cache import KeyCache, KeyRecord
from ai_gateway.key_store import caller_of, read_keys, write_used
from ai_gateway.models import VirtualKey
from tests.control.rows import make_key, make_user
from tests.factories import make_arrival, run

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key")]


def read(key: VirtualKey) -> KeyRecord:
    return read_keys([key.public_id])[key.public_id]


def present(token: str, client: str | None = "192.0.2.7", **others: bytes) -> Caller:
    """Identify a caller that brings a key, with what the database says now."""
    cache = KeyCache(lambda ids: records, lambda: None)
    public_id = crypto.public_id_of(token.encode())
    records = read_keys([public_id or ""])
    headers = [
        (b"authorization", b"Bearer " + token.encode()),
        *((name.replace("_", "-").encode(), value) for name, value in others.items()),
    ]
    arrival = msgspec.structs.replace(make_arrival("/v1/chat/completions", *headers), client=client)
    try:
        return run(keys.identify(arrival, replace(registry.refresh(), key_cache=cache)))
    finally:
        cache.stop()


def refused(token: str, client: str | None = "192.0.2.7") -> str:
    with pytest.raises(InvalidCredential) as caught:
        present(token, client)
    assert caught.value.status == 401
    assert token not in caught.value.message
    return caught.value.message


def test_a_good_key_gives_all_that_policies_need() -> None:
    ann = make_user("ann", "team", "other")
    group = ann.groups.get(name="team")
    key, token = make_key(
        ann,
        group=group,
        tags=["ci"],
        metadata={"cost_centre": 7},
        allowed_models=["fast"],
        allowed_providers=["OpenAI"],
        allowed_endpoints=["chat/*"],
    )
    caller = present(token)
    assert (caller.key_name, caller.key_id, caller.user_id, caller.group_id) == ("laptop", key.pk, ann.pk, group.pk)
    assert (caller.tags, caller.metadata) == (("ci",), {"cost_centre": 7})
    assert caller.allowed_models == ("fast",)
    assert caller.allowed_providers == ("openai",)
    assert caller.allowed_endpoints == ("chat/*",)
    assert caller.groups == {group.pk}
    assert caller.is_authenticated


def test_a_key_without_a_group_has_the_rights_of_all_groups_of_its_owner() -> None:
    ann = make_user("ann", "team", "other")
    key, _ = make_key(ann)
    assert read(key).caller.groups == {group.pk for group in ann.groups.all()}


def test_a_revoked_key_is_refused() -> None:
    _, token = make_key(make_user())
    VirtualKey.objects.update(is_active=False)
    assert "revoked" in refused(token)


def test_a_key_of_a_deactivated_user_is_refused() -> None:
    ann = make_user()
    _, token = make_key(ann)
    get_user_model().objects.update(is_active=False)
    assert "owner" in refused(token)


def test_a_key_of_a_group_that_its_owner_left_is_refused() -> None:
    ann = make_user("ann", "team")
    _, token = make_key(ann, group=ann.groups.get())
    ann.groups.clear()
    assert "group" in refused(token)


def test_an_expired_key_is_refused() -> None:
    _, token = make_key(make_user(), expires_at=timezone.now() - timedelta(seconds=1))
    assert "expired" in refused(token)
    _, token = make_key(make_user("bob"), expires_at=timezone.now() + timedelta(hours=1))
    assert present(token).is_authenticated


@pytest.mark.parametrize(
    ("networks", "client", "is_good"),
    [
        (["192.0.2.0/24"], "192.0.2.7", True),
        (["192.0.2.0/24"], "198.51.100.1", False),
        (["192.0.2.0/24"], "::ffff:192.0.2.7", True),
        (["2001:db8::/32"], "2001:db8::1", True),
        (["2001:db8::/32"], "192.0.2.7", False),
        (["192.0.2.7"], "192.0.2.7", True),
        (["192.0.2.7"], None, False),
        (["192.0.2.7"], "a socket", False),
        ([], None, True),
    ],
)
def test_a_key_is_valid_from_its_networks(networks: list[str], client: str | None, is_good: bool) -> None:
    _, token = make_key(make_user(), allowed_networks=networks)
    if is_good:
        assert present(token, client).is_authenticated
    else:
        assert "address" in refused(token, client)


def test_the_right_public_id_with_another_secret_is_refused_like_an_unknown_key() -> None:
    key, _ = make_key(make_user())
    other = crypto.issue_key(key.public_id).token
    assert refused(other) == refused(crypto.issue_key().token)


def test_a_key_that_was_exchanged_does_not_work_any_more() -> None:
    key, token = make_key(make_user())
    fresh = key.issue()
    key.save()
    refused(token)
    assert present(fresh).key_id == key.pk


def test_without_its_encryption_key_a_key_is_neither_good_nor_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    """T62: 503, and never somebody anonymous."""
    _, token = make_key(make_user())
    for value in (crypto.generate_key(), ""):
        monkeypatch.setenv("AI_GATEWAY_ENCRYPTION_KEYS", value)
        with pytest.raises(KeysUnavailable):
            present(token)


def test_a_hash_key_that_was_moved_to_another_row_does_not_open() -> None:
    good, _ = make_key(make_user())
    bad, token = make_key(make_user("bob"))
    VirtualKey.objects.filter(pk=bad.pk).update(hash_key=good.hash_key, digest=good.digest)
    with pytest.raises(KeysUnavailable):
        present(token)


def test_one_row_that_is_wrong_is_no_harm_to_the_others() -> None:
    ann = make_user()
    good, _ = make_key(ann)
    bad, _ = make_key(ann, name="bad")
    VirtualKey.objects.filter(pk=bad.pk).update(allowed_networks=["nonsense"])
    found = read_keys([good.public_id, bad.public_id])
    assert found[good.public_id].is_verifiable
    assert not found[bad.public_id].is_verifiable


@pytest.mark.parametrize("how", ["superuser", "permission", "permission of a group", "none"])
def test_who_may_use_every_route(how: str) -> None:
    ann = make_user("ann", "team", is_superuser=how == "superuser")
    permission = Permission.objects.get(codename="use_route")
    if how == "permission":
        ann.user_permissions.add(permission)
    if how == "permission of a group":
        ann.groups.get().permissions.add(permission)
    key, _ = make_key(ann)
    assert read(key).caller.uses_every_route is (how != "none")
    assert caller_of(ann).uses_every_route is (how != "none")


def test_the_permission_of_a_group_does_not_count_for_a_key_of_another() -> None:
    ann = make_user("ann", "team", "other")
    ann.groups.get(name="other").permissions.add(Permission.objects.get(codename="use_route"))
    key, _ = make_key(ann, group=ann.groups.get(name="team"))
    assert not read(key).caller.uses_every_route


def test_five_hundred_keys_are_read_with_a_handful_of_queries(django_assert_max_num_queries: Any) -> None:
    made = [make_key(make_user(f"user-{number % 20}") if number < 20 else owner(number))[0] for number in range(60)]
    with django_assert_max_num_queries(4):
        assert len(read_keys([key.public_id for key in made])) == 60
    with django_assert_max_num_queries(1):
        assert read_keys([crypto.random_text(12) for _ in range(500)]) == {}


def owner(number: int) -> Any:
    return get_user_model().objects.get(username=f"user-{number % 20}")


def test_when_keys_were_used_is_written_with_one_statement(django_assert_num_queries: Any) -> None:
    ann = make_user()
    made = [make_key(ann)[0] for _ in range(20)]
    with django_assert_num_queries(1):
        write_used(key.pk for key in made[:10])
    assert VirtualKey.objects.filter(last_used_at=None).count() == 10


def test_two_credentials_that_disagree_are_refused() -> None:
    _, token = make_key(make_user())
    with pytest.raises(InvalidCredential, match="two different"):
        present(token, x_api_key=b"sk-own")
