"""Which changes are counted, so that every process looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.db import ProgrammingError

from ai_gateway import refresher
from ai_gateway.models import ConfigurationVersion, Provider, ProviderCredential, Route, RouteTarget, VirtualKey
from tests.control.rows import make_credential, make_key, make_provider, make_route, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key")]


@pytest.fixture
def world(db: None, encryption_key: str) -> None:
    """One of everything."""
    ann = make_user("ann", "team")
    make_user("bob", "team")
    make_credential(make_provider())
    make_route("fast", "openai/gpt-5-mini")
    make_key(ann)


def version() -> tuple[int, int]:
    row = ConfigurationVersion.objects.get()
    return row.configuration, row.keys


def user(name: str) -> Any:
    return get_user_model().objects.get_by_natural_key(name)


def save(instance: Any, **fields: Any) -> None:
    for name, value in fields.items():
        setattr(instance, name, value)
    instance.save()


CONFIGURATION: dict[str, Callable[[], Any]] = {
    "provider saved": lambda: Provider.objects.get().save(),
    "provider deleted": lambda: Provider.objects.get().delete(),
    "providers deleted in bulk": lambda: Provider.objects.all().delete(),
    "credential saved": lambda: ProviderCredential.objects.get().save(),
    "credential deleted": lambda: ProviderCredential.objects.get().delete(),
    "route saved": lambda: Route.objects.get().save(),
    "route deleted": lambda: Route.objects.get().delete(),
    "target added": lambda: RouteTarget.objects.create(route=Route.objects.get(), provider="groq", model="m"),
    "target deleted": lambda: RouteTarget.objects.get().delete(),
    "user of route added": lambda: Route.objects.get().users.add(user("bob")),
    "groups of route set": lambda: Route.objects.get().groups.set(Group.objects.all()),
}
KEYS: dict[str, Callable[[], Any]] = {
    "key made": lambda: make_key(user("bob")),
    "key revoked": lambda: save(VirtualKey.objects.get(), is_active=False),
    "key revoked, that field only": lambda: VirtualKey.objects.get().save(update_fields=["is_active"]),
    "key deleted": lambda: VirtualKey.objects.get().delete(),
    "owner deactivated": lambda: save(user("ann"), is_active=False),
    "owner deleted": lambda: user("ann").delete(),
    "owner joins a group": lambda: user("ann").groups.add(Group.objects.create(name="other")),
    "owner leaves a group": lambda: user("ann").groups.clear(),
    "group loses a member": lambda: Group.objects.get().user_set.remove(user("ann")),
    "owner may use every route": lambda: user("ann").user_permissions.add(Permission.objects.get(codename="use_route")),
    "group may use every route": lambda: Group.objects.get().permissions.add(
        Permission.objects.get(codename="use_route")
    ),
    "group deleted": lambda: Group.objects.get().delete(),
}
NEITHER: dict[str, Callable[[], Any]] = {
    "somebody without a key saved": lambda: save(user("bob"), is_active=False),
    "owner logged in": lambda: user("ann").save(update_fields=["last_login"]),
    "user made": lambda: make_user("eve"),
    "key used": lambda: VirtualKey.objects.get().save(update_fields=["last_used_at"]),
}


@pytest.mark.parametrize("what", CONFIGURATION)
@pytest.mark.usefixtures("world")
def test_a_change_of_the_configuration_is_counted(what: str) -> None:
    before = version()
    CONFIGURATION[what]()
    assert version()[0] > before[0]


@pytest.mark.parametrize("what", KEYS)
@pytest.mark.usefixtures("world")
def test_a_change_of_what_a_key_is_worth_is_counted(what: str) -> None:
    before = version()
    KEYS[what]()
    assert version()[1] > before[1]


@pytest.mark.parametrize("what", sorted(KEYS.keys() - {"group deleted"}))
@pytest.mark.usefixtures("world")
def test_a_change_of_a_key_does_not_have_the_configuration_read_again(what: str) -> None:
    before = version()
    KEYS[what]()
    assert version()[0] == before[0]


@pytest.mark.parametrize("what", NEITHER)
@pytest.mark.usefixtures("world")
def test_what_changes_nothing_is_not_counted(what: str) -> None:
    before = version()
    NEITHER[what]()
    assert version() == before


@pytest.mark.usefixtures("world")
def test_this_process_looks_once_the_change_is_committed(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    looks: list[int] = []

    class Looking:
        def look(self) -> None:
            looks.append(1)

    monkeypatch.setattr(refresher, "refresher", Looking())
    with django_capture_on_commit_callbacks(execute=True):
        Provider.objects.get().save()
        assert not looks
    assert looks


@pytest.mark.usefixtures("world")
def test_people_can_be_changed_before_the_gateway_has_tables(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(*counters: str) -> None:
        raise ProgrammingError("no such table")

    monkeypatch.setattr(ConfigurationVersion, "bump", missing)
    save(user("ann"), is_active=False)
    user("ann").groups.clear()
    assert not user("ann").is_active
    assert "could not be counted" in caplog.text
