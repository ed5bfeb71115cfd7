"""What did my key use, and what is left to it? `GET /v1/usage`, for the holder of a gateway key, about that key alone.

The answer is JSON of the gateway's own, for no client has a format for it; errors are in the caller's dialect. Money is
in dollars, exact, and so a string. `since`, `until` and `by` (`model` or `day`) in the query ask for more.

What was spent is read from the database: by a thread, so that the event loop does not wait, of which there are two.
Where the limits stand is asked of their store, where calls ask, too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import msgspec

from ai_gateway.allowances import now
from ai_gateway.calls import Call, Caller, Reply
from ai_gateway.conf import settings
from ai_gateway.configuration import SourceUnavailable
from ai_gateway.errors import BadRequest, InvalidCredential, LimitsUnavailable, MethodNotAllowed, UsageUnavailable
from ai_gateway.limits import StoreUnavailable, store
from ai_gateway.registry import Snapshot
from ai_gateway.replies import UNSTORED, own_reply
from ai_gateway.standings import standings
from ai_gateway.thread_pools import Full, ThreadPool
from ai_gateway.timespans import Span, read_moment

logger = logging.getLogger("ai_gateway")

PATH = "/v1/usage"

PATIENCE = 5.0
"""Seconds for which a caller waits for the database."""

THREADS = 2
MOST_WAITING = 100
"""Callers that wait for the threads at once, or have them: more are told to come back."""

Read = Callable[[Caller, Span | None, str | None], dict[str, Any] | None]

GROUPINGS = ("model", "day")


class Reader:
    """Reads what was spent beside the event loop. `read` may take its time; `release` is called after it in the same
    thread, to give back what it held."""

    def __init__(self, read: Read, release: Callable[[], None]) -> None:
        self._read = read
        self._release = release
        self._threads = ThreadPool("ai-gateway-usage", size=THREADS, most=MOST_WAITING)

    async def ask(self, caller: Caller, span: Span | None, by: str | None) -> dict[str, Any] | None:
        """Give what a caller spent. Raises UsageUnavailable if that cannot be had soon."""
        try:
            work = self._threads.submit(self._run, caller, span, by)
        except Full as error:
            raise UsageUnavailable("Too many ask what they used at the moment.", retry_after=1) from error
        try:
            # Whoever hangs up or waits too long takes no thread's time if none has begun.
            async with asyncio.timeout(PATIENCE):
                return await asyncio.wrap_future(work)
        except (TimeoutError, SourceUnavailable) as error:
            logger.error("What a key used cannot be read: %s", error or f"no answer within {PATIENCE:g} s")
            raise UsageUnavailable("What was used cannot be read at the moment.", retry_after=1) from error

    def _run(self, caller: Caller, span: Span | None, by: str | None) -> dict[str, Any] | None:
        try:
            return self._read(caller, span, by)
        finally:
            self._release()


reader: Reader | None = None
"""The one of this process. The app's `ready()` puts it here."""


def is_asked(call: Call) -> bool:
    """Whether a call asks for the gateway's own statement."""
    return call.path == PATH and b"x-provider" not in call.fields


async def answer(call: Call, caller: Caller, snapshot: Snapshot) -> Reply:
    """Answer with the statement. Raises MethodNotAllowed, InvalidCredential, BadRequest, UsageUnavailable,
    LimitsUnavailable."""
    if call.method not in ("GET", "HEAD"):
        raise MethodNotAllowed(f"{call.method[:32]} is not possible here. Use GET.")
    if not caller.is_authenticated:
        raise InvalidCredential("What was used is told to the holder of a gateway key. Send one.")
    span, by = read_query(call.query)
    spent = await reader.ask(caller, span, by) if reader is not None else None
    at = now()
    document = {
        "object": "usage",
        "key": caller.key_name,
        "as_of": datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "time_zone": settings.TIME_ZONE,
        "currency": "USD",
        "spent": spent if spent is None or span is None else {**spent, "span": {**_bounds(span), **spent["span"]}},
        "limits": await _limits(call, caller, snapshot, at),
    }
    body = msgspec.json.encode(document)
    return own_reply(body, call.request_id, headers=UNSTORED, is_head=call.method == "HEAD")


async def _limits(call: Call, caller: Caller, snapshot: Snapshot, at: float) -> list[dict[str, Any]]:
    """Tell where the limits stand that the caller's calls have to keep to wherever they go."""
    dues = snapshot.limits.of_call(call, caller, route="")
    try:
        return [each.document(at) for each in await standings(dues, store(), at)]
    except StoreUnavailable as error:
        logger.error("%s: where the limits stand cannot be told: %s", call.request_id, error)
        raise LimitsUnavailable("Where the limits stand cannot be told at the moment.", retry_after=1) from error


def read_query(query: bytes) -> tuple[Span | None, str | None]:
    """Read which span is asked for, if one is, and by what its sums are to be told apart. Raises BadRequest."""
    given = {name: values[-1] for name, values in parse_qs(query.decode("latin-1")).items()}
    by = given.get("by")
    if by is not None and by not in GROUPINGS:
        raise BadRequest(f"Sums are made by {' or '.join(GROUPINGS)}, not by {by[:40]!r}.", param="by")
    bounds = {}
    for name in ("since", "until"):
        try:
            bounds[name] = read_moment(given[name], settings.TIME_ZONE) if name in given else None
        except ValueError as error:
            raise BadRequest(f"{error}.", param=name) from error
    if by is not None and bounds["since"] is None:
        bounds["since"] = read_moment("month", settings.TIME_ZONE)
    span = Span(**bounds)
    return (None if span == Span() else span), by


def _bounds(span: Span) -> dict[str, str | None]:
    return {name: value.isoformat() if value is not None else None for name, value in span._asdict().items()}
