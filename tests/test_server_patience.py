"""How long the server waits for callers: for a head, for a request, and for those that take nothing."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from django.test import override_settings

from ai_gateway.server import DrainingSocket
from tests.raw_client import PATIENCE, RawConnection, write_request
from tests.serving import Serving, tell
from tests.test_gathering import Recorder
from tests.test_server import HANDSHAKE, LENGTH

SOON = 0.2
"""Seconds in which a head must be whole, or for which an idle connection stays open, where a test waits for that."""


@pytest.fixture
def hasty() -> Iterator[None]:
    with override_settings(AI_GATEWAY={"HEAD_TIMEOUT": SOON}):
        yield


def trickle(caller: RawConnection, data: bytes) -> None:
    """Send a byte after the other, and the last one again and again, until something comes back or it is over."""
    caller.socket.settimeout(SOON / 10)
    for byte in itertools.chain(data, itertools.repeat(data[-1])):
        with contextlib.suppress(ConnectionError):
            caller.send(bytes((byte,)))
        with contextlib.suppress(TimeoutError):
            caller.buffer += caller.receive()
            break
    caller.socket.settimeout(PATIENCE)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("answered", [0, 1])
@pytest.mark.parametrize(
    "start", [b"GET / HTTP/1.1\r\nX-Long: x", HANDSHAKE + b"X-Long: x"], ids=["request", "handshake"]
)
def test_a_head_that_is_not_whole_in_time_is_refused(telling: Serving, start: bytes, answered: int) -> None:
    with RawConnection(telling.port) as caller:
        for _ in range(answered):
            caller.request("GET", "/")
            caller.read_answer()
        trickle(caller, start)
        refused = caller.read_answer()
        assert (refused.status, refused.is_last) == (408, True)
        assert caller.read_to_end() == b""


@pytest.mark.usefixtures("hasty")
def test_the_time_of_a_head_begins_when_the_request_before_it_is_answered(serving: Serving) -> None:
    with RawConnection(serving.port) as caller:
        caller.send(write_request("GET", "/") + b"GET")
        caller.read_head()
        time.sleep(2 * SOON)
        serving.goes_on.set()
        assert b"".join(caller.chunks()) == b"firstlast"
        assert caller.read_answer().status == 408


@pytest.mark.usefixtures("hasty")
def test_a_body_has_the_time_that_the_application_gives_it() -> None:
    serving = Serving(tell, timeout_keep_alive=SOON)
    try:
        with RawConnection(serving.port) as caller:
            caller.send(b"POST / HTT")
            caller.send(b"P/1.1\r\nHost: x\r\n" + LENGTH)
            for piece in (b"bo", b"dy"):
                time.sleep(2 * SOON)
                caller.send(piece)
            assert json.loads(caller.read_answer().body)[3] == "body"
    finally:
        serving.join()


@pytest.mark.parametrize("sent", [b"", b"\r\n"], ids=["nothing", "empty lines"])
def test_a_connection_on_which_no_request_comes_is_closed(sent: bytes) -> None:
    serving = Serving(tell, timeout_keep_alive=SOON)
    try:
        with RawConnection(serving.port) as caller:
            if sent:
                trickle(caller, sent)
            assert caller.read_to_end() == b""
    finally:
        serving.join()


def test_so_is_one_on_which_the_rest_of_a_body_does_not_end() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    serving = Serving(application, timeout_keep_alive=SOON)
    try:
        with RawConnection(serving.port) as caller:
            caller.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
            assert caller.read_answer().status == 200
            trickle(caller, b"x")
            assert caller.read_to_end() == b""
    finally:
        serving.join()


@pytest.mark.usefixtures("hasty")
def test_a_websocket_whose_handshake_came_in_pieces_stays_open() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await tell(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        await asyncio.sleep(2 * SOON)
        await send({"type": "websocket.send", "text": "still here"})
        await receive()

    serving = Serving(application, timeout_keep_alive=SOON)
    try:
        with RawConnection(serving.port) as caller:
            caller.request("GET", "/")
            caller.read_answer()
            caller.send(HANDSHAKE)
            time.sleep(SOON / 4)
            caller.send(b"\r\n")
            assert caller.read_head().status == 101
            assert caller.read_exactly(12) == b"\x81\x0astill here"
    finally:
        serving.join()


def test_a_caller_that_takes_no_answers_to_its_pings_gets_that_to_the_last() -> None:
    """Whoever pings faster than it reads would fill the memory."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        is_open.set()
        await receive()

    is_open = asyncio.Event()

    async def main() -> list[bytes]:
        config = uvicorn.Config(application, interface="asgi3", log_config=None)
        config.load()
        recorder = Recorder()
        protocol = DrainingSocket(config, uvicorn.server.ServerState(), {})
        protocol.connection_made(recorder)
        protocol.data_received(HANDSHAKE + b"\r\n")
        await is_open.wait()
        del recorder.writes[:]
        protocol.data_received(ping(b"first"))
        protocol.pause_writing()
        protocol.data_received(ping(b"second") + ping(b"third"))
        protocol.data_received(ping(b"fourth"))
        written_meanwhile = len(recorder.writes)
        protocol.resume_writing()
        protocol.pause_writing()
        protocol.resume_writing()
        protocol.connection_lost(None)
        assert written_meanwhile == 1
        return recorder.writes

    assert asyncio.run(main()) == [b"\x8a\x05first", b"\x8a\x06fourth"]


def ping(data: bytes) -> bytes:
    """Write a ping as callers do, with a mask, which changes nothing here."""
    return bytes((0x89, 0x80 | len(data))) + bytes(4) + data
