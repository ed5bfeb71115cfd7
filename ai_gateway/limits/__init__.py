"""Where the counters of limits are kept: in this process, in the site's database, or in Redis.

memory, database, redis   the stores, interchangeable: each a folder whose `store` keeps to `base.LimitStore`
base, fallback            what a store must do, and what is done while one does not answer
gcra, sowing              what they share: the arithmetic of rates, what was spent before
patience, workers         and time limits for many at once, threads of their own
"""

from __future__ import annotations

from functools import lru_cache

from django.utils.module_loading import import_string

from ai_gateway.conf import settings
from ai_gateway.limits.base import LimitStore, StoreUnavailable
from ai_gateway.limits.fallback import POLICIES, TIMEOUT, Fallback
from ai_gateway.limits.memory import MemoryStore
from ai_gateway.limits.sowing import SeedSince

BACKENDS = {
    "memory": "ai_gateway.limits.memory.MemoryStore",
    "database": "ai_gateway.limits.database.DatabaseStore",
    "redis": "ai_gateway.limits.redis.RedisStore",
}
"""Short names of the backends that come with the app."""

seed: SeedSince | None = None
"""What tells how much was spent before this process began to count; the app's `ready()` puts it here."""


@lru_cache(maxsize=1)
def store() -> LimitStore:
    """Give the store of this process, made as the settings say when it is first asked for.

    One that is elsewhere has a policy for the time when it does not answer. One of this process needs none.
    """
    entry = settings.LIMIT_STORE
    name = entry.get("BACKEND", "memory")
    backend = import_string(BACKENDS.get(name, name))
    options = entry.get("OPTIONS", {})
    if backend is MemoryStore:
        return new_memory_store(**options)
    if backend.is_seeded:
        options = {"seed": seed, **options}
    made: LimitStore = backend(**options)
    return Fallback(made, entry.get("ON_FAILURE", "closed"), entry.get("TIMEOUT", TIMEOUT), new_memory_store)


def new_memory_store() -> MemoryStore:
    """Make a store in this process that knows what was spent before."""
    return MemoryStore(seed)


def forget(*, setting: str = "AI_GATEWAY", **_: object) -> None:
    """Drop the store, so that it is made anew. Receives Django's `setting_changed`."""
    if setting == "AI_GATEWAY":
        store.cache_clear()


__all__ = ["BACKENDS", "POLICIES", "LimitStore", "StoreUnavailable", "forget", "seed", "store"]
