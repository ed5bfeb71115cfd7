"""What one process learns of a target's health, the others know: breakers, rests, and resting credentials.

What happens in this process is told to its peers (`peers`), and what they tell is taken over, as durations: the clocks
of hosts differ. It is not told again, so nothing goes round in circles. A process that joins, or finds its peers again,
asks how things stand, and tells how they stand here: those that were back sooner did not hear it. Models, providers and
credentials are told by name, never what is secret.

When an open breaker's time is over, one call finds out: of all processes, not of each. So shortly before, a process
seeks the lease on that target. Who gets it lets its breaker go on to half open; the others leave theirs open for the
time of the lease, and seek it again then. A probe under way renews the lease; a process that had no call for the target
meanwhile gives it up. None of that is on the path of a call: it only moves the time until which a breaker is open. A
process that has no peers, or cannot reach them, decides for itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from math import isfinite
from typing import Any

from ai_gateway import breakers, cooldowns, overload, peers
from ai_gateway.breakers import CLOSED, OPENED, RESTING, Event, Standing
from ai_gateway.calls import Target
from ai_gateway.conf import settings
from ai_gateway.limits.base import StoreUnavailable
from ai_gateway.peers.member import Member

logger = logging.getLogger("ai_gateway")

LEASE = 4.0
"""Seconds for which one process may find out."""

LEAD = 0.5
"""Seconds before a breaker's time is over, or a lease is, at which the lease is sought."""

LONGEST_NAME = 500
MOST_FAILURES = 1_000_000

TARGET, CREDENTIAL, HEALTH, STANDINGS, CLOSE = "target", "credential", "health", "standings", "close"
"""Kinds of messages."""


def connect() -> None:
    """Begin to listen, to this process and to its peers."""
    breakers.listeners.append(tell_of_target)
    cooldowns.listeners.append(tell_of_credential)
    peers.on(TARGET, hear_of_target)
    peers.on(CREDENTIAL, hear_of_credential)
    peers.on(HEALTH, health)
    peers.on(STANDINGS, take_over)
    peers.on(CLOSE, hear_to_close)
    peers.on_join(exchange_soon)


def tell_of_target(event: Event) -> None:
    """Tell the peers what happened to a target."""
    member = peers.running()
    if member is None:
        return
    if event.what == CLOSED:
        member.tell(TARGET, {**_named(event.target), "state": CLOSED})
    elif event.what in (OPENED, RESTING):
        found = breakers.standing(event.target)
        if found is not None:
            member.tell(TARGET, written(found))
        if event.what == OPENED:
            Turns.of(member).watch(event.target)


def tell_of_credential(provider: str, credential: str, seconds: float) -> None:
    """Tell the peers that a credential rests."""
    peers.tell(CREDENTIAL, {"provider": provider, "credential": credential, "seconds": seconds})


def hear_of_target(body: dict[str, Any]) -> None:
    """Take over what a peer says of a target."""
    if body.get("state") == CLOSED:
        breakers.adopt_closed(_target(body))
        return
    told = read(body)
    breakers.adopt(told, settings.BREAKERS)
    member = peers.running()
    if member is not None and told.opened:
        Turns.of(member).watch(told.target)


def hear_of_credential(body: dict[str, Any]) -> None:
    """Take over that a credential rests."""
    cooldowns.adopt(_name(body, "provider"), _name(body, "credential"), _seconds(body, "seconds"))


def health(body: dict[str, Any]) -> dict[str, Any]:
    """Answer how things stand here."""
    return {**standings(), "calls": {"under_way": overload.calls.taken, "waiting": overload.calls.waiting}}


def standings() -> dict[str, Any]:
    """Write how things stand here. Who reads it may be new, and takes turns with us from now on."""
    found, member = breakers.standings(), peers.running()
    for each in found:
        if each.opened and member is not None:
            Turns.of(member).watch(each.target)
    return {
        "targets": [written(each) for each in found],
        "credentials": [
            {"provider": provider, "credential": name, "seconds": seconds}
            for provider, name, seconds in cooldowns.all_resting()
        ],
    }


def hear_to_close(body: dict[str, Any]) -> dict[str, Any]:
    """Close a breaker, as somebody said in another process."""
    breakers.clear(_target(body))
    return {}


async def close(target: Target, reason: str) -> int:
    """Close a breaker in all processes; give how many did."""
    breakers.close(target, reason)
    return len(await peers.ask(CLOSE, _named(target)))


def exchange_soon() -> None:
    """Exchange with the peers how things stand."""
    task = asyncio.get_running_loop().create_task(exchange())
    _exchanging.add(task)
    task.add_done_callback(_exchanging.discard)


_exchanging: set[asyncio.Task[None]] = set()


