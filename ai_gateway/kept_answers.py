"""Answers that are kept: which of them are worth it, and what is kept of one.

Kept is what the caller saw: the bytes, in the caller's format, of a stream in the pieces in which they came, with the
pauses between them. Of the head only the names below are kept: everything else was about that one call, and the answer
to this one has its own. How it is given once more is in `replays.py`.

Kept is only what is known to be an answer: it has what answers of its format have, and ended as they do, at its end or
at the length that its caller set. Not one that a filter or the model itself refused, nor, unless the operator wants it,
one that calls a tool. What is wrongly taken for none costs a call to the provider, and not an hour of wrong answers.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

from ai_gateway.calls import Call, Headers

KEPT_HEADERS = frozenset(
    b"content-type cache-control x-accel-buffering x-gateway-provider x-gateway-model x-gateway-dropped-params".split()
)

LONGEST_PAUSE = 60_000
"""Milliseconds. No pause is remembered as a longer one."""

_NO_ANSWER = re.compile(
    rb'"(?:'
    rb'error"\s*:(?!\s*null)|object"\s*:\s*"error"|type"\s*:\s*"error"'
    rb'|blockReason"|reason"\s*:\s*"content_filter"|refusal"\s*:\s*"|type"\s*:\s*"refusal"'
    rb")"
)
"""What stands in an answer that is none. No text of a model looks like it: in a string, quotes are escaped."""

_REASON = re.compile(rb'"(?:finish_reason|stop_reason|stopReason|finishReason)"\s*:\s*(null|"[^"]*")')
"""How an answer says why it ended."""

_GOOD = frozenset(
    b'"%b"' % reason
    for reason in (
        b"stop length tool_calls function_call eos eos_token end_turn max_tokens stop_sequence tool_use "
        b"model_context_window_exceeded STOP MAX_TOKENS"
    ).split()
)
"""Why answers end that are whole, or as long as their callers wanted them."""

_NOT_YET = frozenset((b"null", b'""', b'"FINISH_REASON_UNSPECIFIED"'))
"""What pieces of a stream say that are not the last."""

_TOOLS = re.compile(
    rb'"(?:'
    rb'tool_calls"\s*:\s*\[\s*\{|function_call"\s*:\s*\{|functionCall"\s*:|executableCode"\s*:|toolUse"\s*:'
    rb'|type"\s*:\s*"(?:tool_use|server_tool_use|mcp_tool_use|[a-z_]+_call)"'
    rb")"
)
"""What stands in an answer that calls a tool, the caller's or the provider's."""

_VALUE = re.compile(rb"[\t -~\x80-\xff]*")
"""What the value of a header is made of."""

_RESPONSE_ENDED = re.compile(rb'"type"\s*:\s*"response\.(?:completed|incomplete)"')


Pause = Annotated[int, msgspec.Meta(ge=0, le=LONGEST_PAUSE)]
Moment = Annotated[float, msgspec.Meta(ge=0, le=2**53)]
Nanos = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""No more than the ledger takes (`accounting.py`)."""


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """An answer as it is kept. `tokens` are those of the cache's marks at the time (`cache_store.py`), `at` and `until`
    are in seconds since 1970, `cost_nanos` is what the answer cost; it is None if nobody knew. `pauses` are the
    milliseconds between a stream's pieces; there are none of one that had no pauses, or was kept before these were."""

    tokens: tuple[str, ...]
    at: Moment
    until: Moment
    headers: list[tuple[bytes, bytes]]
    chunks: list[bytes]
    is_stream: bool
    provider: str
    model: str
    cost_nanos: Nanos | None
    pauses: list[Pause] = []

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return sum(map(len, self.chunks)) + 96 * len(self.chunks) + 1024

    def age(self, now: float) -> float:
        """How old it is, in seconds. Hosts' clocks differ: never less than nothing."""
        return max(0.0, now - self.at)


class _Head(msgspec.Struct):
    """The members that tell an answer, of all formats and endpoints."""

    error: Any = None
    status: Any = None
    choices: Any = None
    candidates: Any = None
    content: Any = None
    output: Any = None
    data: Any = None
    results: Any = None
    embedding: Any = None
    embeddings: Any = None


_MEMBERS = {
    "openai_chat": ("choices",),
    "gemini": ("candidates",),
    "bedrock_converse": ("output",),
}
_OTHERS = ("choices", "data", "results", "embedding", "embeddings")
"""What an answer has in it, by the name of the dialect and at other endpoints. Responses tell by their status."""


def is_worth_keeping(call: Call, body: bytes, *, is_stream: bool, tools: bool) -> bool:
    """Whether the body of an answer that ended well is an answer that may be given again."""
    if not is_stream and not _is_answer(call, body):
        return False
    if not _has_ended(call, body, is_stream=is_stream) or _NO_ANSWER.search(body) is not None:
        return False
    return not call.dialect.is_generation or tools or _TOOLS.search(body) is None


def _is_answer(call: Call, body: bytes) -> bool:
    """Whether a whole body has in it what answers have."""
    try:
        head = msgspec.json.decode(body, type=_Head)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False  # No object, and so nothing that these endpoints answer.
    if head.error is not None:
        return False
    name = call.dialect.name
    if name == "openai_responses":
        return head.status in ("completed", "incomplete")
    if name == "anthropic_messages":
        return isinstance(head.content, list)  # Which may be empty, if there was nothing more to say.
    return any(bool(getattr(head, member)) for member in _MEMBERS.get(name, _OTHERS))


def _has_ended(call: Call, body: bytes, *, is_stream: bool) -> bool:
    """Whether an answer ended as one that is whole does, by what it says itself. A stream has to say it."""
    if call.dialect.name == "openai_responses":
        return not is_stream or _RESPONSE_ENDED.search(body) is not None
    reasons = set(_REASON.findall(body))
    if not is_stream:
        return reasons <= _GOOD
    reasons -= _NOT_YET
    return bool(reasons) and reasons <= _GOOD


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
    is_known = len(kept_headers(kept.headers)) == len(kept.headers)
    is_sound = is_known and bool(kept.chunks) and all(_VALUE.fullmatch(value) for _, value in kept.headers)
    return kept if is_sound and len(kept.pauses) in (0, len(kept.chunks) - 1) else None


now = time.time
