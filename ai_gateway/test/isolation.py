"""The gateway as it is when a process begins, as long as a block lasts.

What it remembers from call to call (breakers, cooldowns, budgets, the calls under way, snapshots of the configuration)
begins anew, and is forgotten behind the block. Nothing runs beside it: no thread looks for changes, and no finished
call is written down until somebody puts a ledger there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ai_gateway import (
    balances,
    breakers,
    cooldowns,
    declared,
    health,
    ledger,
    live,
    notices,
    overload,
    refresher,
    registry,
    traffic,
)
from ai_gateway.announcements import Listeners
from ai_gateway.bulkheads import Bulkhead

EXCHANGED: Sequence[tuple[Any, str]] = (
    (refresher, "refresher"),
    (ledger, "ledger"),
    (registry, "SOURCES"),
    (registry, "key_cache"),
    (registry, "_last"),
    (registry, "_problems"),
    (registry, "_reported"),
    (breakers, "listeners"),
    (cooldowns, "listeners"),
    (health, "_outcomes"),
    (health, "_is_draining"),
    (health, "_has_stopped"),
    (overload, "calls"),
)
"""What is another inside the block, and put back behind it."""

REMEMBERING = (balances, breakers, cooldowns, live, notices, traffic, registry)
"""What forgets when it is told to."""


@contextmanager
def isolated(*, database: bool) -> Iterator[None]:
    """Isolate a block. `database` says whether it has one; if not, the configuration is that of the settings."""
    before = [(module, name, getattr(module, name)) for module, name in EXCHANGED]
    places = dict(overload.at_providers)  # Of which others hold the mapping itself.
    overload.at_providers.clear()
    refresher.refresher = ledger.ledger = None
    breakers.listeners, cooldowns.listeners = Listeners(), Listeners()
    registry._last, registry._problems, registry._reported = {}, {}, {}
    health._outcomes, health._is_draining, health._has_stopped = {}, False, False
    overload.calls = Bulkhead()
    if not database:
        registry.SOURCES, registry.key_cache = [declared.from_settings], None
    _forget()
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
        overload.at_providers.clear()
        overload.at_providers.update(places)
        _forget()


def _forget() -> None:
    for module in REMEMBERING:
        module.forget()
