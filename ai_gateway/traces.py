"""Which trace does a call belong to? By W3C Trace Context: the header `traceparent` names the trace and the span that
the call is made in, and `tracestate` goes along with it.

As long as the gateway traces nothing, both headers pass through it like any other. Where calls are traced
(`telemetry/opentelemetry.py` puts a sampler here) a provider is told of the span of the attempt that asks it, so that
what it reports lies below that one. The spans themselves are made when the call is over, and off its path: that their
ids are known before, and written down nowhere, is because they follow from the id of the call.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from ai_gateway.calls import Call

TRACEPARENT = b"traceparent"
TRACESTATE = b"tracestate"

FORMAT = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
"""Version, trace, span, flags, and what versions to come may add."""

IS_SAMPLED = 1
"""The flag of a trace that somebody records."""

SPAN_IDS = (1 << 64) - 1


class Trace(NamedTuple):
    """The trace of a call. `parent_id` is the span that its caller makes it in, "" if the trace begins here."""

    id: str
    parent_id: str
    is_sampled: bool


Sampler = Callable[[Trace], bool]
"""Decides whether the calls of a trace are recorded; `is_sampled` is what the caller decided."""

sampler: Sampler | None = None
"""Set where calls are traced."""


def of_request(fields: Mapping[bytes, bytes]) -> Trace | None:
    """Find the trace that a request belongs to. None if it names none, and nothing is traced."""
    given = read(fields.get(TRACEPARENT, b""))
    if sampler is None:
        return given
    trace = given or Trace(os.urandom(16).hex(), "", False)
    return trace._replace(is_sampled=sampler(trace))


def read(header: bytes) -> Trace | None:
    """Read a `traceparent` header. None if there is none, or it is not one."""
    found = FORMAT.fullmatch(header)
    if found is None or (found[1] == b"00" and found[5] is not None):
        return None
    return Trace(found[2].decode(), found[3].decode(), bool(int(found[4], 16) & IS_SAMPLED))


def span_id(call_id: str, attempt: int = 0) -> str:
    """Name the span of a call, or of one of its attempts, which count from 1. The second half of a call's id is random,
    and never 0."""
    return f"{(int(call_id[16:], 16) + attempt) & SPAN_IDS:016x}"


def carried(call: Call, trace: Trace, span: str) -> Call:
    """Give a call whose headers name this span of ours as the one that it is made in."""
    header = f"00-{trace.id}-{span}-{int(trace.is_sampled):02x}".encode()
    # Without a parent there was no valid `traceparent`, and then `tracestate` means nothing.
    dropped = (TRACEPARENT,) if trace.parent_id else (TRACEPARENT, TRACESTATE)
    kept = [each for each in call.headers if each[0] not in dropped]
    return msgspec.structs.replace(call, headers=[*kept, (TRACEPARENT, header)])
