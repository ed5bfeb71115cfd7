"""The end of a call: what it used is priced, its limits are settled, and one entry goes to the ledger.

All of that happens once, whatever ended the call, and none of it waits, but for the ledger of a site that wants to have
a call written down before its caller sees the end of it (`USAGE_DURABILITY`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache, partial
from time import perf_counter
from typing import Any

import msgspec

from ai_gateway import estimates, health, live, money, ratelimits, traces, unpriced
from ai_gateway import ledger as ledgers
from ai_gateway.calls import Call, Reply, ReplyBody, Target, below_version
from ai_gateway.consumption import NOTHING, UNUSED, Consumption, together
from ai_gateway.errors import LimitReached
from ai_gateway.finishing import read_on
from ai_gateway.holds import Hold
from ai_gateway.meter import Entry, Meter, Outcome, Piece, cut
from ai_gateway.protocols.conversation import BUCKETS, TokenUsage
from ai_gateway.registry import Snapshot
from ai_gateway.tracking import TRACKED

logger = logging.getLogger("ai_gateway")

LONGEST_CODE = 100
LONGEST_TIER = 40
LONGEST_TIME = 2**31 - 1
"""What columns hold, in letters and in the units of times. A database refuses all of a call of which one value does not
fit, its tokens and its cost as well."""

MOST_TOKENS = 10**12
MOST_NANOS = 2**53
"""More than any call uses or costs, and so little that the sums of days hold millions of them, and hundreds."""


def close(meter: Meter, snapshot: Snapshot) -> Entry | None:
    """End the measure of a call: settle its limits and make its entry. None if that has been done, or there is nothing
    to write down."""
    live.end(meter)
    if meter.is_closed:
        return None
    meter.is_closed = True
    try:
        meter.end_attempt()
        return _close(meter, snapshot)
    except Exception:
        # A bug here must not take an answer from its caller, and must not make it free.
        logger.exception("%s: the call could not be accounted for", meter.arrival.request_id)
        return _close_anyhow(meter)


def _close(meter: Meter, snapshot: Snapshot) -> Entry | None:
    consumption = meter.consumption = consumption_of(meter)
    cost = cost_of(meter, snapshot)
    if meter.pieces:
        consumption, cost = _with_pieces(meter, consumption, cost)
    if meter.hold is not None:
        try:
            meter.hold.settle(consumption, cost)
        except Exception:
            logger.exception("%s: what was used could not be settled", meter.arrival.request_id)
            _settle_as_reserved(meter.hold, meter)
    return _entry(meter, consumption, cost) if _is_written_down(meter) else None


def _is_written_down(meter: Meter) -> bool:
    """Whether a call is to be written down. A stranger's that led nowhere is not: anybody could fill the ledger."""
    return bool(meter.attempts or meter.caller.is_authenticated)


def _settle_as_reserved(hold: Hold, meter: Meter) -> None:
    try:
        hold.settle_as_reserved()
    except Exception:
        logger.exception("%s: the limits could not be settled", meter.arrival.request_id)


def _close_anyhow(meter: Meter) -> Entry | None:
    """End the measure of a call after that failed: what it had reserved counts as used, and what is known of it is
    written down, without a cost, as of a call that has no price."""
    if meter.hold is not None:
        _settle_as_reserved(meter.hold, meter)
    if not _is_written_down(meter):
        return None
    for consumption in (meter.consumption, None):  # Which may be what it failed for.
        try:
            return _entry(meter, consumption, None)
        except Exception:
            logger.exception("%s: the call could not be written down", meter.arrival.request_id)
    return None


def close_piece(meter: Meter, snapshot: Snapshot, characters: int) -> TokenUsage:
    """End the measure of an answer that is not the last, because it died behind so many characters or said nothing.
    Its attempt was written into the trail as the last one. Gives what it used."""
    consumption = meter.consumption = consumption_of(meter)
    cost = cost_of(meter, snapshot)
    tokens = consumption.tokens if consumption is not None else NOTHING
    meter.trail[-1] |= {"characters": characters, **told(tokens, cost)}
    if meter.hold is not None:
        meter.hold.leave_target(consumption or UNUSED, cost)
    meter.pieces += (Piece(consumption, cost, meter.sent_at, meter.first_byte_at, meter.first_token_at),)
    meter.consumption = meter.listener = meter.outcome = meter.error = None
    meter.sent_at = meter.first_byte_at = meter.first_token_at = None
    return tokens


def told(tokens: TokenUsage, cost: int | None) -> dict[str, Any]:
    """Write what a piece of an answer used, for the trail."""
    return {
        "tokens": {name: count for name in BUCKETS if (count := getattr(tokens, name))},
        "is_estimated": tokens.is_estimated,
        "cost_nanos": cost,
    }


