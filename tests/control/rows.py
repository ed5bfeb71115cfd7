"""Rows that the tests of the control plane begin with."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from ai_gateway.models import Provider, ProviderCredential, Route, RouteTarget, VirtualKey

SECRET = "sk-canary-0123456789abcdef"


def make_provider(alias: str = "openai", **fields: Any) -> Provider:
    return Provider.objects.create(alias=alias, **{"backend": alias, **fields})


def make_credential(provider: Provider, name: str = "main", **fields: Any) -> ProviderCredential:
    given = fields if "reference" in fields else {"secret": SECRET, **fields}
    return ProviderCredential.objects.create(provider=provider, name=name, **given)


def make_route(name: str, *targets: str, **fields: Any) -> Route:
    route = Route.objects.create(name=name, **fields)
    for position, target in enumerate(targets):
        provider, _, model = target.partition("/")
        RouteTarget.objects.create(route=route, position=position, provider=provider, model=model)
    return route


def make_user(name: str = "ann", *groups: str, **fields: Any) -> Any:
    user = get_user_model().objects.create_user(name, **fields)
    user.groups.set([Group.objects.get_or_create(name=group)[0] for group in groups])
    return user


def make_key(user: Any, **fields: Any) -> tuple[VirtualKey, str]:
    key = VirtualKey(user=user, **{"name": "laptop", **fields})
    token = key.issue()
    key.save()
    return key, token
