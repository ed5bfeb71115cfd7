"""Which calls are under way in this process, and how one of them is ended.

A call is in the list from when its caller is known until its end, whatever that is, and that costs it next to nothing:
what the list holds is its measure (`meter.py`), and what there is to tell is read there when somebody looks.

A call is ended from where it stands. Until its answer has begun the task that works for it is cancelled, as it is when
a caller hangs up, but here there is somebody to be told: `ended_by` takes the cancellation back and gives the error
that is to be answered. An answer that streams is ended by its source: whoever reads the provider's answer gets the
error, and ends the caller's stream with it as with any other. Nobody tries again what was ended so.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import AsyncIterator, Coroutine, Iterable
from time import perf_counter
from typing import Any

import msgspec

from ai_gateway.calls import BodyAround, Reply, ReplyBody, below_version
from ai_gateway.errors import Cancelled, GatewayError
from ai_gateway.meter import Meter, cut

logger = logging.getLogger("ai_gateway")

_under_way: dict[int, Meter] = {}
_numbers = itertools.count(1)


def begin(meter: Meter, loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Put a call into the list, in the task that serves it. To ask asyncio for the loop costs a system call on Python
    3.11, so whoever knows it says so."""
    meter.task = asyncio.current_task(loop)
    meter.number = number = next(_numbers)
    _under_way[number] = meter


def end(meter: Meter) -> None:
    """Take a call out of the list. May be called more than once."""
    _under_way.pop(meter.number, None)


def count() -> int:
    """Count the calls under way."""
    return len(_under_way)


def forget() -> None:
    """Forget all calls."""
    _under_way.clear()


# What is told of a call.


class LiveCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call under way, as it stands, in plain values. `id` names it among those of all processes."""

    id: str
    request_id: str
    age: float
    state: str
    key_name: str = ""
    key_id: str = ""
    user_id: str = ""
    dialect: str = ""
    endpoint: str = ""
    model: str = ""
    route: str = ""
    provider: str = ""
    served_model: str = ""
    attempt: int = 0
    is_stream: bool = False
    is_mirror: bool = False
    is_ended: bool = False
    """Whether somebody has ended it, and its caller has not been told yet."""
    bytes_out: int = 0
    tokens: int = 0
    client: str = ""


def listed(most: int | None = None) -> list[LiveCall]:
    """Tell how so many of the calls under way in this process stand, the oldest first."""
    now = perf_counter()
    return [_described(meter, now) for meter in list(_under_way.values())[:most]]


def _described(meter: Meter, now: float) -> LiveCall:
    arrival, caller, call, target = meter.arrival, meter.caller, meter.call, meter.target
    return LiveCall(
        id=f"{process()}-{meter.number}",
        request_id=arrival.request_id,
        age=round(now - arrival.received_at, 3),
        state=state_of(meter),
        key_name=caller.key_name or "",
        key_id=str(caller.key_id or ""),
        user_id=str(caller.user_id or ""),
        dialect=arrival.dialect.name,
        endpoint=cut(below_version(arrival.path)),
        model=cut(call.model) if call is not None else "",
        route=cut(meter.route),
        provider=target.provider if target is not None else "",
        served_model=cut(target.model) if target is not None else "",
        attempt=sum("ms" in each for each in meter.trail) + (target is not None),
        is_stream=call is not None and call.stream,
        is_mirror=meter.is_mirror,
        is_ended=meter.ended_by is not None,
        bytes_out=meter.bytes_out,
        tokens=_tokens(meter),
        client=arrival.client or "",
    )


def state_of(meter: Meter) -> str:
    """Say what a call does at the moment."""
    if meter.is_queued:
        return "queued"
    if meter.goes_on and meter.task is not None and meter.task.done():
        return "reading on"  # Its caller has left.
    if meter.call is None:
        return "receiving"
    if meter.status:
        return "streaming"
    return "asking" if meter.sent_at is not None else "preparing"


def _tokens(meter: Meter) -> int:
    """Tell about how many tokens of the answer have passed."""
    died = (piece.consumption.tokens for piece in meter.pieces if piece.consumption is not None)
    passed = sum(tokens.output + tokens.reasoning for tokens in died)
    return passed + (meter.listener.tokens_so_far() if meter.listener is not None else 0)


_process = ""


def process() -> str:
    """Name this process among all that share a site."""
    global _process
    if not _process:
        _process = os.urandom(6).hex()
    return _process


def _forked() -> None:
    """Begin anew: the calls are the parent's, and so is the name."""
    global _process
    _process = ""
    _under_way.clear()


