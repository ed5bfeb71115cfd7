"""Where the counters of limits are kept: in this process, in the site's database, or in Redis."""

from __future__ import annotations

from functools import lru_cache

from django.utils.module_loading import import_string

from ai_gateway.conf import settings
from ai_gateway.limits.base import LimitStore, StoreUnavailable

BACKENDS = {
    "memory": "ai_gateway.limits.memory.MemoryStore",
    "database": "ai_gateway.limits.database.DatabaseStore",
    "redis": "ai_gateway.limits.redis.RedisStore",
}
"""Short names of the backends that come with the app."""


@lru_cache(maxsize=1)
def store() -> LimitStore:
    """Give the store of this process, made as the settings say when it is first asked for."""
    entry = settings.LIMIT_STORE
    backend = import_string(BACKENDS.get(entry.get("BACKEND", "memory"), entry.get("BACKEND", "")))
    made: LimitStore = backend(**entry.get("OPTIONS", {}))
    return made


def forget(*, setting: str = "AI_GATEWAY", **_: object) -> None:
    """Drop the store, so that it is made anew. Receives Django's `setting_changed`."""
    if setting == "AI_GATEWAY":
        store.cache_clear()


__all__ = ["LimitStore", "StoreUnavailable", "forget", "store"]
