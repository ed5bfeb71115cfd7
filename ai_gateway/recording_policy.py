"""Which calls have their bodies written down? None, unless the operator says so in `BODY_LOGGING`.

With the setting there, even empty, those of the keys and routes that are switched on in the database are, and those
that the setting names. Of all these the percentage is drawn by the id of the call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ai_gateway.patterns import fits

DRAWS = 1 << 32
"""The last digits of an id are a number below this, drawn at random."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPolicy:
    """What `BODY_LOGGING` says."""

    keys: tuple[str, ...] = ()
    """Names of keys whose calls are recorded, with `*` for anything."""
    routes: tuple[str, ...] = ()
    """Names of routes whose calls are recorded, with `*` for anything."""
    percent: float = 100.0
    """How many of these calls are."""
    max_bytes: int = 256 * 1024
    """Bytes of a body that are kept; a longer one is cut."""
    headers: bool = False
    """Whether the headers are kept, too; never those that hold a credential."""
    retention_days: int | None = 30
    """After how many days `gateway_prune_usage` deletes a recording. None: never."""
    redact: str = ""
    """The dotted path of a function that takes out what must not be kept."""

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> RecordingPolicy:
        """Read the setting."""
        values: dict[str, Any] = {
            name: tuple(each) if isinstance(each, list | tuple) else each for name, each in value.items()
        }
        return cls(**values)

    def names(self, key: str | None, route: str) -> bool:
        """Whether the setting itself names a key or a route."""
        return (key is not None and fits(key, self.keys)) or (bool(route) and fits(route, self.routes))

    def draws(self, id: str) -> bool:
        """Whether a call with this id, in hexadecimal digits, is one of the percentage."""
        return int(id[-8:], 16) < self.percent / 100 * DRAWS