async def exchange() -> None:
    """Take over what all peers say, and tell them what is known here."""
    member = peers.start()
    for answer in (await member.ask(HEALTH, {}, within=1.0))[1:]:
        take_over(answer)
    here = standings()
    if any(here.values()):
        member.tell(STANDINGS, here)


def take_over(told: dict[str, Any]) -> None:
    """Take over how things stand at a peer, but for what cannot be understood."""
    member = peers.start()
    for kind, each_told in ((TARGET, told.get("targets")), (CREDENTIAL, told.get("credentials"))):
        for each in each_told or ():
            member.handle(kind, each)


class Turns:
    """Which process finds out about a target? In the thread of the peers, but for `watch`."""

    _current: Turns | None = None

    def __init__(self, member: Member) -> None:
        self.member = member
        self._watched: set[Target] = set()
        self._seeking: set[asyncio.Task[None]] = set()

    @classmethod
    def of(cls, member: Member) -> Turns:
        """Give those of a process."""
        if cls._current is None or cls._current.member is not member:
            cls._current = cls(member)
        return cls._current

    def watch(self, target: Target) -> None:
        """See to it that a target that is asked last is asked by one process first when its time is over."""
        if target not in self._watched and self.member.peers:
            self._watched.add(target)
            self._look_later(target)

    def _look_later(self, target: Target) -> None:
        found = breakers.standing(target)
        if found is None or not self.member.is_connected:
            self._watched.discard(target)
        else:
            self.member.call_later(max(0.0, found.seconds_left - LEAD), lambda: self._look(target))

    def _look(self, target: Target) -> None:
        found = breakers.standing(target)
        if found is not None and found.seconds_left > LEAD * 1.5:
            self._look_later(target)  # It was opened anew.
        else:
            self._do(self._seek(target))

    async def _seek(self, target: Target) -> None:
        try:
            is_ours = await self.member.lease(f"{target.provider}/{target.model}", LEASE)
        except Exception as error:
            self._watched.discard(target)  # Or nobody would ever look at it again.
            if not isinstance(error, StoreUnavailable):
                logger.exception("Whose turn it is to ask %s/%s cannot be found out", target.provider, target.model)
            return
        if is_ours:
            self.member.call_later(LEASE - LEAD, lambda: self._end_of_turn(target))
        else:
            breakers.postpone(target, LEASE)
            self._look_later(target)

    def _end_of_turn(self, target: Target) -> None:
        found = breakers.standing(target)
        if found is not None and found.state == "half-open":
            # No call came by. The others' turn is first, for the lease lasts a little longer.
            breakers.postpone(target, LEASE)
        if breakers.is_probed(target):
            self._do(self._seek(target))
        else:
            self._look_later(target)

    def _do(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._seeking.add(task)
        task.add_done_callback(self._seeking.discard)


# Messages.


def written(found: Standing) -> dict[str, Any]:
    """Write how a target stands."""
    member = peers.running()
    return {
        **_named(found.target),
        "state": found.state,
        "failures": found.failures,
        "opened": found.opened,
        "seconds_left": found.seconds_left,
        "rests": found.rests,
        "reason": found.reason,
        "heard_from": found.heard_from or (member.name if member is not None else ""),
    }


def read(body: dict[str, Any]) -> Standing:
    """Read how a target stands elsewhere. One that another process finds out about is open for this one meanwhile.
    Raises KeyError or ValueError for what is none."""
    opened, left = _count(body, "opened"), _seconds(body, "seconds_left")
    return Standing(
        _target(body),
        _name(body, "state"),
        _count(body, "failures"),
        opened,
        LEASE if opened and not left else left,
        _seconds(body, "rests"),
        _name(body, "reason"),
        _name(body, "heard_from"),
    )


def _named(target: Target) -> dict[str, Any]:
    return {"provider": target.provider, "model": target.model}


def _target(body: dict[str, Any]) -> Target:
    return Target(_name(body, "provider"), None if body["model"] is None else _name(body, "model"))


def _name(body: dict[str, Any], key: str) -> str:
    found: str = _checked(body[key], str, lambda value: len(value) <= LONGEST_NAME)
    return found


def _count(body: dict[str, Any], key: str) -> int:
    found: int = _checked(body[key], int, lambda value: 0 <= value <= MOST_FAILURES)
    return found


def _seconds(body: dict[str, Any], key: str) -> float:
    found: float = _checked(body[key], int | float, lambda value: isfinite(value) and value >= 0)
    return found


def _checked(value: Any, kind: Any, is_right: Callable[[Any], bool]) -> Any:
    if not isinstance(value, kind) or not is_right(value):
        raise ValueError("This is no message of this release")
    return value
