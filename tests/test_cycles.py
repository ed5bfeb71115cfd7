"""An answer is written as uvicorn writes it, in fewer steps."""

from __future__ import annotations

import asyncio
import http
import logging
from collections.abc import Callable
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from ai_gateway.cycles import Cycle
from ai_gateway.gathering import GatheringTransport
from ai_gateway.guard import IS_WHOLE
from tests.test_gathering import Recorder

RequestResponseCycle = Cycle.__mro__[1]
"""uvicorn's own: by its name stands ours in uvicorn's module."""


def made(kind: type[Any], recorder: Recorder, *, method: str, keep_alive: bool, on_response: Callable[[], None]) -> Any:
    """Make a request as uvicorn makes it."""
    return kind(
        scope={"type": "http", "method": method},
        transport=GatheringTransport(recorder, asyncio.get_running_loop()),
        flow=FlowControl(recorder),
        logger=logging.getLogger("tests"),
        access_logger=logging.getLogger("tests"),
        access_log=False,
        default_headers=[(b"date", b"today")],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=on_response,
    )


class Sent:
    """What an application's messages led to."""

    def __init__(self, kind: type[Any], messages: list[Any], *, method: str, keep_alive: bool) -> None:
        self.writes: list[bytes] = []
        self.error = ""
        self.is_complete = self.is_closed = self.was_told = False
        asyncio.run(self._send(kind, messages, method, keep_alive))

    async def _send(self, kind: type[Any], messages: list[Any], method: str, keep_alive: bool) -> None:
        recorder = Recorder()
        cycle = made(kind, recorder, method=method, keep_alive=keep_alive, on_response=self._tell)
        try:
            for message in messages:
                await cycle.send(message)
        except (RuntimeError, ValueError, KeyError) as error:
            self.error = repr(error)
        await asyncio.sleep(0)
        self.writes = recorder.writes
        self.is_complete, self.is_closed = cycle.response_complete, recorder.is_closed
        self.is_awaited_more = cycle.message_event.is_set()

    def _tell(self) -> None:
        self.was_told = True

    @property
    def outcome(self) -> tuple[object, ...]:
        bytes_sent = b"".join(self.writes)
        return bytes_sent, self.error, self.is_complete, self.is_closed, self.was_told, self.is_awaited_more


def start(*headers: tuple[bytes, bytes], status: int = 200, **others: bool) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers), **others}


