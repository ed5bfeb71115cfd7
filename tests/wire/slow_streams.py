"""A cache in which every stream is kept as if each of its pieces had been waited for."""

from __future__ import annotations

from typing import Any

import msgspec
from django.core.cache.backends.locmem import LocMemCache

from ai_gateway.kept_answers import LONGEST_PAUSE, pack, unpack


class SlowStreams(LocMemCache):
    """See the module."""

    def set(self, key: Any, value: Any, *rest: Any, **others: Any) -> None:
        """Keep a value, an answer with the longest pauses."""
        kept = unpack(value) if isinstance(value, bytes) else None
        if kept is not None:
            value = pack(msgspec.structs.replace(kept, pauses=[LONGEST_PAUSE] * (len(kept.chunks) - 1)))
        super().set(key, value, *rest, **others)
