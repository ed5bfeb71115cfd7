"""Calls and callers to try providers with."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

from ai_gateway.calls import Call, Caller, UpstreamRequest
from ai_gateway.protocols import dialect_of

TEAM = Caller(key_name="team-a")
"""A holder of a gateway key."""

NOBODY = Caller()
"""A caller with no credential at all."""

GATEWAY_KEY = b"gw_the-callers-gateway-key"

GENERATION = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic_messages": "/v1/messages",
    "gemini": "/v1beta/models/some-model:generateContent",
    "bedrock_converse": "/v1/model/some-model/converse",
}
"""Where each dialect for generation is spoken."""


def passed_through(name: str, value: str) -> Caller:
    """A caller with a credential of its own, in this header."""
    return Caller(credential=(name.encode(), value.encode()))


def make_call(
    path: str = "/v1/chat/completions",
    body: dict[str, Any] | AsyncIterator[bytes] | None = None,
    *,
    method: str = "POST",
    query: str = "",
    headers: Iterable[tuple[str, str]] = (),
) -> Call:
    """A call as the gateway makes one of a request."""
    content: bytes | AsyncIterator[bytes]
    if isinstance(body, AsyncIterator):
        content, model = body, None
    else:
        content = b"" if body is None else json.dumps(body).encode()
        model = (body or {}).get("model")
    pairs = [(name.encode(), value.encode()) for name, value in headers]
    if isinstance(content, bytes) and content:
        pairs += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    fields = dict(pairs)
    return Call(
        method=method,
        path=path,
        query=query.encode(),
        headers=pairs,
        fields=fields,
        body=content,
        dialect=dialect_of(path, fields),
        request_id="req_0123456789abcdef01234567",
        received_at=0.0,
        model=model,
    )


def url(request: UpstreamRequest) -> str:
    """The URL that a request goes to."""
    return f"{request.origin.scheme}://{request.origin.host_header.decode()}{request.target.decode()}"


def header(request: UpstreamRequest, name: str) -> str | None:
    """One header of a request. It must not be there twice."""
    values = [value.decode("latin-1") for key, value in request.headers if key == name.encode()]
    assert len(values) <= 1, (name, values)
    return values[0] if values else None


def json_body(request: UpstreamRequest) -> Any:
    """The JSON body of a request."""
    assert isinstance(request.body, bytes)
    return json.loads(request.body)


async def pieces(*values: bytes) -> AsyncIterator[bytes]:
    """The body of an upload."""
    for value in values:
        yield value