def body(data: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


FIVE = (b"content-length", b"5")

ANSWERS: dict[str, list[dict[str, Any]]] = {
    "whole": [start(FIVE), body(b"12345")],
    "in pieces with a length": [start(FIVE), body(b"12", more=True), body(b"345")],
    "in chunks": [start(), body(b"one", more=True), body(b"", more=True), body(b"two")],
    "in chunks, with an empty end": [start(), body(b"one", more=True), body()],
    "empty": [start((b"content-length", b"0")), body()],
    "without content": [start(status=204), body()],
    "not modified": [start(status=304), body()],
    "without content, with a body": [start(status=204), body(b"12345")],
    "a status of one's own": [start(FIVE, status=299), body(b"12345")],
    "no status": [start(FIVE, status=600), body(b"12345")],
    "too long": [start(FIVE), body(b"123456")],
    "too long in the end": [start(FIVE), body(b"123", more=True), body(b"456")],
    "too short": [start(FIVE), body(b"1234")],
    "several lengths": [start(FIVE, FIVE), body(b"12345")],
    "no length": [start((b"content-length", b"five")), body(b"12345")],
    "in capitals": [start((b"Content-Length", b"5"), (b"X-Name", b"Value")), body(b"12345")],
    "closed": [start(FIVE, (b"connection", b"close")), body(b"12345")],
    "chunked by the application": [start((b"transfer-encoding", b"chunked")), body(b"12345")],
    "twice the same": [start(FIVE, (b"set-cookie", b"a"), (b"set-cookie", b"b")), body(b"12345")],
    "a line break in a value": [start(FIVE, (b"x-name", b"a\r\nx-other: b")), body(b"12345")],
    "half a line break in a value": [start(FIVE, (b"x-name", b"a\nb"), (b"x-other", b"\r")), body(b"12345")],
    "a line break in a name": [start(FIVE, (b"x\r\nname", b"a")), body(b"12345")],
    "a colon in a name": [start(FIVE, (b"x:name", b"a")), body(b"12345")],
    "no letter in a name": [start(FIVE, (b"1-2", b"a")), body(b"12345")],
    "other control characters": [start(FIVE, (b"x-name", b"a\0b")), body(b"12345")],
    "letters beyond ASCII, and a tab": [start(FIVE, (b"x-name", b"\tgr\xfc\xdfe\xff")), body(b"12345")],
    "a body without a head": [body(b"12345")],
    "two heads": [start(FIVE), start(FIVE)],
    "more behind the end": [start(FIVE), body(b"12345"), body(b"6")],
    "another message behind the head": [start(FIVE), {"type": "http.response.trailers", "headers": []}],
    "whole, and said to be": [start(FIVE, **{IS_WHOLE: True}), body(b"12345")],
    "said to be whole, but in pieces": [start(FIVE, **{IS_WHOLE: True}), body(b"12", more=True), body(b"345")],
    "said to be whole, too short": [start(FIVE, **{IS_WHOLE: True}), body(b"1234")],
}


@pytest.mark.parametrize("keep_alive", [True, False], ids=["kept", "closing"])
@pytest.mark.parametrize("method", ["POST", "HEAD"])
@pytest.mark.parametrize("messages", ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_is_written_as_uvicorn_writes_it(messages: list[Any], method: str, keep_alive: bool) -> None:
    uvicorns = Sent(RequestResponseCycle, messages, method=method, keep_alive=keep_alive)
    assert Sent(Cycle, messages, method=method, keep_alive=keep_alive).outcome == uvicorns.outcome


@pytest.mark.parametrize("status", [*http.HTTPStatus])
def test_every_status_is_written_as_uvicorn_writes_it(status: int) -> None:
    messages = [start(FIVE, status=status), body(b"12345")]
    ours, uvicorns = (Sent(kind, messages, method="GET", keep_alive=True) for kind in (Cycle, RequestResponseCycle))
    assert ours.outcome == uvicorns.outcome


@pytest.mark.parametrize("name", ["whole", "whole, and said to be", "in pieces with a length", "in chunks"])
def test_the_usual_answers_are_not_left_to_uvicorn(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(RequestResponseCycle, "send", None)
    assert Sent(Cycle, ANSWERS[name], method="POST", keep_alive=True).is_complete


def test_a_stream_whose_caller_was_slow_once_goes_on_in_chunks() -> None:
    async def main() -> list[bytes]:
        recorder = Recorder()
        cycle = made(Cycle, recorder, method="POST", keep_alive=True, on_response=lambda: None)
        await cycle.send(start())
        await cycle.send(body(b"one", more=True))
        cycle.flow.pause_writing()
        sending = asyncio.ensure_future(cycle.send(body(b"two", more=True)))
        await asyncio.sleep(0)
        assert recorder.writes[-1].endswith(b"3\r\none\r\n")
        cycle.flow.resume_writing()
        await sending
        await cycle.send(body(b"three"))
        return recorder.writes

    assert b"".join(asyncio.run(main())).partition(b"\r\n\r\n")[2] == b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n"


def test_what_is_said_to_be_whole_is_one_write() -> None:
    sent = Sent(Cycle, ANSWERS["whole, and said to be"], method="POST", keep_alive=True)
    assert [write[-9:] for write in sent.writes] == [b"\r\n\r\n12345"]


def test_uvicorns_own_protocol_may_make_such_a_request() -> None:
    async def main() -> list[bytes]:
        recorder = Recorder()
        cycle = made(Cycle, recorder, method="POST", keep_alive=True, on_response=lambda: None)
        cycle.transport = recorder
        for message in ANSWERS["whole, and said to be"]:
            await cycle.send(message)
        return recorder.writes

    head, content = asyncio.run(main())
    assert (head[:15], content) == (b"HTTP/1.1 200 OK", b"12345")