def _with_pieces(meter: Meter, last: Consumption | None, cost: int | None) -> tuple[Consumption, int | None]:
    """Add to what the last answer used what those used that died before it, and note it in the trail. Limits of the
    last target count its own part."""
    first = next((piece for piece in meter.pieces if piece.first_token_at is not None), None)
    if first is not None:
        meter.sent_at, meter.first_byte_at, meter.first_token_at = first[2:]
    if last is None:
        cost = 0  # Nobody went on.
    elif meter.target is not None:
        names = {"provider": meter.target.provider, "model": meter.target.model, "status": 200}
        meter.trail.append({**names, **told(last.tokens, cost)})
    if meter.hold is not None:
        meter.hold.leave_target(last, cost)
    found = [piece.consumption for piece in meter.pieces if piece.consumption is not None]
    found += [last] if last is not None else []
    return together(found), _with_cost_of_pieces(meter, cost)


def whole_cost(meter: Meter, snapshot: Snapshot) -> int | None:
    """Price all that an answer used that has come to its end, in nano-dollars, with what those used that died before
    it; None if nobody knows."""
    return _with_cost_of_pieces(meter, cost_of(meter, snapshot))


def _with_cost_of_pieces(meter: Meter, cost: int | None) -> int | None:
    """Add to what the last answer cost what those cost that died before it. None: nobody knows of one."""
    for piece in meter.pieces:
        if cost is None or piece.cost_nanos is None:
            return None
        cost += piece.cost_nanos
    return cost


def consumption_of(meter: Meter) -> Consumption | None:
    """Tell what a call used. One that was sent, and that nobody knows the end of, used its prompt at least."""
    if meter.consumption is not None:
        return meter.consumption
    if meter.listener is not None:
        return meter.listener.consumption()
    is_unanswered = meter.sent_at is not None and meter.first_byte_at is None
    if is_unanswered and meter.call is not None and meter.call.dialect.is_generation:
        prompt = estimates.likely_input_tokens(meter.call.body)
        return Consumption(tokens=TokenUsage(input=prompt, is_estimated=True))
    return None


def cost_of(meter: Meter, snapshot: Snapshot) -> int | None:
    """Price what a call used, in nano-dollars; None if nobody knows, 0 for a call that used nothing. The same is priced
    once: whoever keeps the answer asks, too, and a moment later the price may be another one."""
    consumption, target, call = meter.consumption, meter.target, meter.call
    if consumption is None:
        is_work = call is not None and call.method == "POST" and 200 <= meter.status < 300
        return None if is_work and target is not None else 0
    if target is None or consumption is UNUSED:
        return 0
    if meter.priced is None or meter.priced[0] is not consumption:
        meter.priced = consumption, price_of(consumption, target, snapshot)
    return meter.priced[1]


def price_of(consumption: Consumption, target: Target, snapshot: Snapshot) -> int | None:
    """Price what was used of a target, in nano-dollars; None if nobody knows what it costs."""
    provider = snapshot.providers.get(target.provider)
    row = provider.row if provider is not None else ""
    at = time.time()
    for model in (target.model, consumption.model):
        price = snapshot.prices.of(target.provider, row, model, at) if model else None
        if price is not None:
            return price.cost(consumption)
    unpriced.tell(target.provider, target.model or consumption.model)
    return None


def _entry(meter: Meter, consumption: Consumption | None, cost: int | None) -> Entry:
    arrival, caller = meter.arrival, meter.caller
    seconds = perf_counter() - arrival.received_at
    # Fifteen by their names and no more: with sixteen Python makes a dict first, and takes three times as long.
    entry = Entry(
        id=meter.id,
        request_id=arrival.request_id,
        started_at=time.time() - seconds,
        outcome=(meter.outcome or Outcome.ANSWERED)._value_,  # What `value` gives, by way of two functions.
        status=meter.status,
        key_id=caller.key_id,
        key_name=cut(caller.key_name),
        user_id=caller.user_id,
        group_id=caller.group_id,
        dialect=arrival.dialect.name,
        endpoint=endpoint_of(arrival.path),
        attempts=meter.attempts,
        duration_ms=int(seconds * 1e3),
        bytes_out=meter.bytes_out,
        cost_nanos=cost,
    )
    _add_times(entry, meter)
    if meter.call is not None:
        _add_call(entry, meter.call)
    if meter.target is not None:
        entry.provider, entry.served_model = cut(meter.target.provider), cut(meter.target.model)
    if consumption is not None:
        _add_consumption(entry, consumption)
    if (consumption is not None and consumption.tokens.total > MOST_TOKENS) or (cost or 0) > MOST_NANOS:
        _bound(entry)
    _add_what_is_rare(entry, meter)
    return entry


