"""The calls under way in all processes of a site, and the end of one of them, wherever it is served."""

from __future__ import annotations

from typing import NamedTuple

from ai_gateway import live
from ai_gateway.live import LiveCall


class Roster(NamedTuple):
    """The calls under way, the oldest first, and of how many processes; `is_whole` says that no other one is there for
    all that is known."""

    calls: list[LiveCall]
    processes: int
    is_whole: bool


async def read() -> Roster:
    """Ask all processes for their calls."""
    return Roster(sorted(live.listed(), key=lambda call: -call.age), 1, False)


async def cancel(id: str, by: str, user_id: str | None = None) -> bool:
    """End a call; with `user_id` only if it is this user's. Tells whether it was found under way."""
    return live.cancel(id, by, user_id)
