"""The values that unit tests hand to the gateway's modules: a request's head, a call, an upstream's answer.

`Scripted` and `Answer` stand for the interface of a transport, read by read and without time: what a single module does
with it is tested by them. Where a whole call is to be answered, the kit's providers do it (`answering`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar

from ai_gateway import breakers
from ai_gateway.calls import Arrival, Call, Caller, Headers, IncomingBody, UpstreamRequest, UpstreamResponse
from ai_gateway.charges import Charges, Counter, State, States, Verdict
from ai_gateway.errors import GatewayError
from ai_gateway.intake import read_arrival
from ai_gateway.kept_answers import Kept
from ai_gateway.limits import LimitStore
from ai_gateway.meter import Meter
from ai_gateway.protocols import dialect_of
from ai_gateway.test.providers import FakeProviders
from ai_gateway.test.script import Reaction
from ai_gateway.test.transport import ScriptedTransport
from ai_gateway.transports import Transport

T = TypeVar("T")
HOLDER = Caller(key_name="team")
JSON = (b"content-type", b"application/json")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a loop of its own."""
    return asyncio.run(coroutine)


class Body(IncomingBody):
    """A request body that is there at once."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = content
        self.was_read = False

    async def read(self, limit: int, seconds: float) -> bytes:
        self.was_read = True
        return self.content

    async def pieces(self, limit: int, seconds: float) -> AsyncIterator[bytes]:
        self.was_read = True
        yield self.content


def make_arrival(
    path: str = "/v1/chat/completions",
    *headers: tuple[bytes, bytes],
    method: str = "POST",
    body: bytes = b"",
    query: bytes = b"",
) -> Arrival:
    """The head of a request as a door hands it over."""
    length = [(b"content-length", b"%d" % len(body))] if body else []
    fields: Headers = [*headers, *length]
    return read_arrival(method, path, path.encode(), query, fields, Body(body))


def make_call(
    path: str = "/v1/chat/completions",
    *headers: tuple[bytes, bytes],
    method: str = "POST",
    query: bytes = b"",
    body: bytes = b"{}",
    model: str | None = None,
    stream: bool = False,
) -> Call:
    """A call as the policies see it."""
    fields = dict(headers)
    return Call(
        method=method,
        path=path,
        query=query,
        headers=list(headers),
        fields=fields,
        body=body,
        dialect=dialect_of(path, fields),
        request_id="req_test",
        received_at=0.0,
        model=model,
        stream=stream,
    )


def make_meter(call: Call, caller: Caller = HOLDER) -> Meter:
    """The measure of a call, as `gateway.py` makes it."""
    head = {name: getattr(call, name) for name in ("method", "path", "query", "headers", "fields", "dialect")}
    arrival = Arrival(**head, body=Body(), request_id=call.request_id, received_at=call.received_at)
    meter = Meter(arrival, caller)
    meter.call = call
    return meter


def states() -> dict[str, str]:
    """How the targets stand that are not well, by "provider/model"."""
    return {name: str(found["state"]) for name, found in breakers.findings().items()}


Step = bytes | None | Exception


class Answer(UpstreamResponse):
    """An upstream's answer by a script: bytes are read, None is a silence, an error is raised; then comes the end."""

    def __init__(self, *steps: Step, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.status = status
        self.headers = list(headers)
        self.steps = list(steps)
        self.is_closed = False

    async def read(self, patience: float | None = None) -> bytes | None:
        step = self.steps.pop(0) if self.steps else b""
        if isinstance(step, Exception):
            raise step
        return step

    def interrupt(self, error: GatewayError) -> None:
        self.steps = [error]

    async def aclose(self) -> None:
        self.is_closed = True


class Scripted(Transport):
    """A transport that gives these answers, or raises these errors, one after the other."""

    def __init__(self, *outcomes: UpstreamResponse | Exception) -> None:
        self.outcomes = list(outcomes)
        self.requests: list[UpstreamRequest] = []

    async def send(self, request: UpstreamRequest, timeouts: object) -> UpstreamResponse:
        self.requests.append(request)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def interrupt(self, error: GatewayError) -> None:
        raise error

    async def aclose(self) -> None:
        self.outcomes.clear()


def answering(*reactions: Reaction) -> ScriptedTransport:
    """A transport whose providers react so, one after the other; the last one goes on."""
    providers = FakeProviders()
    providers.answer(*reactions)
    return ScriptedTransport(providers)


class Recorder(LimitStore):
    """A store of limits that admits as it is told, and remembers what it was asked."""

    def __init__(self, *verdicts: Verdict | Exception) -> None:
        self.verdicts = list(verdicts)
        self.admitted: list[Charges] = []
        self.settled: list[tuple[Charges, Sequence[int]]] = []

    async def admit(self, charges: Charges, ttl: float) -> Verdict:
        self.admitted.append(charges)
        verdict = self.verdicts.pop(0) if self.verdicts else Verdict(True, [State(1, 9, 1.0) for _ in charges.counters])
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    def settle(self, charges: Charges, used: Sequence[int]) -> None:
        self.settled.append((charges, used))

    async def states(self, counters: Sequence[Counter]) -> States:
        raise NotImplementedError

    async def flush(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError


def make_kept(*chunks: bytes, headers: Headers | None = None, pauses: Sequence[int] = ()) -> Kept:
    """Make a kept stream."""
    return Kept(
        tokens=("a", "b"),
        at=1000.0,
        until=2000.0,
        headers=[(b"content-type", b"text/event-stream")] if headers is None else headers,
        chunks=list(chunks),
        is_stream=True,
        provider="openai",
        model="m",
        cost_nanos=5,
        pauses=list(pauses),
    )
