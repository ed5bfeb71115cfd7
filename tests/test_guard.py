"""Bodies within limits, callers that hang up or take nothing, and answers for HTTP/1.0."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ai_gateway import guard as guard_module
from ai_gateway.calls import Reply, ReplyBody
from ai_gateway.errors import BodyTooLarge, ClientDisconnected, GatewayError, RequestTimeout
from ai_gateway.guard import WATCH_INTERVAL, Guard, Message, Watch, unchunked
from tests.factories import make_arrival, run

Script = list[Message]


def piece(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


GONE: Message = {"type": "http.disconnect"}


class Server:
    """What a server gives to an application: messages by a script, then silence; and a record of what was sent."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)
        self.sent: Script = []

    async def receive(self) -> Message:
        if not self.messages:
            await asyncio.Event().wait()
        return self.messages.pop(0)

    async def send(self, message: Message) -> None:
        self.sent.append(message)


class Empty(ReplyBody):
    """A stream that is over at once."""

    is_broken = False

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    async def aclose(self) -> None:
        pass


def guarded(server: Server, body: Callable[[Guard], Awaitable[Any]]) -> Any:
    """Run something under a guard that is watched."""

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        guard, watch = Guard(server.receive, server.send, loop, send_timeout=0.1), Watch(loop)
        watch.begin(guard.watched())
        try:
            return await body(guard)
        finally:
            watch.end(guard)

    return run(main())


def test_a_body_is_read_to_its_end() -> None:
    server = Server(piece(b"one", more=True), piece(b"two"))
    assert guarded(server, lambda guard: guard.read(100, 5)) == b"onetwo"


def test_a_body_over_the_limit_is_refused_at_once() -> None:
    server = Server(piece(b"x" * 60, more=True), piece(b"x" * 60, more=True))
    with pytest.raises(BodyTooLarge):
        guarded(server, lambda guard: guard.read(100, 5))


def test_a_body_that_does_not_come_is_refused_in_time() -> None:
    with pytest.raises(RequestTimeout):
        guarded(Server(piece(b"one", more=True)), lambda guard: guard.read(100, 0.1))


def test_a_caller_that_leaves_in_the_body_is_gone() -> None:
    with pytest.raises(ClientDisconnected):
        guarded(Server(piece(b"one", more=True), GONE), lambda guard: guard.read(100, 5))


def test_pieces_come_one_by_one_within_the_limit() -> None:
    async def collect(guard: Guard) -> list[bytes]:
        return [part async for part in guard.pieces(6, 5)]

    messages = [piece(b"one", more=True), piece(b"", more=True), piece(b"two")]
    assert guarded(Server(*messages), collect) == [b"one", b"two"]
    with pytest.raises(BodyTooLarge):
        guarded(Server(*messages[:2], piece(b"three")), collect)


def test_a_caller_that_hangs_up_cancels_the_call() -> None:
    async def serve(guard: Guard) -> bool:
        await guard.read(100, 5)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(10)
        return guard.is_gone

    assert guarded(Server(piece(b""), GONE), serve)


def test_a_caller_that_takes_nothing_cancels_the_call() -> None:
    class Full(Server):
        async def send(self, message: Message) -> None:
            await asyncio.Event().wait()

    async def serve(guard: Guard) -> bool:
        with pytest.raises(asyncio.CancelledError):
            await guard.send({"type": "http.response.start"})
        return guard.is_gone

    assert guarded(Full(), serve)


def test_a_caller_that_does_not_take_the_end_of_a_stream_cancels_the_call() -> None:
    class FullInTheEnd(Server):
        async def send(self, message: Message) -> None:
            if message.get("body") == b"":
                await asyncio.Event().wait()

    async def serve(guard: Guard) -> bool:
        with pytest.raises(asyncio.CancelledError):
            await guard.reply(Reply(status=200, headers=[], body=Empty()), make_arrival())
        return guard.is_gone

    assert guarded(FullInTheEnd(), serve)


def test_a_call_that_is_ended_before_its_answer_begins_is_cancelled() -> None:
    async def serve(guard: Guard) -> bool:
        guard.end(BodyTooLarge("enough"))
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(10)
        return guard.is_gone

    assert not guarded(Server(), serve)


def test_a_call_that_is_ended_when_its_answer_has_begun_goes_on() -> None:
    async def serve(guard: Guard) -> bool:
        await guard.send({"type": "http.response.start"})
        guard.end(BodyTooLarge("enough"))
        await asyncio.sleep(0)
        return True

    assert guarded(Server(), serve)