def _add_times(entry: Entry, meter: Meter) -> None:
    began = meter.arrival.received_at
    if meter.sent_at is not None:
        overhead = int((meter.sent_at - began) * 1e6)
        entry.overhead_us = overhead if overhead < LONGEST_TIME else LONGEST_TIME
    if meter.first_byte_at is not None:
        entry.first_byte_ms = int((meter.first_byte_at - began) * 1e3)
    if meter.first_token_at is not None:
        entry.first_token_ms = int((meter.first_token_at - began) * 1e3)
    if meter.queued:
        entry.queued_ms = int(meter.queued * 1e3)


def _add_call(entry: Entry, call: Call) -> None:
    entry.model = cut(call.model)
    entry.is_stream = call.stream
    if isinstance(call.body, bytes):
        entry.bytes_in = len(call.body)


def _add_consumption(entry: Entry, consumption: Consumption) -> None:
    """Write down what was used. Most of it is not there in most calls."""
    tokens = consumption.tokens
    entry.input_tokens, entry.output_tokens = tokens.input, tokens.output
    if tokens.cache_read or tokens.cache_write or tokens.cache_write_1h:
        entry.cache_read_tokens = tokens.cache_read
        entry.cache_write_tokens, entry.cache_write_1h_tokens = tokens.cache_write, tokens.cache_write_1h
    if tokens.reasoning:
        entry.reasoning_tokens = tokens.reasoning
    if tokens.input_audio or tokens.input_image or tokens.output_audio or tokens.output_image:
        entry.input_audio_tokens, entry.input_image_tokens = tokens.input_audio, tokens.input_image
        entry.output_audio_tokens, entry.output_image_tokens = tokens.output_audio, tokens.output_image
    if tokens.is_estimated:
        entry.is_estimated = True
    if consumption.upstream_id:
        entry.upstream_id = cut(consumption.upstream_id)
    if consumption.service_tier:
        entry.service_tier = cut(consumption.service_tier)[:LONGEST_TIER]
    if consumption.units:
        entry.units = dict(consumption.units)
    if not entry.served_model:
        entry.served_model = cut(consumption.model)


def _add_what_is_rare(entry: Entry, meter: Meter) -> None:
    arrival, caller = meter.arrival, meter.caller
    if meter.route:
        entry.route = cut(meter.route)
    if meter.variant:
        entry.variant = cut(meter.variant)
    if meter.is_mirror:
        entry.is_mirror = True
    if meter.saved_nanos:
        entry.saved_nanos = meter.saved_nanos
    if meter.error is not None or meter.error_code:
        entry.error_code = cut(meter.error.code if meter.error is not None else meter.error_code)[:LONGEST_CODE]
    if meter.trail:
        entry.trail = [_harmless(line) for line in meter.trail]
    if caller.tags:
        entry.tags = [cut(tag) for tag in caller.tags]
    if caller.metadata:
        entry.metadata = dict(caller.metadata)
    if not TRACKED.keys().isdisjoint(arrival.fields):
        _add_tracking(entry, arrival.fields)
    if traces.sampler is not None or meter.made_trace is not None or traces.TRACEPARENT in arrival.fields:
        _add_trace(entry, meter)


def _harmless(line: Mapping[str, Any]) -> dict[str, Any]:
    """Write a line of the trail without what databases refuse: callers make up names of models."""
    return {name: value.replace("\0", "") if isinstance(value, str) else value for name, value in line.items()}


def _bound(entry: Entry) -> None:
    """Leave as much of what a provider says was used as can be kept and summed up: it is a mistake of its."""
    logger.error("%s: %s says that this call used more than any call can", entry.request_id, entry.provider)
    for bucket in BUCKETS:
        setattr(entry, f"{bucket}_tokens", min(getattr(entry, f"{bucket}_tokens"), MOST_TOKENS))
    if entry.cost_nanos is not None:
        entry.cost_nanos = min(entry.cost_nanos, MOST_NANOS)


def _add_tracking(entry: Entry, fields: Mapping[bytes, bytes]) -> None:
    for header in TRACKED.keys() & fields.keys():
        setattr(entry, TRACKED[header], cut(fields[header].decode("utf-8", "replace")))


def _add_trace(entry: Entry, meter: Meter) -> None:
    if meter.trace is not None:
        entry.trace_id, entry.parent_span_id, entry.is_sampled = meter.trace


@lru_cache(maxsize=1024)
def endpoint_of(path: str) -> str:
    """Name the endpoint: the path below the version. Remembered, because most calls are for the same few."""
    return cut(below_version(path))


def finish(meter: Meter, snapshot: Snapshot) -> None:
    """End the measure of a call that may have been ended already, without waiting."""
    if meter.goes_on:
        return
    if meter.outcome is None:
        meter.outcome = Outcome.STOPPED if health.is_draining() else Outcome.DISCONNECTED
    entry = close(meter, snapshot)
    if entry is not None and ledgers.ledger is not None:
        ledgers.ledger.put(entry)


