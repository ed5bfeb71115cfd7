"""What a provider was sent."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ai_gateway.calls import UpstreamRequest
from ai_gateway.protocols import Dialect, dialect_of, model_in

ENDINGS = {
    "/chat/completions": "/v1/chat/completions",
    "/responses": "/v1/responses",
    "/messages": "/v1/messages",
}
"""How paths end by which a format is known, whatever a provider has in front; and the gateway's own path."""

MODEL_SECTIONS = {"/models/": "/v1beta/models/", "/model/": "/v1/model/"}
"""The same for paths that name the model."""


@dataclass(kw_only=True)
class Sent:
    """One request, as the provider got it. Header names are in lower case."""

    method: str
    url: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes = field(repr=False)
    was_closed_early: bool = False
    """Whether the answer was given up before its end: so it is when a caller hangs up."""

    @cached_property
    def json(self) -> Any:
        """The body as JSON; None if there is none."""
        return json.loads(self.body) if self.body else None

    @cached_property
    def gateway_path(self) -> str:
        """The path as a caller of the gateway would write it."""
        for ending, path in ENDINGS.items():
            if self.path.endswith(ending):
                return path
        for section, path in MODEL_SECTIONS.items():
            _, found, rest = self.path.partition(section)
            if found and model_in(path + rest) is not None:
                return path + rest
        return self.path

    @property
    def dialect(self) -> Dialect:
        """The wire format that it is written in."""
        return dialect_of(self.gateway_path, {name.encode(): value.encode() for name, value in self.headers.items()})

    @property
    def format(self) -> str:
        """The name of that: "openai_chat", "openai_responses", "anthropic_messages", "gemini", ..."""
        return self.dialect.name

    @property
    def model(self) -> str | None:
        """The model that is asked for."""
        named = model_in(self.gateway_path)
        if named is not None:
            return named[0]
        return self.json.get("model") if isinstance(self.json, dict) else None

    @property
    def is_stream(self) -> bool:
        """Whether the answer is to be streamed."""
        named = model_in(self.gateway_path)
        if named is not None:
            return named[1]
        return isinstance(self.json, dict) and self.json.get("stream") is True


async def read(request: UpstreamRequest) -> Sent:
    """Read what is sent to a provider, to its end."""
    body = request.body
    content = body if isinstance(body, bytes) else b"".join([piece async for piece in body])
    path, _, query = request.target.decode("ascii").partition("?")
    origin = f"{request.origin.scheme}://{request.origin.host_header.decode()}"
    return Sent(
        method=request.method,
        url=origin + request.target.decode("ascii"),
        path=path,
        query=query,
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.headers},
        body=content,
    )
