"""Answers that are kept: which of them are worth it, what is kept of one, and how it is given once more.

Kept is what the caller saw: the bytes, in the caller's format, of a stream in the pieces in which they came. They are
given again in the same pieces, without the pauses between them. Of the head only the names below are kept: everything
else was about that one call, and the answer to this one has its own.

Not kept is an answer that is none: an error, one that was cut off by anything but the length that its caller set, one
that a filter or the model itself refused. Nor, unless the operator wants it, one that calls a tool.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable
from typing import Any

import msgspec

from ai_gateway.calls import Call, Headers, Reply, ReplyBody
from ai_gateway.meter import Meter, Outcome

KEPT_HEADERS = frozenset(
    b"content-type cache-control x-accel-buffering x-gateway-provider x-gateway-model x-gateway-dropped-params".split()
)

BREATH = 32
"""Pieces of a stream that are sent in a row, before the event loop may do something else."""

_NO_ANSWER = re.compile(
    rb'"(?:'
    rb'finish_reason"\s*:\s*"(?:content_filter|error)"'
    rb'|stop_reason"\s*:\s*"(?:refusal|pause_turn)"'
    rb'|stopReason"\s*:\s*"(?:guardrail_intervened|content_filtered)"'
    rb'|finishReason"\s*:\s*"(?!STOP|MAX_TOKENS|FINISH_REASON_UNSPECIFIED)'
    rb'|blockReason"|reason"\s*:\s*"content_filter"|refusal"\s*:\s*"|type"\s*:\s*"refusal"'
    rb")"
)
"""What stands in an answer that is none. No text of a model looks like it: in a string, quotes are escaped."""

_TOOLS = re.compile(
    rb'"(?:'
    rb'tool_calls"\s*:\s*\[\s*\{|function_call"\s*:\s*\{|functionCall"\s*:|executableCode"\s*:|toolUse"\s*:'
    rb'|type"\s*:\s*"(?:tool_use|server_tool_use|mcp_tool_use|[a-z_]+_call)"'
    rb")"
)
"""What stands in an answer that calls a tool, the caller's or the provider's."""

_RESPONSE_ENDED = re.compile(rb'"type"\s*:\s*"response\.(?:completed|incomplete)"')


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """An answer as it is kept. `tokens` are those of the cache's marks at the time (`cache_store.py`), `at` and `until`
    are in seconds since 1970, `cost_nanos` is what the answer cost; it is None if nobody knew."""

    tokens: tuple[str, ...]
    at: float
    until: float
    headers: list[tuple[bytes, bytes]]
    chunks: list[bytes]
    is_stream: bool
    provider: str
    model: str
    cost_nanos: int | None

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return sum(map(len, self.chunks)) + 64 * len(self.chunks) + 1024

    def age(self, now: float) -> float:
        """How old it is, in seconds. Hosts' clocks differ: never less than nothing."""
        return max(0.0, now - self.at)


class _Head(msgspec.Struct):
    error: Any = None
    status: Any = None


def is_worth_keeping(call: Call, body: bytes, *, is_stream: bool, tools: bool) -> bool:
    """Whether the body of an answer that ended well is an answer that may be given again."""
    if not is_stream:
        try:
            head = msgspec.json.decode(body, type=_Head)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return False  # No object, and so nothing that these endpoints answer.
        if head.error is not None:
            return False
        if call.dialect.name == "openai_responses" and head.status not in (None, "completed", "incomplete"):
            return False
    if not call.dialect.is_generation:
        return True
    if is_stream and call.dialect.name == "openai_responses" and _RESPONSE_ENDED.search(body) is None:
        return False
    return _NO_ANSWER.search(body) is None and (tools or _TOOLS.search(body) is None)


def kept_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Select what is kept of a head."""
    return [header for header in headers if header[0] in KEPT_HEADERS]


def pack(kept: Kept) -> bytes:
    """Write an answer as bytes, which nobody runs."""
    return msgspec.msgpack.encode(kept)


def unpack(data: bytes) -> Kept | None:
    """Read what `pack` wrote; None for anything else."""
    try:
        kept = msgspec.msgpack.decode(data, type=Kept)
    except msgspec.DecodeError:
        return None
    # Whoever may write the cache decides what is answered, but not what else a head says.
    return kept if len(kept_headers(kept.headers)) == len(kept.headers) and kept.chunks else None


def again(kept: Kept, meter: Meter, headers: Headers) -> Reply:
    """Give an answer once more, with these headers beside its own."""
    head = [*kept.headers, *headers]
    if kept.is_stream:
        return Reply(status=200, headers=head, body=Replay(kept.chunks, meter))
    body = b"".join(kept.chunks)
    meter.outcome = Outcome.CACHED
    return Reply(status=200, headers=[*head, (b"content-length", b"%d" % len(body))], body=body)


class Replay(ReplyBody):
    """A stream once more."""

    __slots__ = ("_chunks", "_meter", "_sent", "is_broken")

    def __init__(self, chunks: list[bytes], meter: Meter) -> None:
        self._chunks = chunks
        self._meter = meter
        self._sent = 0
        self.is_broken = False

    async def __anext__(self) -> bytes:
        if self._sent >= len(self._chunks):
            raise StopAsyncIteration
        if self._sent and not self._sent % BREATH:
            await asyncio.sleep(0)
        chunk = self._chunks[self._sent]
        self._sent += 1
        self._meter.bytes_out += len(chunk)
        if self._sent == len(self._chunks):
            self._meter.outcome = Outcome.CACHED
        return chunk

    async def aclose(self) -> None:
        """Give nothing more."""
        self._sent = len(self._chunks)


now = time.time
