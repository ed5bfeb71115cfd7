"""A provider of the caller's own format: what it is asked, and what the answer used."""

from __future__ import annotations

import asyncio
import codecs
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from ai_gateway.attempts import ask
from ai_gateway.calls import Reply, Target
from ai_gateway.consumption import UNUSED, Consumption, Listener
from ai_gateway.hops import native
from ai_gateway.meter import Meter
from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.registry import Snapshot
from ai_gateway.sse import first_event, whole_events
from tests.consumption.hearing import DONE, chat_chunk, usage
from tests.factories import JSON, Answer, Scripted, make_meter, run
from tests.hops.conftest import HOLDER, SSE, call_to, collect

CHAT = {"model": "m", "stream": True, "messages": []}
ASKED = {"include_usage": True}
USAGE = b"data: " + json.dumps({"choices": [], "usage": usage()}).encode() + b"\n\n"
EVENTS = [chat_chunk("Hel"), chat_chunk(finish_reason="stop"), USAGE, DONE]


class Served:
    """A call that was answered: what was sent, what came back, and what it used."""

    def __init__(self, transport: Scripted, meter: Meter, body: bytes) -> None:
        [request] = transport.requests
        assert isinstance(request.body, bytes)
        self.sent = request.body
        self.body = body
        self.meter = meter

    @property
    def consumption(self) -> Consumption | None:
        """What it used, as `accounting.py` reads it."""
        listener: Listener | None = self.meter.listener
        return listener.consumption() if listener is not None else self.meter.consumption


Serve = Callable[..., Served]


@pytest.fixture
def serve(snapshot: Snapshot) -> Serve:
    """Serve one call, to its end."""

    def serve(path: str, body: Any, to: str, answer: Answer, **changes: Any) -> Served:
        call = call_to(path, body)
        transport, meter = Scripted(answer), make_meter(call, HOLDER)
        config = replace(snapshot, **changes)

        async def answered() -> bytes:
            reply: Reply = await ask(meter, [Target(to, call.model)], config, transport)
            return await collect(reply.body)

        return Served(transport, meter, run(answered()))

    return serve


def stream(*events: bytes) -> Answer:
    return Answer(*events, headers=[SSE])


def test_a_stream_is_asked_for_its_usage_and_the_caller_does_not_see_it(serve: Serve) -> None:
    served = serve("/v1/chat/completions", CHAT, "chat", stream(*EVENTS))
    assert json.loads(served.sent) == {**CHAT, "stream_options": ASKED}
    assert served.body == b"".join([*EVENTS[:2], DONE])
    assert served.consumption == Consumption(
        tokens=TokenUsage(input=9, output=5), model="gpt-x", upstream_id="chatcmpl-1"
    )


def test_a_caller_that_says_no_gets_none(serve: Serve) -> None:
    body = {**CHAT, "stream_options": {"include_usage": False}}
    served = serve("/v1/chat/completions", body, "chat", stream(*EVENTS))
    assert json.loads(served.sent)["stream_options"] == ASKED
    assert USAGE not in served.body


def test_a_caller_that_asks_sees_everything_as_it_came(serve: Serve) -> None:
    body = {**CHAT, "stream_options": ASKED}
    served = serve("/v1/chat/completions", body, "chat", stream(*EVENTS))
    assert served.sent == json.dumps(body).encode()
    assert served.body == b"".join(EVENTS)
    assert served.consumption is not None
    assert served.consumption.tokens == TokenUsage(input=9, output=5)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": "m", "messages": []}),
        ("/v1/chat/completions", {"model": "m", "messages": [], "stream": False}),
        ("/v1/completions", {"model": "m", "prompt": "x", "stream": True}),
    ],
)
def test_no_other_call_is_touched(serve: Serve, path: str, body: Any) -> None:
    assert serve(path, body, "chat", Answer(b"{}", headers=[JSON])).sent == json.dumps(body).encode()


def test_of_a_first_event_that_comes_in_many_pieces_each_is_looked_at_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[int] = []
    taken_apart: list[bytes] = []

    def end_in(buffer: bytes, start: int = 0) -> int:
        looked_at.append(len(buffer) - start)
        return whole_events(buffer, start)

    def first_in(buffer: bytes) -> tuple[str | None, bytes] | None:
        taken_apart.append(buffer)
        return first_event(buffer)

    monkeypatch.setattr(native, "whole_events", end_in)
    monkeypatch.setattr(native, "first_event", first_in)
    signs, first = [b": wait\n\n"] * 50, chat_chunk("x" * 50_000)
    pieces = [first[place : place + 100] for place in range(0, len(first), 100)]
    body = {**CHAT, "stream_options": ASKED}
    served = serve("/v1/chat/completions", body, "chat", stream(*signs, *pieces, *EVENTS[1:]))
    assert served.body == b"".join([*signs, first, *EVENTS[1:]])
    # And once more in the end, to tell what is whole.
    assert sum(looked_at) <= 2 * len(served.body) + 3 * len(looked_at)
    assert b"".join(taken_apart) == b"".join([*signs, first])


