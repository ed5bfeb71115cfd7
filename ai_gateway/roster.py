"""The calls under way in all processes of a site, and the end of one of them, wherever it is served.

Processes ask each other (`peers`); without Redis a process knows its own calls only, and says so.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from ai_gateway import live, peers
from ai_gateway.live import LiveCall

LIST, END = "calls under way", "end a call"
"""The kinds of questions."""

MOST = 1000
"""Calls that a process tells of, the oldest; and how many it has."""

WITHIN = 1.0
"""Seconds that the other processes have to answer."""


class Roster(NamedTuple):
    """The calls under way, the oldest first; how many there are in all, and in how many processes.

    `is_whole` says that the other processes were asked, and `failure` why they could not be, if they are to be.
    """

    calls: list[LiveCall]
    total: int
    processes: int
    is_whole: bool
    failure: str = ""


async def read() -> Roster:
    """Ask all processes for their calls."""
    answers = await peers.ask(LIST, {}, WITHIN)
    calls = [call for answer in answers for call in msgspec.convert(answer["calls"], list[LiveCall])]
    member = peers.start()
    return Roster(
        calls=sorted(calls, key=lambda call: -call.age),
        total=sum(answer["count"] for answer in answers),
        processes=len(answers),
        is_whole=member.is_connected,
        failure=member.failure,
    )


async def cancel(id: str, by: str, user_id: str | None = None) -> bool:
    """End a call; with `user_id` only if it is this user's. Tells whether it was found under way."""
    answers = await peers.ask(END, {"id": id, "by": by, "user_id": user_id}, WITHIN)
    return any(answer["is_found"] for answer in answers)


def connect() -> None:
    """Answer what other processes ask."""
    peers.on(LIST, _tell)
    peers.on(END, _end)


def _tell(_: dict[str, Any]) -> dict[str, Any]:
    return {"calls": [msgspec.to_builtins(call) for call in live.listed(MOST)], "count": live.count()}


def _end(message: dict[str, Any]) -> dict[str, Any]:
    return {"is_found": live.cancel(message["id"], message["by"], message["user_id"])}
