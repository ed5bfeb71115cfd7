"""What is made of requests, and how the server stops."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import threading
import time
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http import httptools_impl

from ai_gateway import server
from ai_gateway.cycles import Cycle
from ai_gateway.server import DrainingSocket, Supervisor
from tests.raw_client import RawConnection, write_request
from tests.serving import Serving, tell

# What it makes of requests.


def test_uvicorn_makes_requests_of_ours() -> None:
    assert httptools_impl.RequestResponseCycle is Cycle
    assert "RequestResponseCycle" in httptools_impl.HttpToolsProtocol.on_headers_complete.__code__.co_names


OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAA\r\n"
LENGTH = b"Content-Length: 4\r\n\r\n"
CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("pause", [0.0, 0.1], ids=["at once", "head first"])
@pytest.mark.parametrize(
    ("framing", "body", "told"),
    [(LENGTH, b"body", "content-length: 4"), (CHUNKS, b"4\r\nbody\r\n0\r\n\r\n", "transfer-encoding: chunked")],
    ids=["length", "chunks"],
)
def test_an_offer_of_another_protocol_is_declined(
    telling: Serving, framing: bytes, body: bytes, told: str, pause: float
) -> None:
    with RawConnection(telling.port) as caller:
        for path in ("/first", "/second"):
            caller.send(b"POST %b HTTP/1.1\r\nHost: x\r\n" % path.encode() + OFFER + framing)
            time.sleep(pause)
            caller.send(body)
            expected = ["POST", path, sorted(["connection: ", "host: x", told]), "body"]
            assert json.loads(caller.read_answer().body) == expected


def test_what_else_an_offering_client_says_of_its_connection_is_heard(telling: Serving) -> None:
    with RawConnection(telling.port) as caller:
        caller.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + OFFER + b"\r\n")
        assert caller.read_answer().is_last
        assert caller.read_to_end() == b""


def test_offers_are_declined_one_after_the_other(telling: Serving) -> None:
    with RawConnection(telling.port) as caller:
        caller.send((b"GET /a HTTP/1.1\r\nHost: x\r\n" + OFFER + b"\r\n") * 100)
        for _ in range(100):
            assert json.loads(caller.read_answer().body)[1] == "/a"


@pytest.mark.parametrize("pause", [0.0, 0.1], ids=["at once", "head first"])
def test_trailers_are_no_headers(telling: Serving, pause: float) -> None:
    with RawConnection(telling.port) as caller:
        for _ in range(2):
            caller.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + CHUNKS)
            time.sleep(pause)
            caller.send(b"4\r\nbody\r\n0\r\nX-Provider: y\r\nHost: z\r\n\r\n")
            expected = ["POST", "/", ["host: x", "transfer-encoding: chunked"], "body"]
            assert json.loads(caller.read_answer().body) == expected


@pytest.mark.parametrize(
    "start",
    [
        b"GET /",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ",
        b"POST / HTTP/1.1\r\nHost: x\r\n" + CHUNKS + b"4\r\nbody\r\n0\r\nX-Long: ",
    ],
    ids=["target", "header", "trailer"],
)
def test_a_head_without_an_end_is_refused(telling: Serving, start: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The parser would hold all of it, and copy it with every piece that comes."""
    assert refusal(telling, start, b"x" * 65536) in (b"", b"HTTP/1.1 400 ")
    assert "head of the request is too long" in caplog.text