def finish_alone(meter: Meter, snapshot: Snapshot) -> None:
    """End the measure of a call whose caller left before its answer was read to the end."""
    meter.goes_on = False
    meter.outcome = Outcome.DISCONNECTED
    finish(meter, snapshot)


async def finish_durably(meter: Meter, snapshot: Snapshot) -> Entry | None:
    """End the measure of a call, and wait until its entry is durable, if that is what the site wants. Gives the entry,
    or None if that has been done."""
    entry, ledger = close(meter, snapshot), ledgers.ledger
    if entry is not None and ledger is not None:
        if snapshot.is_committed:
            await ledger.commit(entry)
        else:
            ledger.put(entry)
    return entry


async def account(reply: Reply, meter: Meter, snapshot: Snapshot) -> Reply:
    """Take a reply into account: a whole one now, one that is sent while it is made when it ends.

    If that fails, the call is over all the same, and the reply is closed."""
    try:
        meter.status = reply.status
        tell_limits(reply, meter)
        if not isinstance(reply.body, bytes):
            return _accounted(reply, reply.body, meter, snapshot)
        meter.bytes_out = len(reply.body)
        if meter.outcome is None:
            meter.outcome = Outcome.ANSWERED if reply.status < 400 else Outcome.FAILED
        entry = await finish_durably(meter, snapshot)
        if entry is not None and entry.cost_nanos is not None and meter.consumption is not None:
            reply.headers.append((b"x-gateway-cost", money.exact(entry.cost_nanos).encode()))
        return reply
    except BaseException as error:
        if isinstance(error, Exception):
            meter.outcome = meter.outcome or Outcome.FAILED
        try:
            await reply.aclose()
        finally:
            finish(meter, snapshot)
        raise


def _accounted(reply: Reply, body: ReplyBody, meter: Meter, snapshot: Snapshot) -> Reply:
    """Have the end of a reply's body end the measure of its call."""
    accounted = Committed(body, meter, snapshot, reply) if snapshot.is_committed else Accounted(body, meter, snapshot)
    return msgspec.structs.replace(reply, body=accounted)


def tell_limits(reply: Reply, meter: Meter) -> None:
    """Tell the caller in the headers of a reply where its limits stand. An answer is worth more than these."""
    family = meter.arrival.dialect.family
    try:
        if isinstance(meter.error, LimitReached):
            ratelimits.put(reply.headers, ratelimits.refusal_headers(meter.error, family))
        elif meter.hold is not None:
            ratelimits.put(reply.headers, ratelimits.headers(meter.hold, family))
    except Exception:
        logger.exception("%s: where the limits stand could not be told", meter.arrival.request_id)


class Accounted(live.Followed):
    """A reply's body whose end, whatever it is, ends the measure of its call."""

    __slots__ = ("_snapshot",)

    def __init__(self, body: ReplyBody, meter: Meter, snapshot: Snapshot) -> None:
        super().__init__(body, meter)
        self._snapshot = snapshot

    async def aclose(self) -> None:
        """Close the upstream's answer, and the account; or have the answer read on without its caller."""
        meter = self._meter
        if meter.finish_within and meter.outcome is None and not meter.is_closed and not health.is_draining():
            meter.outcome = Outcome.DISCONNECTED  # Once: it may be closed again.
            meter.goes_on = True
            read_on(self._body, meter.finish_within, partial(finish_alone, meter, self._snapshot))
            return
        if meter.goes_on:
            return
        try:
            await self._body.aclose()
        finally:
            finish(self._meter, self._snapshot)


class Committed(Accounted):
    """The same for a site that wants a call written down before its caller sees the end of it.

    The end is the chunk with the format's own proof that the answer is whole, where it has one: a caller that reads
    `[DONE]` takes the answer for finished. Of an answer whose length was told, it is the chunk that completes it.
    """

    __slots__ = ("_length",)

    def __init__(self, body: ReplyBody, meter: Meter, snapshot: Snapshot, reply: Reply) -> None:
        super().__init__(body, meter, snapshot)
        length = next((value for name, value in reply.headers if name == b"content-length"), b"")
        self._length = int(length) if length.isdigit() else None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._body.__anext__()
        except StopAsyncIteration:
            await finish_durably(self._meter, self._snapshot)
            raise
        meter = self._meter
        if meter.outcome is None and self._length is not None and meter.bytes_out >= self._length:
            meter.outcome = Outcome.ANSWERED if meter.status < 400 else Outcome.FAILED
        if meter.outcome is not None:
            await finish_durably(meter, self._snapshot)
        return chunk
