"""What makes two calls the same call? A digest of all that the answer depends on.

That is who gets the answer again (a key, a user, or everyone), where the call may go (the targets open to its caller,
in any order: a route that leads elsewhere has other answers), the path with its query, the headers that providers heed,
and the body in one form: without blanks, members in the order of the alphabet, and without those that change nothing of
the answer. A member left out that does change it would be a wrong answer; one too many is only a call to the provider.

Two bodies that two JSON parsers could read in two ways are never the same: one that names a member twice has no digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from ai_gateway.calls import Call, Target, below_version

CHAT_MEMBERS = frozenset(("user", "safety_identifier", "metadata", "prompt_cache_key", "prompt_cache_retention"))

INSIGNIFICANT: Mapping[str, frozenset[str]] = {
    "openai_chat": CHAT_MEMBERS,
    "openai": CHAT_MEMBERS,
    "anthropic_messages": frozenset(("metadata",)),
}
"""Members that say for whom an answer is, or where the provider keeps the prompt, by the name of the dialect. Not those
of Responses: its answers repeat them. Nor `stream_options`: whoever asks for the usage gets to see it."""

HEADERS = (b"anthropic-", b"openai-", b"x-goog-", b"x-amzn-bedrock-")
"""How the headers begin that providers heed."""

NO_HEADERS = frozenset((b"x-goog-api-key", b"x-goog-api-client", b"anthropic-dangerous-direct-browser-access"))
"""Those that begin so and change nothing, or are credentials."""

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
    *,
    secret: bytes = b"",
    named: bytes = b"",
    only_deterministic: bool = False,
) -> str:
    """Give the digest of a call, 64 hexadecimal digits. `named` are the models that its caller wants asked if the first
    one fails. Raises Uncacheable."""
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
        sorted((key.decode("latin-1"), value.decode("latin-1")) for key, value in call.headers if is_heeded(key)),
        {member: value for member, value in body.items() if member not in left_out},
    ]
    canonical = _canonical.encode(parts).encode("ascii")
    return hashlib.blake2b(canonical, digest_size=32, key=secret[:64]).hexdigest()


def is_heeded(header: bytes) -> bool:
    """Whether a header may change what a provider answers."""
    return header.startswith(HEADERS) and header not in NO_HEADERS


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


_reader = json.JSONDecoder(object_pairs_hook=_only_once)
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


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
