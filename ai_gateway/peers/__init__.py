"""What the processes of one gateway tell each other, over Redis: what one learns the others need not find out.

    peers.on("opened", take_over)                       # what is done when another process tells it
    peers.tell("opened", {"target": "openai/gpt-5"})    # tell the others; never waits
    await peers.ask("calls", {})                        # what all processes answer, ours first

Handlers run in a thread of their own (`member.py`), for questions of our own in the asker's: they must be quick, safe
in any thread, and give back a dict for who asked, or None. Each answer says under "process" whose it is.

Where no Redis is configured (`PEERS`), or while it does not answer, a process is alone: to tell does nothing, and a
question has its own answer only. Nothing secret may be told. The thread is started with the gateway, or by whoever asks
first.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from django.utils.module_loading import import_string

from ai_gateway.conf import settings
from ai_gateway.peers.member import Handler, Member, Wire

_handlers: dict[str, Handler] = {}
_joining: list[Callable[[], None]] = []


def on(kind: str, handler: Handler) -> None:
    """Have what is told or asked of this kind handled. One handler each."""
    _handlers[kind] = handler


def on_join(do: Callable[[], None]) -> None:
    """Have something done, in the thread, whenever this process has found its peers: it may have missed much."""
    if do not in _joining:
        _joining.append(do)


def tell(kind: str, message: dict[str, Any]) -> None:
    """Tell all other processes something, if there are any. Returns at once, and nobody learns whether it was heard."""
    member = running()
    if member is not None:
        member.tell(kind, message)


async def ask(kind: str, message: dict[str, Any], within: float = 0.5) -> list[dict[str, Any]]:
    """Ask all processes, and give what they answer within some seconds; ours first. It is sooner done if all that are
    known have answered."""
    return await start().ask(kind, message, within)


def start() -> Member:
    """Begin to talk with the others, if there is what to do that by."""
    member = _member()
    if settings.PEERS.get("URL"):
        member.start()
    return member


def running() -> Member | None:
    """Give this process's part in it, if it has begun."""
    return _member() if _member.cache_info().currsize else None


def stop() -> None:
    """End the thread."""
    member = running()
    _member.cache_clear()
    if member is not None:
        member.stop()


def forget(*, setting: str = "AI_GATEWAY", **_: object) -> None:
    """End it, so that it is begun anew. Receives Django's `setting_changed`."""
    if setting == "AI_GATEWAY":
        stop()


@lru_cache(maxsize=1)
def _member() -> Member:
    return Member(new_wire, _handlers, _join)


def new_wire(me: str) -> Wire:
    """Make what messages go over, as the settings say. Raises ImportError without the package redis."""
    entry = settings.PEERS
    made: Wire = import_string("ai_gateway.peers.redis.RedisWire")(entry["URL"], me, **entry.get("OPTIONS", {}))
    return made


def _join() -> None:
    for do in _joining:
        do()


# A forked process has none of its parent's threads, and is somebody else.
os.register_at_fork(after_in_child=_member.cache_clear)