def test_a_caller_that_takes_nothing_when_calls_are_ended_has_no_more_time() -> None:
    class Full(Server):
        async def send(self, message: Message) -> None:
            if "body" in message:
                await asyncio.Event().wait()

    async def main() -> bool:
        loop, server = asyncio.get_running_loop(), Full()
        guard, watch = Guard(server.receive, server.send, loop, send_timeout=60.0), Watch(loop)
        watch.begin(guard.watched())
        await guard.send({"type": "http.response.start"})
        loop.call_soon(watch.end_calls, GatewayError("enough"))
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(5):
                await guard.send({"type": "http.response.body", "body": b"x"})
        watch.end(guard)
        return guard.is_gone

    assert run(main())


SHORT = {b"content-length": b"6"}


@pytest.mark.parametrize(("fields", "body"), [(SHORT, [piece(b"one", more=True), piece(b"two")]), ({}, [piece(b"")])])
def test_a_caller_that_hangs_up_while_it_waits_for_its_turn_is_cancelled(
    fields: dict[bytes, bytes], body: Script
) -> None:
    async def serve(guard: Guard) -> bool:
        with pytest.raises(asyncio.CancelledError), guard.waiting(fields):
            await asyncio.sleep(10)
        return guard.is_gone

    assert guarded(Server(*body, GONE), serve)


def test_a_body_that_came_while_its_caller_waited_is_read_afterwards() -> None:
    async def serve(guard: Guard) -> bytes:
        with guard.waiting(SHORT):
            await asyncio.sleep(WATCH_INTERVAL * 1.5)
        assert not server.messages
        return await guard.read(100, 5)

    server = Server(piece(b"one", more=True), piece(b"two"))
    assert guarded(server, serve) == b"onetwo"


@pytest.mark.parametrize(
    "fields",
    [{b"content-length": b"100000"}, {b"transfer-encoding": b"chunked"}, {**SHORT, b"expect": b"100-continue"}],
)
def test_a_body_that_may_never_be_wanted_is_not_received_while_its_caller_waits(fields: dict[bytes, bytes]) -> None:
    async def serve(guard: Guard) -> int:
        with guard.waiting(fields):
            await asyncio.sleep(WATCH_INTERVAL * 1.5)
        return len(server.messages)

    server = Server(piece(b"one"))
    assert guarded(server, serve) == 1


def test_what_comes_after_the_last_message_is_no_news_of_the_caller() -> None:
    async def serve(guard: Guard) -> bool:
        await guard.next()
        await guard.finish({"type": "http.response.body", "body": b""})
        await asyncio.sleep(WATCH_INTERVAL * 1.5)
        return guard.is_gone

    assert not guarded(Server(piece(b""), GONE), serve)


def test_an_answer_before_the_body_is_read_closes_the_connection_after_reading_on() -> None:
    server = Server(piece(b"x" * 10, more=True), piece(b"x"))
    arrival = make_arrival("/v1/files", (b"transfer-encoding", b"chunked"))
    reply = Reply(status=413, headers=[], body=b"no")
    guarded(server, lambda guard: guard.reply(reply, arrival))
    assert server.sent[0]["headers"] == [(b"connection", b"close")]
    assert [message["body"] for message in server.sent[1:]] == [b"no", b""]
    assert not server.messages


def refused(error: GatewayError) -> Reply:
    return Reply(status=error.status, headers=[(b"content-length", b"2")], body=b"no")


def test_http_1_0_gets_an_answer_with_a_length_as_it_comes() -> None:
    server = Server()
    start: Message = {"type": "http.response.start", "status": 200, "headers": [(b"Content-Length", b"6")]}
    first: Message = {"type": "http.response.body", "body": b"one", "more_body": True}

    async def main() -> None:
        send = unchunked(server.send, refused)
        for message in (start, first):
            await send(message)

    run(main())
    assert server.sent == [start, first]


def test_http_1_0_gets_a_length_in_place_of_chunks() -> None:
    server = Server()

    async def main() -> None:
        send = unchunked(server.send, refused)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"1")]})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        assert not server.sent
        await send({"type": "http.response.body", "body": b"two"})

    run(main())
    assert server.sent[0]["headers"] == [(b"x", b"1"), (b"content-length", b"6")]
    assert server.sent[1]["body"] == b"onetwo"


def test_an_answer_that_is_too_long_to_be_given_a_length_is_refused_and_read_no_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Endless(Empty):
        """A body that never ends."""

        read = 0

        async def __anext__(self) -> bytes:
            self.read += 1
            return b"x" * 100

    async def serve(guard: Guard) -> None:
        guard.give_lengths(refused)
        await guard.reply(Reply(status=200, headers=[], body=body), make_arrival())

    monkeypatch.setattr(guard_module, "MOST_HELD", 1000)
    server, body = Server(), Endless()
    with pytest.raises(ClientDisconnected):
        guarded(server, serve)
    assert body.read == 11
    assert [message.get("status") for message in server.sent] == [505, None]
    assert server.sent[1]["body"] == b"no"
