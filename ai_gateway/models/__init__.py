"""The configuration that people keep in the database: providers and their credentials, routes, and who holds a key.

Users and groups are Django's own: a group is a team. Nothing here is read on the path of a request. `stored.py` turns
providers and routes into the registry's snapshot, `key_store.py` looks keys up, and `changes.py` counts every change in
the one `ConfigurationVersion`, which all processes of all hosts watch.
"""

from __future__ import annotations

from ai_gateway.models.keys import VirtualKey
from ai_gateway.models.providers import Provider, ProviderCredential
from ai_gateway.models.routes import Route, RouteTarget, known_aliases
from ai_gateway.models.version import ConfigurationVersion

__all__ = [
    "ConfigurationVersion",
    "Provider",
    "ProviderCredential",
    "Route",
    "RouteTarget",
    "VirtualKey",
    "known_aliases",
]