def test_responses_tell_unasked(serve: Serve) -> None:
    body = {"model": "m", "input": "x", "stream": True}
    end = b'data: {"type":"response.completed","response":{"usage":{"input_tokens":9,"output_tokens":5}}}\n\n'
    served = serve("/v1/responses", body, "responses", stream(end))
    assert served.sent == json.dumps(body).encode()
    assert served.body == end
    assert served.consumption == Consumption(tokens=TokenUsage(input=9, output=5))


def test_a_site_can_have_nobody_asked(serve: Serve) -> None:
    served = serve("/v1/chat/completions", CHAT, "chat", stream(*EVENTS), asks_usage=False)
    assert served.sent == json.dumps(CHAT).encode()
    assert served.body == b"".join(EVENTS)


@pytest.mark.parametrize("pattern", [{"stream_usage": False}, {"tells_usage": True}])
def test_a_provider_that_refuses_the_option_or_tells_unasked_is_not_asked(
    snapshot: Snapshot, serve: Serve, pattern: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    capabilities = msgspec.structs.replace(snapshot.capabilities.of("chat", "", "m"), **pattern)
    monkeypatch.setattr(type(snapshot.capabilities), "of", lambda *names: capabilities)
    served = serve("/v1/chat/completions", CHAT, "chat", stream(*EVENTS))
    assert served.sent == json.dumps(CHAT).encode()
    assert served.body == b"".join(EVENTS)


def test_a_whole_answer_is_read(serve: Serve) -> None:
    answer = {"id": "c", "model": "gpt-x", "service_tier": "default", "usage": usage()}
    body = json.dumps(answer).encode()
    served = serve("/v1/chat/completions", {"model": "m"}, "chat", Answer(body, headers=[JSON]))
    assert served.body == body
    assert served.consumption == Consumption(
        tokens=TokenUsage(input=9, output=5), model="gpt-x", upstream_id="c", service_tier="default"
    )


ERRORS = [
    (
        {"error": {"message": "x", "type": "invalid_request_error", "code": "model_not_found"}},
        "model_not_found",
    ),
    ({"error": {"message": "x", "type": "invalid_request_error", "code": None}}, "invalid_request_error"),
    ({"type": "error", "error": {"type": "overloaded_error"}}, "overloaded_error"),
    ({"error": {"code": 400, "status": "INVALID_ARGUMENT"}}, "INVALID_ARGUMENT"),
    ([{"error": {"code": 400, "status": "INVALID_ARGUMENT"}}], "INVALID_ARGUMENT"),
    ({"code": "bad", "error": "text"}, "bad"),
    ({"error": {"code": 1234}}, "1234"),
    ({"detail": []}, ""),
    ("no object", ""),
]


@pytest.mark.parametrize(("error", "code"), ERRORS)
def test_an_error_used_nothing_and_its_code_is_noted(serve: Serve, error: Any, code: str) -> None:
    body = json.dumps(error).encode()
    length = (b"content-length", b"%d" % len(body))
    served = serve("/v1/chat/completions", {"model": "m"}, "chat", Answer(body, status=400, headers=[JSON, length]))
    assert served.body == body
    assert served.consumption is None
    assert served.meter.error_code == code


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_an_error_that_comes_as_the_first_event_used_nothing(serve: Serve, mark: bytes) -> None:
    event = b'data: {"error":{"message":"x","code":"server_error","type":"server_error"}}\n\n'
    served = serve("/v1/chat/completions", CHAT, "chat", stream(mark + event))
    assert json.loads(served.body)["error"]["message"] == "x"
    assert served.consumption is None
    assert served.meter.error_code == "server_error"


SHOUTED = [(b"content-type", b"Text/Event-Stream; Charset=UTF-8")]


def test_the_type_of_a_stream_may_be_written_in_any_way(serve: Serve) -> None:
    served = serve("/v1/chat/completions", CHAT, "chat", Answer(*EVENTS, headers=SHOUTED))
    assert served.body == b"".join([*EVENTS[:2], DONE])
    assert served.consumption == Consumption(
        tokens=TokenUsage(input=9, output=5), model="gpt-x", upstream_id="chatcmpl-1"
    )
    cut = serve("/v1/chat/completions", CHAT, "chat", Answer(EVENTS[0], headers=SHOUTED))
    assert b"ended before the answer was complete" in cut.body


def test_an_answer_without_a_body_used_nothing(serve: Serve) -> None:
    served = serve("/v1/files/f", {"model": "m"}, "chat", Answer(status=204))
    assert served.consumption == UNUSED


def test_a_caller_that_hangs_up_while_the_answer_is_awaited_used_its_prompt(snapshot: Snapshot) -> None:
    class Waiting(Answer):
        async def read(self, patience: float | None = None) -> bytes | None:
            await asyncio.Event().wait()
            return None

    async def leave() -> Meter:
        call = call_to("/v1/chat/completions", {**CHAT, "messages": "x" * 4000})
        meter = make_meter(call, HOLDER)
        task = asyncio.ensure_future(ask(meter, [Target("chat", "m")], snapshot, Scripted(Waiting(headers=[SSE]))))
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return meter

    listener = run(leave()).listener
    assert listener is not None
    consumption = listener.consumption()
    assert consumption is not None
    assert consumption.tokens.is_estimated
    assert 1000 < consumption.tokens.input < 1100
    assert not consumption.tokens.total_output