@pytest.mark.parametrize(
    "start",
    [b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST / HTTP/1.1\r\nHost: x\r\n" + CHUNKS + b"4\r\nbody\r\n0\r\n"],
    ids=["headers", "trailers"],
)
def test_so_are_headers_without_an_end(telling: Serving, start: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert refusal(telling, start, b"a: b\r\n" * 10_000) in (b"", b"HTTP/1.1 400 ")
    assert "head of the request is too long" in caplog.text


def refusal(serving: Serving, start: bytes, piece: bytes) -> bytes:
    """Send a start, and a piece after the other for as long as they are taken. Gives how the answer begins; nothing, if
    it was lost with pieces that were not read."""
    with RawConnection(serving.port) as caller:
        caller.send(start)
        with contextlib.suppress(ConnectionError):
            for _ in range(500):
                caller.send(piece)
        return caller.read_to_end()[:13]


def test_a_head_in_pieces_and_a_long_body_behind_it_are_taken(telling: Serving) -> None:
    piece = b"a" * 10_000
    with RawConnection(telling.port) as caller:
        for _ in range(2):
            caller.send(b"POST / HTTP/1.1\r\nHost: x\r\nX-Long: ")
            for _ in range(40):
                caller.send(piece)
            caller.send(b"\r\n" + CHUNKS)
            for _ in range(150):
                caller.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            caller.send(b"0\r\n\r\n")
            assert len(json.loads(caller.read_answer().body)[3]) == 150 * len(piece)


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.mark.parametrize(
    ("rest", "status"),
    [
        (b"X-Long: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"X: y\r\n" * 200 + b"\r\n", 431),
        (b"Content-Length: 4\r\n\r\nbody", 400),
    ],
    ids=["long header", "many headers", "body"],
)
def test_a_handshake_that_cannot_be_read_is_answered(telling: Serving, rest: bytes, status: int) -> None:
    with RawConnection(telling.port) as caller:
        caller.send(HANDSHAKE + rest)
        assert caller.read_answer().status == status
        assert caller.read_to_end() == b""


def test_no_connection_becomes_a_websocket_while_a_request_is_answered(serving: Serving) -> None:
    """What it said would stand between what is left of the answer, whose request would never hear of a hang-up."""
    with RawConnection(serving.port) as caller:
        caller.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + HANDSHAKE + b"\r\n")
        serving.goes_on.set()
        for _ in range(2):
            assert caller.read_answer().body == b"firstlast"


def test_nor_by_a_request_that_opens_none(telling: Serving) -> None:
    with RawConnection(telling.port) as caller:
        caller.send(HANDSHAKE.replace(b"GET", b"POST") + LENGTH + b"body")
        assert json.loads(caller.read_answer().body)[::3] == ["POST", "body"]


@pytest.mark.parametrize("answered", [0, 1])
def test_a_request_hears_of_a_hang_up_though_others_wait_behind_it(answered: int) -> None:
    is_told = threading.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/answered":
            await tell(scope, receive, send)
            return
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        assert (await receive())["type"] == "http.disconnect"
        is_told.set()

    serving = Serving(application)
    try:
        with RawConnection(serving.port) as caller:
            paths = [*(["/answered"] * answered), "/asked", "/waits", "/waits"]
            caller.send(b"".join(write_request("GET", path) for path in paths))
            for _ in range(answered):
                caller.read_answer()
            caller.read_head()
        assert is_told.wait(10)
    finally:
        serving.join()


# What comes behind a request.


GARBAGE = {
    "no HTTP": b"\0\0\0\r\n\r\n",
    "no target": b"GET \xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "no chunk": b"POST / HTTP/1.1\r\nHost: x\r\n" + CHUNKS + b"4\r\nbody\r\nno chunk\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n" + LENGTH + b"body",
    "a head without an end": b"GET / HTTP/1.1\r\nX-Long: " + b"x" * (server.LONGEST_HEAD + 1),
}


@pytest.mark.parametrize("requests", [1, 2, 3])
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_what_came_before_garbage_is_answered(serving: Serving, garbage: bytes, requests: int) -> None:
    with RawConnection(serving.port) as caller:
        caller.send(write_request("GET", "/") * requests)
        with contextlib.suppress(ConnectionError):
            caller.send(garbage)
            caller.send(b"and more of it")
        serving.goes_on.set()
        for _ in range(requests):
            assert caller.read_answer().body == b"firstlast"
        refused = caller.read_answer()
        assert (refused.status, refused.is_last) == (400, True)
        assert caller.read_to_end() == b""


def test_behind_an_answer_that_is_the_last_comes_nothing(serving: Serving) -> None:
    with RawConnection(serving.port) as caller:
        caller.send(write_request("GET", "/", [("connection", "close")]) + GARBAGE["no HTTP"])
        serving.goes_on.set()
        assert caller.read_answer().body == b"firstlast"
        assert caller.read_to_end() == b""


def test_an_answer_to_a_request_that_turns_out_to_be_garbage_is_broken_off(serving: Serving) -> None:
    """Another answer in the middle of it would be taken for a part of it."""
    with RawConnection(serving.port) as caller:
        caller.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + CHUNKS)
        caller.read_head()
        assert caller.read_chunk() == b"first"
        caller.send(b"no chunk\r\n")
        assert caller.read_to_end() == b""


def test_no_more_requests_wait_than_may(serving: Serving) -> None:
    with RawConnection(serving.port) as caller:
        caller.send(write_request("GET", "/") * (server.MOST_WAITING + 50))
        serving.goes_on.set()
        for _ in range(1 + server.MOST_WAITING):
            assert caller.read_answer().body == b"firstlast"
        refused = caller.read_answer()
        assert (refused.status, refused.is_last) == (400, True)
        assert b"Send fewer" in refused.body


def test_while_requests_wait_no_more_are_read(serving: Serving) -> None:
    """uvicorn would read on with each answer, and faster than it answers."""
    most = server.MOST_WAITING * 2 // 3
    with RawConnection(serving.port) as caller:
        caller.send(write_request("GET", "/") * most)
        caller.read_head()
        caller.send(write_request("GET", "/") * most)
        serving.goes_on.set()
        assert b"".join(caller.chunks()) == b"firstlast"
        for _ in range(2 * most - 1):
            assert caller.read_answer().body == b"firstlast"


@pytest.mark.parametrize(("version", "is_told"), [(b"1.0", False), (b"1.1", True)])
def test_who_speaks_http_1_0_is_not_told_to_continue(telling: Serving, version: bytes, is_told: bool) -> None:
    with RawConnection(telling.port) as caller:
        caller.send(b"POST / HTTP/%b\r\nHost: x\r\nExpect: 100-continue\r\n" % version + LENGTH)
        if is_told:
            assert caller.read_head().status == 100
        caller.send(b"body")
        assert json.loads(caller.read_answer().body)[3] == "body"


# How it stops.


def test_a_connection_that_was_promised_to_stay_open_serves_once_more(serving: Serving) -> None:
    """Its answer's head had left before the server was told to stop. The next one's says that it is the last."""
    with RawConnection(serving.port) as caller:
        caller.request("GET", "/")
        assert not caller.read_head().is_last
        serving.stop()
        serving.goes_on.set()
        assert b"".join(caller.chunks()) == b"firstlast"
        caller.request("GET", "/")
        assert caller.read_answer().is_last
        assert caller.read_to_end() == b""


def test_a_connection_where_nothing_more_comes_is_closed_soon(serving: Serving) -> None:
    with RawConnection(serving.port) as caller:
        serving.goes_on.set()
        caller.request("GET", "/")
        caller.read_answer()
        serving.stop()
        assert caller.read_to_end() == b""


def test_the_port_of_several_workers_is_closed_before_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have it open as well. Here are none, so nobody can connect any more."""
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        supervisor = Supervisor(uvicorn.Config("nothing:at_all", workers=2), [listener], delay=0.0)
        supervisor.terminate_all()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, 5)


def test_nothing_is_logged_of_a_websocket_but_what_goes_wrong(caplog: pytest.LogCaptureFixture) -> None:
    """uvicorn logs its query, and at the level of debugging its headers and messages, as the library does."""
    caplog.set_level(logging.DEBUG)

    async def main() -> None:
        config = uvicorn.Config("ai_gateway.asgi:application", interface="asgi3", log_config=None)
        config.loaded, config.loaded_app = True, None
        protocol = DrainingSocket(config, uvicorn.server.ServerState(), {})
        for logger in (protocol.logger, protocol.conn.logger):
            logger.info("canary")
            logger.warning("something is wrong")

    asyncio.run(main())
    assert {record.getMessage() for record in caplog.records} >= {"something is wrong"}
    assert "canary" not in caplog.text