os.register_at_fork(after_in_child=_forked)


# How a call is ended.


def cancel(id: str, by: str, user_id: str | None = None) -> bool:
    """End a call of this process, if it is still under way. `by` is who wants it, for the log; with `user_id`
    only a call of this user's is ended. From any thread; tells whether there is such a call."""
    name, _, number = id.rpartition("-")
    meter = _under_way.get(int(number)) if name == process() and number.isdecimal() else None
    if meter is None or meter.task is None:
        return False
    if user_id is not None and str(meter.caller.user_id) != user_id:
        return False
    logger.warning("%s: ended by %s", meter.arrival.request_id, ascii(by))
    try:
        meter.task.get_loop().call_soon_threadsafe(_end, meter)
    except RuntimeError:
        return False  # The event loop has ended, and all its calls with it.
    return True


def _end(meter: Meter, begun: asyncio.Task[Any] | None = None) -> None:
    """End a call, in its own event loop, unless it is over by now. `begun` is work of the call's that has begun."""
    if meter.number not in _under_way or meter.ended_by is not None:
        return
    work = meter.work
    is_working = work is not None and not work.done()
    if is_working and work is not begun:
        # What is cancelled before its first step never begins, and gives nothing back. It has that step before this
        # comes again.
        asyncio.get_running_loop().call_soon(_end, meter, work)
        return
    error = meter.ended_by = Cancelled("This call was ended by an operator of the gateway.")
    if work is not None and is_working:
        work.cancel()
    elif meter.status or meter.goes_on:
        if meter.response is not None:
            meter.response.interrupt(error)
    elif meter.task is not None:
        meter.task.cancel()


def interrupt(loop: asyncio.AbstractEventLoop, error: GatewayError) -> None:
    """End the answers under way of an event loop with an error, whatever they come from."""
    for meter in list(_under_way.values()):
        if meter.response is not None and meter.task is not None and meter.task.get_loop() is loop:
            meter.response.interrupt(error)


def ended_by(meter: Meter) -> Cancelled | None:
    """Give the error of a call whose task was cancelled because somebody ended it, and take the cancellation back.
    None: it was cancelled for another reason."""
    if meter.ended_by is not None:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
    return meter.ended_by


class Followed(BodyAround):
    """A reply's body at whose end its call is no longer under way."""

    __slots__ = ("_meter",)

    def __init__(self, body: ReplyBody, meter: Meter) -> None:
        super().__init__(body)
        self._meter = meter

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._body.__aiter__()  # Nothing stands between the door and what it iterates over: chunks are many.

    def __anext__(self) -> Coroutine[Any, Any, bytes]:
        return self._body.__anext__()

    async def aclose(self) -> None:
        """Close the body."""
        try:
            await self._body.aclose()
        finally:
            end(self._meter)


def followed(reply: Reply, meter: Meter) -> Reply:
    """Take a call out of the list at the end of its reply: for calls that nothing else is noted of."""
    body = reply.body
    if isinstance(body, ReplyBody):
        return msgspec.structs.replace(reply, body=Followed(body, meter))
    end(meter)
    return reply


def served_by(call: LiveCall) -> str:
    """Name the model that serves a call, or the one that it asks for as long as nobody serves it."""
    return "/".join(filter(None, (call.provider, call.served_model))) or call.model


def totals(calls: Iterable[LiveCall]) -> list[tuple[str, int, int]]:
    """Count calls, and the tokens of their answers so far, by model, the most calls first."""
    found: dict[str, tuple[int, int]] = {}
    for call in calls:
        name = served_by(call)
        number, tokens = found.get(name, (0, 0))
        found[name] = (number + 1, tokens + call.tokens)
    return sorted(((name, *counts) for name, counts in found.items()), key=lambda each: (-each[1], each[0]))
