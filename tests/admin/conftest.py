"""People with different rights, logged in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from tests.control.rows import make_user

Login = Callable[..., Client]


@pytest.fixture
def login(db: None) -> Login:
    """Give a client that is logged in as a new member of staff with these permissions, all of the gateway's."""

    def make(*permissions: str, name: str = "staff", **fields: Any) -> Client:
        user = make_user(name, **{"is_staff": True, **fields})
        found = Permission.objects.filter(content_type__app_label="ai_gateway", codename__in=permissions)
        assert len(found) == len(permissions)
        user.user_permissions.set(found)
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def boss(login: Login) -> Client:
    """A superuser."""
    return login(name="boss", is_superuser=True)
