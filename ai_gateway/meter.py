"""The measure of one call: who made it, where it went, how it ended, and what it used.

A `Meter` is made when a call's caller is known, goes with the call, and is read once at its end: whatever ended it, it
becomes exactly one `Entry`, the line that the ledger writes. Nothing here waits, and nothing here can fail a call.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from time import perf_counter
from typing import Any, NamedTuple

import msgspec

from ai_gateway import traces, traffic
from ai_gateway.calls import Arrival, Call, Caller, Interruptible, Target
from ai_gateway.consumption import Consumption, Listener
from ai_gateway.errors import Cancelled, GatewayError, GuardrailBlocked, Kind, LimitReached, Overloaded
from ai_gateway.facts import Facts
from ai_gateway.holds import Hold
from ai_gateway.ids import new_id
from ai_gateway.traces import Trace

LONGEST = 200
"""Letters of a name that are kept: callers make some of them up."""


class Outcome(Enum):
    """What ended a call. The values are those of `UsageRecord.Outcome`."""

    ANSWERED = "answered"
    CACHED = "cached"
    REFUSED = "refused"
    LIMITED = "limited"
    BLOCKED = "blocked"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    DISCONNECTED = "disconnected"
    STOPPED = "stopped"
    CANCELLED = "cancelled"


class Entry(msgspec.Struct, kw_only=True):
    """One finished call, as it is written down. The fields are the columns of `UsageRecord`, in plain values; those of
    NOT_COLUMNS are for those who hear of the call by `signals.call_finished`.

    `id` is a UUID as 32 hexadecimal digits, `started_at` in seconds since 1970.
    """

    id: str
    request_id: str
    started_at: float
    outcome: str
    status: int = 0
    error_code: str = ""
    upstream_id: str = ""
    key_id: Any = None
    key_name: str = ""
    user_id: Any = None
    group_id: Any = None
    project: str = ""
    organization: str = ""
    end_user: str = ""
    experiment: str = ""
    session: str = ""
    agent: str = ""
    tags: list[str] | None = None
    metadata: dict[str, Any] | None = None
    dialect: str = ""
    endpoint: str = ""
    model: str = ""
    provider: str = ""
    served_model: str = ""
    route: str = ""
    is_stream: bool = False
    variant: str = ""
    is_mirror: bool = False
    attempts: int = 0
    trail: list[dict[str, Any]] | None = None
    duration_ms: int = 0
    first_byte_ms: int | None = None
    first_token_ms: int | None = None
    overhead_us: int = 0
    queued_ms: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    input_image_tokens: int = 0
    output_audio_tokens: int = 0
    output_image_tokens: int = 0
    units: dict[str, float] | None = None
    service_tier: str = ""
    is_estimated: bool = False
    cost_nanos: int | None = None
    saved_nanos: int = 0
    trace_id: str = ""
    parent_span_id: str = ""
    """The span that the caller made the call in."""
    is_sampled: bool = False
    """Whether the trace is one that somebody records."""


NOT_COLUMNS = ("parent_span_id", "is_sampled")
"""Fields of an `Entry` that are not written down. They are its last."""


class Piece(NamedTuple):
    """An answer that was not the last, because its provider died or refused: what it used and cost, and when it was
    asked and began, in seconds of `time.perf_counter()`."""

    consumption: Consumption | None
    cost_nanos: int | None
    sent_at: float | None
    first_byte_at: float | None
    first_token_at: float | None


class Meter(msgspec.Struct):
    """Measures one call. Whoever serves the call notes here what happens; `accounting.py` reads it at the end."""

    arrival: Arrival
    caller: Caller
    queued: float = 0.0
    """For how many seconds the call waited for a place."""
    call: Call | None = None
    route: str = ""
    variant: str = ""
    """The route's experiment, and which part of it this call is."""
    is_mirror: bool = False
    """Whether this is a copy of a call, whose answer nobody sees."""
    target: Target | None = None
    attempts: int = 0
    trail: list[dict[str, Any]] = []
    sent_at: float | None = None
    first_byte_at: float | None = None
    first_token_at: float | None = None
    outcome: Outcome | None = None
    status: int = 0
    error: GatewayError | None = None
    error_code: str = ""
    """What a provider calls the error that its answer was, where that is passed on as it is."""
    bytes_out: int = 0
    listener: Listener | None = None
    consumption: Consumption | None = None
    priced: tuple[Consumption, int | None] | None = None
    """What was priced last, and what it cost in nano-dollars, if anybody knows."""
    saved_nanos: int = 0
    """What the answer cost when a provider was asked for it, if it comes out of the cache."""
    hold: Hold | None = None
    is_asking: bool = False
    is_closed: bool = False
    finish_within: float = 0.0
    """For how many seconds the provider's answer is read on if the caller leaves (`finishing.py`)."""
    goes_on: bool = False
    """Whether the answer is read on although its caller has left, so that this is not the end of the call."""
    continues_streams: bool = False
    """Whether a stream that dies in mid-text may go on with another target (`continuation.py`)."""
    pieces: tuple[Piece, ...] = ()
    """What the answers were that came before the last one."""
    number: int = 0
    """Its number in the list of calls under way (`live.py`)."""
    task: asyncio.Task[Any] | None = None
    """What serves it: cancelled to end the call, as long as its answer has not begun."""
    work: asyncio.Task[Any] | None = None
    """What works for it beside that, if anything does, and is cancelled in its place."""
    response: Interruptible | None = None
    """The answer under way: the provider's, or one that is given again at its pace."""
    ended_by: Cancelled | None = None
    """The error that an operator has ended it with."""
    is_queued: bool = False
    """Whether it waits for a place, in the gateway or at a provider."""
    made_id: str = ""
    made_facts: Facts | None = None
    made_trace: Trace | None = None

    @property
    def id(self) -> str:
        """Names the call in the ledger and in the stores of limits. Made when it is first asked for."""
        if not self.made_id:
            self.made_id = new_id()
        return self.made_id

    @property
    def facts(self) -> Facts:
        """What the call asks for, for those who choose its targets. Made when it is first asked for."""
        if self.made_facts is None:
            assert self.call is not None
            self.made_facts = Facts(self.call, self.caller)
        return self.made_facts

    @property
    def trace(self) -> Trace | None:
        """The trace that the call belongs to, if it belongs to one. Found when it is first asked for."""
        if self.made_trace is None:
            self.made_trace = traces.of_request(self.arrival.fields)
        return self.made_trace

    def begin_attempt(self, target: Target) -> None:
        """Note that a target is to be asked now."""
        if self.route:  # Nobody asks how the others do.
            self.is_asking = True
            traffic.begin(target)
        self.target = target

    def fail_attempt(self, status: int, code: str | None, began_at: float) -> None:
        """Note that the target under way failed, with which status and code, and since when it was asked."""
        assert self.target is not None
        self.end_attempt()
        self.trail.append(
            {
                "provider": self.target.provider,
                "model": self.target.model,
                "status": status,
                "error": code and cut(code),
                "at": round((began_at - self.arrival.received_at) * 1e3),
                "ms": round((perf_counter() - began_at) * 1e3),
            }
        )

    def leave_out(self, target: Target, what: str, why: str) -> None:
        """Note that a target is not asked, or not in its turn: by what of the gateway's, and why in words."""
        self.trail.append({"provider": target.provider, "model": target.model, "error": what, "why": why})

    def end_attempt(self) -> None:
        """Note that no target is asked any more."""
        if self.is_asking and self.target is not None:
            self.is_asking = False
            if self.first_token_at is not None and self.sent_at is not None:
                traffic.end(self.target, self.first_token_at - self.sent_at)
            else:
                traffic.end(self.target)

    def fail(self, error: GatewayError) -> None:
        """Note the error that the caller is told, or that ended a stream. The last one counts."""
        self.error = error
        self.outcome = outcome_of(error, was_sent=self.sent_at is not None)


def outcome_of(error: GatewayError, *, was_sent: bool) -> Outcome:
    """Tell what ended a call that ended with this error."""
    if error.code == "gateway_draining":
        return Outcome.STOPPED
    if isinstance(error, Cancelled):
        return Outcome.CANCELLED
    if isinstance(error, LimitReached):
        return Outcome.LIMITED
    if isinstance(error, GuardrailBlocked):
        return Outcome.BLOCKED
    if type(error) is Overloaded:
        return Outcome.REFUSED
    if error.kind is Kind.TIMEOUT:
        return Outcome.TIMED_OUT
    return Outcome.FAILED if was_sent or error.status >= 500 else Outcome.REFUSED


def cut(value: str | None) -> str:
    """Shorten a name that somebody made up, without characters that databases refuse."""
    if not value:
        return ""
    return value[:LONGEST].replace("\0", "") if len(value) > LONGEST or "\0" in value else value
