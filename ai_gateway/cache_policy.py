"""Which answers are kept, for whom, and for how long? None, unless the operator says so in `RESPONSE_CACHE`.

With the setting there, those of the keys and routes that it names are: by default all keys. Keys and routes have a
switch each, in the database, and routes in the settings too: "on" and "off" win over the names, and "off" over "on".

A caller may ask for less to be kept, never for more, by the header `x-gateway-cache`:

    no-cache      ask the provider, whatever is kept; the new answer is kept in its place
    no-store      do not keep the answer
    max-age=60    take what is kept only if it is no older than so many seconds
    ttl=60        keep the answer for so many seconds at most
    replay=paced  give a kept stream again at the pace at which it came, or with `at-once` without its pauses
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ai_gateway.calls import Caller
from ai_gateway.patterns import fits

HEADER = b"x-gateway-cache"

SCOPES = ("key", "user", "everyone")

SWITCH = ("", "on", "off")
"""What the switch of a key or a route may be; "": as the setting says."""

AT_ONCE, PACED = REPLAYS = ("at-once", "paced")
"""How a kept stream is given again: without the pauses between its pieces, or with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """What `RESPONSE_CACHE` says."""

    alias: str = "default"
    """Which of the site's `CACHES` the answers are kept in."""
    ttl: int = 3600
    """For how many seconds."""
    scope: str = "key"
    """Who gets an answer again: whoever calls with the same key, the same user, or everyone who may ask the same."""
    keys: tuple[str, ...] = ("*",)
    """Names of keys whose calls are answered from the cache, with `*` for anything."""
    routes: tuple[str, ...] = ()
    """Names of routes whose calls are, with `*` for anything."""
    max_bytes: int = 1024 * 1024
    """How long a request, and an answer, may be to be kept."""
    tools: bool = False
    """Whether answers are kept that call tools: whoever gets one again does the same again."""
    only_deterministic: bool = False
    """Whether only calls are answered from the cache that ask for the temperature 0."""
    encrypt: bool = False
    """Whether what is kept is encrypted, with the keys that encrypt what the database holds."""
    wait: float = 30.0
    """For how many seconds a call waits for the answer to an equal one that is under way. 0: it does not."""
    timeout: float = 0.25
    """For how many seconds a call waits for the cache, before it goes on without."""
    memory: int = 16 * 1024 * 1024
    """How many bytes of answers each process holds for a moment, so as not to ask the cache again. 0: none."""
    replay: str = AT_ONCE
    """How kept streams are given again, where neither a route nor a caller says."""
    replay_seconds: float = 30.0
    """How long a stream that is given again at its pace may take: it is sped up if it took longer. 0: none is paced."""
    secret: bytes = field(default=b"", repr=False)
    """What the names of answers are made with, so that nobody can tell from a name what was asked."""

    @classmethod
    def read(cls, value: Mapping[str, Any], secret: bytes = b"") -> CachePolicy:
        """Read the setting."""
        values: dict[str, Any] = {
            name: tuple(each) if isinstance(each, list | tuple) else each for name, each in value.items()
        }
        return cls(secret=secret, **values)

    def covers(self, caller: Caller, route: str, switch: str = "") -> bool:
        """Whether the calls of a caller by a route with such a switch are answered from the cache. Those of a caller
        without a gateway key are not: nobody but the provider knows what its credential is good for."""
        switches = (caller.caching, switch)
        if not caller.is_authenticated or "off" in switches:
            return False
        if "on" in switches or fits(caller.key_name or "", self.keys):
            return True
        return bool(route) and fits(route, self.routes)


class Wishes(NamedTuple):
    """What a caller asks for."""

    reads: bool = True
    """Whether it takes what is kept."""
    keeps: bool = True
    """Whether its answer may be kept."""
    max_age: float | None = None
    ttl: int | None = None
    replay: str = ""
    """How it wants a kept stream: one of REPLAYS, or "" for what the operator says."""


ANYTHING = Wishes()


def wishes_of(fields: Mapping[bytes, bytes]) -> Wishes:
    """Read the header. What it does not know it passes over, as caches do (RFC 9111, 5.2)."""
    value = fields.get(HEADER)
    if value is None:
        return ANYTHING
    given = dict(_directive(part) for part in value.decode("latin-1").lower().split(","))
    replay = given.get("replay", "")
    return Wishes(
        reads="no-cache" not in given,
        keeps="no-store" not in given,
        max_age=_seconds(given.get("max-age")),
        ttl=_seconds(given.get("ttl")),
        replay=replay if replay in REPLAYS else "",
    )


def _directive(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return name.strip(), value.strip().strip('"')


def _seconds(value: str | None) -> int | None:
    return int(value) if value is not None and value.isdecimal() and len(value) < 10 else None


def owner_of(caller: Caller, scope: str) -> str:
    """Name who gets an answer again. A key of the settings is nobody's but its own."""
    if scope == "everyone":
        return scope
    if scope == "user" and caller.user_id is not None:
        return f"user:{caller.user_id}"
    return of_key(caller.key_id, caller.key_name or "")


def of_key(key_id: Any, key_name: str) -> str:
    """Name a key as an owner of answers: one of the database by its primary key, one of the settings by its name."""
    return f"key:{key_id}" if key_id is not None else f"settings:{key_name}"
