"""A snapshot with one provider for each wire format, and calls to them that go over no network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from django.test import override_settings

from ai_gateway import registry
from ai_gateway.attempts import ask
from ai_gateway.calls import Call, Caller, Reply, ReplyBody, Target
from ai_gateway.consumption import Consumption
from ai_gateway.meter import Meter
from ai_gateway.protocols import model_in
from ai_gateway.registry import Snapshot
from tests.factories import JSON, Answer, Scripted, make_call, make_meter, run

HOLDER = Caller(key_name="team")
SSE = (b"content-type", b"text/event-stream")


def provider(backend: str, **options: Any) -> dict[str, Any]:
    return {"BACKEND": backend, "OPTIONS": {"api_key": "sk-stored", **options}}


PROVIDERS = {
    "chat": provider("custom", base_url="https://chat.example/v1"),
    "responses": provider("custom", base_url="https://responses.example/v1", dialects=["openai_responses"]),
    "messages": provider("anthropic"),
    "google": provider("gemini"),
    "converse": provider("bedrock"),
    "openai": provider("openai"),
}
"""Whom to ask to reach a format."""


@pytest.fixture
def snapshot() -> Iterator[Snapshot]:
    """The configuration of these tests."""
    with override_settings(AI_GATEWAY={"PROVIDERS": PROVIDERS}):
        yield registry.snapshot()


class Exchange:
    """What was sent for a call, and what came back."""

    def __init__(self, transport: Scripted, reply: Reply, meter: Meter) -> None:
        self.transport = transport
        self.meter = meter
        self.reply = reply
        self.headers = dict(reply.headers)
        self.body = run(collect(reply.body))

    @property
    def consumption(self) -> Consumption | None:
        """What the call used, as it is read when it is over."""
        listener = self.meter.listener
        return listener.consumption() if listener is not None else self.meter.consumption

    @property
    def target(self) -> str:
        """The request target of the only request."""
        [request] = self.transport.requests
        return f"{request.origin.host}{request.target.decode()}"

    @property
    def sent(self) -> Any:
        """The body of the only request, as JSON."""
        [request] = self.transport.requests
        assert isinstance(request.body, bytes)
        return json.loads(request.body)

    @property
    def sent_headers(self) -> dict[bytes, bytes]:
        """The headers of the only request."""
        [request] = self.transport.requests
        return dict(request.headers)

    def json(self) -> Any:
        """The reply's body, as JSON."""
        return json.loads(self.body)


async def collect(body: bytes | ReplyBody) -> bytes:
    if isinstance(body, bytes):
        return body
    parts = [part async for part in body]
    await body.aclose()
    return b"".join(parts)


def call_to(path: str, body: Any, *headers: tuple[bytes, bytes]) -> Call:
    """Make a call as intake does."""
    path, _, query = path.partition("?")
    content = json.dumps(body).encode()
    model, stream = model_in(path) or (body.get("model"), body.get("stream") is True)
    call = make_call(path, JSON, *headers, body=content, model=model, stream=stream)
    return msgspec.structs.replace(call, query=query.encode())


@pytest.fixture
def exchange(snapshot: Snapshot) -> Callable[..., Exchange]:
    """Ask one provider with one body, and let it answer by a script."""

    def exchange(
        path: str, body: Any, to: str, *outcomes: Answer | Exception, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> Exchange:
        alias, _, model = to.partition("/")
        transport = Scripted(*outcomes)
        asked = call_to(path, body, *headers)
        target = Target(alias, model or asked.model)
        meter = make_meter(asked, HOLDER)
        return Exchange(transport, run(ask(meter, [target], snapshot, transport)), meter)

    return exchange
