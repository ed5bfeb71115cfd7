"""What makes two calls the same call? A digest of all that the answer depends on.

That is who gets the answer again (a key, a user, or everyone), where the call may go (the targets open to its caller,
in any order: a route that leads elsewhere has other answers), the path with its query, the headers that go on to a
provider but for those that are known to change nothing, and the body in one form: without blanks, members in the order
of the alphabet, and without those that change nothing of the answer. A member left out that does change it would be a
wrong answer; one too many is only a call to the provider.

Two bodies that two JSON parsers could read in two ways are never the same: one that names a member twice has no digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import isfinite
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from ai_gateway.calls import Call, Headers, Target, below_version
from ai_gateway.tracking import TRACKED

CHAT_MEMBERS = frozenset(("user", "safety_identifier", "metadata", "prompt_cache_key", "prompt_cache_retention"))

INSIGNIFICANT: Mapping[str, frozenset[str]] = {
    "openai_chat": CHAT_MEMBERS,
    "openai": CHAT_MEMBERS,
    "anthropic_messages": frozenset(("metadata",)),
}
"""Members that say for whom an answer is, or where the provider keeps the prompt, by the name of the dialect. Not those
of Responses: its answers repeat them. Nor `stream_options`: whoever asks for the usage gets to see it."""

HARMLESS = frozenset(
    (
        *TRACKED,
        # Who calls, and by which program.
        *b"user-agent content-type x-goog-api-client anthropic-dangerous-direct-browser-access".split(),
        *b"x-amz-user-agent x-app http-referer x-title x-requested-with dnt originator version".split(),
        # Which call it is, and in which trace.
        *b"idempotency-key x-idempotency-key x-client-request-id x-ms-client-request-id correlation-id".split(),
        *b"x-correlation-id x-trace-id traceparent tracestate baggage b3 sentry-trace uber-trace-id newrelic".split(),
        *b"x-amzn-trace-id x-cloud-trace-context x-amz-date x-amz-content-sha256 x-amz-security-token".split(),
        # What is for caches on the way.
        *b"cache-control pragma priority date".split(),
    )
)
"""Headers that go on to a provider and change nothing of its answer. Any other one might: one too many that counts is
only a call to the provider."""

HARMLESS_PREFIXES = (b"x-stainless-", b"amz-sdk-", b"x-b3-", b"x-datadog-", b"x-claude-code-")
"""How more of them begin."""

ENDPOINTS = frozenset(("completions", "embeddings", "moderations", "rerank"))
METHODS = (":embedContent", ":batchEmbedContents")
"""What is answered from the cache, beside the formats of generation: what is asked and answered in JSON."""


class Uncacheable(Exception):
    """The answer to this call is for this call alone. The message says why."""


def is_question(call: Call) -> bool:
    """Whether a call asks for something that might be answered as it was before."""
    if call.method != "POST" or not isinstance(call.body, bytes):
        return False
    return call.dialect.is_generation or below_version(call.path) in ENDPOINTS or call.path.endswith(METHODS)


def fingerprint(
    call: Call,
    owner: str,
    targets: Iterable[Target],
    headers: Headers,
    *,
    secret: bytes = b"",
    named: bytes = b"",
    only_deterministic: bool = False,
) -> str:
    """Give the digest of a call, 64 hexadecimal digits. `headers` are those that go on to a provider, `named` are the
    models that its caller wants asked if the first one fails. Raises Uncacheable."""
    assert isinstance(call.body, bytes)
    body = read_body(call.body)
    name = call.dialect.name
    _check(name, body)
    if only_deterministic and call.dialect.is_generation and temperature(body) != 0:
        raise Uncacheable("its temperature is not 0")
    left_out = INSIGNIFICANT.get(name, frozenset())
    parts = [
        owner,
        name,
        call.path,
        _read_query(call.query) if call.query else [],
        sorted(set(targets), key=lambda target: (target.provider, target.model or "")),
        named.decode("latin-1"),
        sorted((key.decode("latin-1"), value.decode("latin-1")) for key, value in headers if may_count(key)),
        {member: value for member, value in body.items() if member not in left_out},
    ]
    canonical = _written(parts)
    return hashlib.blake2b(canonical, digest_size=32, key=secret[:64]).hexdigest()


@lru_cache(maxsize=1024)
def may_count(header: bytes) -> bool:
    """Whether a header may change what a provider answers, by its name."""
    return header not in HARMLESS and not header.startswith(HARMLESS_PREFIXES)


def read_body(body: bytes) -> dict[str, Any]:
    """Read a JSON object that can be read in one way only. Raises Uncacheable."""
    try:
        value = _reader.decode(body.decode())
    except (ValueError, RecursionError):
        raise Uncacheable("its body is no JSON, or too deep") from None
    if not isinstance(value, dict):
        raise Uncacheable("its body is no JSON object")
    return value


def _only_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Uncacheable("its body names a member twice")
    return found


def _finite(text: str) -> float:
    """Read a number. One that no double holds is written as null, and would be the same as none."""
    number = float(text)
    if not isfinite(number):
        raise Uncacheable("its body has a number that is too large")
    return number


def _no_number(name: str) -> float:
    raise Uncacheable(f"its body has {name} in it, which is no JSON")


_reader = json.JSONDecoder(object_pairs_hook=_only_once, parse_float=_finite, parse_constant=_no_number)
_canonical = msgspec.json.Encoder(order="deterministic")
_rare = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def _written(parts: list[Any]) -> bytes:
    """Write what the digest is made of. What msgspec does not write (half of a surrogate pair, a whole number beyond
    64 bits) `json` does, in a way that is never the same as that of anything else."""
    try:
        return _canonical.encode(parts)
    except (UnicodeEncodeError, OverflowError):
        return _rare.encode(parts).encode("ascii")


def _read_query(query: bytes) -> list[tuple[str, str]]:
    """Read a query, without the credential that Google's clients may write there."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return sorted(pair for pair in pairs if pair[0] != "key")


def _check(dialect: str, body: Mapping[str, Any]) -> None:
    """Raise Uncacheable for a call that is to leave something behind at the provider."""
    if body.get("background"):
        raise Uncacheable("it is to be worked on in the background")
    if body.get("conversation"):
        raise Uncacheable("it goes on with a conversation that the provider keeps")
    if dialect == "openai_chat" and body.get("store"):
        raise Uncacheable("the provider is to keep the answer")


def temperature(body: Mapping[str, Any]) -> Any:
    """Read the temperature that a call asks for, in whatever format; None: the provider's own."""
    for name in ("generationConfig", "generation_config", "inferenceConfig"):
        config = body.get(name)
        if isinstance(config, dict):
            return config.get("temperature")
    return body.get("temperature")
