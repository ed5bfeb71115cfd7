"""What the database holds: what people configure, and what was used.

People configure providers and their credentials, routes, prices, limits, and who holds a key.

Users and groups are Django's own: a group is a team. Nothing here is read on the path of a request. `stored.py` turns
that into the registry's snapshot, `key_store.py` looks keys up, and `changes.py` counts every change in
the one `ConfigurationVersion`, which all processes of all hosts watch.
"""

from __future__ import annotations

from ai_gateway.models.alerts import Alert
from ai_gateway.models.breaker_events import BreakerEvent
from ai_gateway.models.keys import VirtualKey
from ai_gateway.models.limits import Limit, LimitCounter, Reservation
from ai_gateway.models.playground import Playground
from ai_gateway.models.prices import Price
from ai_gateway.models.providers import Provider, ProviderCredential
from ai_gateway.models.recordings import RecordedCall
from ai_gateway.models.routes import Route, RouteTarget, known_aliases
from ai_gateway.models.usage import Dashboard, Live, UsageDaily, UsageLabelDaily, UsageRecord
from ai_gateway.models.version import ConfigurationVersion

__all__ = [
    "Alert",
    "BreakerEvent",
    "ConfigurationVersion",
    "Dashboard",
    "Limit",
    "LimitCounter",
    "Live",
    "Playground",
    "Price",
    "Provider",
    "ProviderCredential",
    "RecordedCall",
    "Reservation",
    "Route",
    "RouteTarget",
    "UsageDaily",
    "UsageLabelDaily",
    "UsageRecord",
    "VirtualKey",
    "known_aliases",
]
