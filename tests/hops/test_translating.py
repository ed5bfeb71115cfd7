"""Long requests are translated beside the event loop. Short ones, and what is passed on as it is, never leave it."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from ai_gateway import attempts, beside
from ai_gateway.calls import Target
from ai_gateway.errors import BadRequest, GatewayError
from ai_gateway.hops import counting, generation, rewriting
from ai_gateway.registry import Snapshot
from ai_gateway.relay import Stream
from tests.factories import JSON, Answer, Scripted, make_call, make_meter, run
from tests.hops.conftest import HOLDER, SSE, call_to

HERE = threading.current_thread().name
MESSAGES: list[Any] = [{"role": "user", "content": "Hello"}]
REFUSED = b'{"error": {"message": "no"}}'


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads that read or wrote a request, in order."""
    found: list[str] = []

    def note(module: Any, name: str) -> None:
        work = getattr(module, name)

        def noted(*args: Any, **kwargs: Any) -> Any:
            found.append(threading.current_thread().name)
            return work(*args, **kwargs)

        monkeypatch.setattr(module, name, noted)

    for module in (generation, counting, rewriting):
        note(module, "read_object")
    note(generation, "write_request")
    return found


def sent(snapshot: Snapshot, to: str, path: str, body: Any, *, continues: bool = False) -> Any:
    """Ask a provider, and give the bodies that it got."""
    call = call_to(path, body)
    meter, transport = make_meter(call, HOLDER), Scripted(Answer(REFUSED, status=400, headers=[JSON]))
    meter.continues_streams = continues
    try:
        run(attempts.ask(meter, [Target(to, "m")], snapshot, transport))
    except GatewayError as error:
        assert error.status == 400  # noqa: PT017 - the provider's.
    return [request.body for request in transport.requests]


def long(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "messages": [*MESSAGES, {"role": "user", "content": "." * beside.LONG}]}


CHAT, COUNT = "/v1/chat/completions", "/v1/messages/count_tokens"


@pytest.mark.parametrize(
    ("to", "path", "continues", "steps"),
    [
        ("messages", CHAT, False, 2),
        ("google", CHAT, False, 2),
        ("google", COUNT, False, 1),
        ("chat", CHAT, True, 1),
        ("chat", CHAT, False, 0),
    ],
    ids=["a translation", "another one", "a count", "a stream that may go on elsewhere", "nothing to translate"],
)
def test_only_what_is_long_and_translated_is_done_by_another_thread(
    snapshot: Snapshot, threads: list[str], to: str, path: str, continues: bool, steps: int
) -> None:
    body = {"model": "m", "messages": MESSAGES, "stream": True}
    assert len(sent(snapshot, to, path, body, continues=continues)) == 1
    on_the_loop = len(threads)
    assert {*threads} <= {HERE}
    threads.clear()
    assert len(sent(snapshot, to, path, long(body), continues=continues)) == 1
    assert [name.startswith("ai-gateway-texts") for name in threads] == [True] * steps
    assert on_the_loop <= steps  # What only an answer needs is read when there is one.


@pytest.mark.parametrize("to", ["responses", "messages", "google", "converse"])
def test_the_request_is_the_same_wherever_it_was_made(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    said = [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "call_1", "content": "ok"}]
    body = {"model": "m", "messages": [*MESSAGES, *said], "tools": [tool]}
    [here] = sent(snapshot, to, CHAT, body)
    monkeypatch.setattr(beside, "LONG", 1)
    assert sent(snapshot, to, CHAT, body) == [here]


@pytest.mark.parametrize("body", [{"model": "m", "messages": "none"}, {"model": "m", "messages": [{"role": "x"}]}])
def test_a_long_request_that_cannot_be_read_is_refused_like_a_short_one(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, body: Any
) -> None:
    def refusal() -> tuple[str, str | None]:
        call = call_to(CHAT, body)
        with pytest.raises(BadRequest) as raised:
            run(attempts.ask(make_meter(call, HOLDER), [Target("messages", "m")], snapshot, Scripted()))
        return raised.value.message, raised.value.param

    here = refusal()
    monkeypatch.setattr(beside, "LONG", 1)
    assert refusal() == here


def test_a_caller_that_leaves_while_its_request_is_read_is_asked_for_no_more(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_go_on = threading.Event(), threading.Event()

    def slowly(body: bytes) -> Any:
        begun.set()
        assert may_go_on.wait(20)
        return json.loads(body)

    async def leave() -> None:
        asking = asyncio.ensure_future(attempts.ask(meter, [Target("messages", "m")], snapshot, transport))
        assert await asyncio.to_thread(begun.wait, 20)
        asking.cancel()
        await asyncio.wait((asking,))
        assert asking.cancelled()

    monkeypatch.setattr(beside, "LONG", 1)
    monkeypatch.setattr(generation, "read_object", slowly)
    call = call_to(CHAT, {"model": "m", "messages": MESSAGES})
    meter, transport = make_meter(call, HOLDER), Scripted()
    try:
        run(leave())
    finally:
        may_go_on.set()
    assert (transport.requests, meter.attempts) == ([], 0)


@pytest.mark.parametrize("body", [b'{"messages": "none"}', b'{"messages": []}'])
def test_a_stream_that_is_not_understood_is_passed_on_and_not_gone_on_with(snapshot: Snapshot, body: bytes) -> None:
    call = make_call(CHAT, JSON, body=body, model="m", stream=True)
    meter, transport = make_meter(call, HOLDER), Scripted(Answer(b"data: {}\n\n", headers=[SSE]))
    meter.continues_streams = True
    reply = run(attempts.ask(meter, [Target("chat", "m")], snapshot, transport))
    assert isinstance(reply.body, Stream)
