"""The head of an answer and the first of its body leave in one write; and how the server stops."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from ai_gateway import server
from ai_gateway.server import DrainingSocket, GatheringProtocol, GatheringTransport, Server, Supervisor
from tests.raw_client import RawConnection

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Recorder(asyncio.Transport):
    """Remembers what is written to it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1)})
        self.writes: list[bytes] = []
        self.is_closed = False
        self.is_cut = False
        self.unwritten: list[int] = []
        """How much is left to be written, at each look; nothing in the end."""

    def get_write_buffer_size(self) -> int:
        return self.unwritten.pop(0) if self.unwritten else 0

    def abort(self) -> None:
        self.is_cut = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


def write(*pieces: bytes | None, closes: bool = False) -> list[bytes]:
    """Write these pieces, None being a turn of the loop, and give what reached the socket."""

    async def main() -> list[bytes]:
        recorder = Recorder()
        transport = GatheringTransport(recorder, asyncio.get_running_loop())
        for piece in pieces:
            if piece is None:
                await asyncio.sleep(0)
            else:
                if piece.startswith(HEAD):
                    transport.expect_head()
                transport.write(piece)
        if closes:
            transport.close()
            assert transport.is_closing()
        await asyncio.sleep(0)
        return recorder.writes

    return asyncio.run(main())


def test_a_head_and_what_follows_at_once_are_one_write() -> None:
    assert write(HEAD, b"body", b"more") == [HEAD + b"body", b"more"]


def test_a_head_alone_leaves_in_the_same_turn_of_the_loop() -> None:
    assert write(HEAD, None, b"late") == [HEAD, b"late"]


@pytest.mark.parametrize(("unwritten", "is_cut"), [([], False), ([9, 5], False), ([9, 5, 2, 2], True), ([9, 9], True)])
def test_a_closed_connection_whose_caller_takes_nothing_more_is_cut(
    monkeypatch: pytest.MonkeyPatch, unwritten: list[int], is_cut: bool
) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.0)

    async def main() -> Recorder:
        recorder = Recorder()
        recorder.unwritten = unwritten
        GatheringTransport(recorder, asyncio.get_running_loop()).close()
        for _ in range(10):
            await asyncio.sleep(0)
        return recorder

    recorder = asyncio.run(main())
    assert (recorder.is_closed, recorder.is_cut, recorder.unwritten) == (True, is_cut, [])


def test_an_answer_without_a_body_leaves_before_the_connection_is_closed() -> None:
    assert write(HEAD, closes=True) == [HEAD]


def test_two_answers_in_a_row_keep_their_order() -> None:
    assert write(HEAD, b"one", HEAD, b"two") == [HEAD + b"one", HEAD + b"two"]


def test_an_informational_head_leaves_with_the_real_one() -> None:
    continued = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert b"".join(write(continued, HEAD, b"body")) == continued + HEAD + b"body"


def test_lines_do_not_overtake_a_head() -> None:
    async def main() -> list[bytes]:
        recorder = Recorder()
        transport = GatheringTransport(recorder, asyncio.get_running_loop())
        transport.write(HEAD)
        transport.writelines([b"one", b"two"])
        return recorder.writes

    assert b"".join(asyncio.run(main())) == HEAD + b"onetwo"


def test_everything_else_is_the_transports_own() -> None:
    async def main() -> object:
        return GatheringTransport(Recorder(), asyncio.get_running_loop()).get_extra_info("peername")

    assert asyncio.run(main()) == ("192.0.2.1", 1)


class Serving:
    """A server in a thread. Its application answers, and waits before the end of an answer until it may go on."""

    def __init__(self, application: Any = None) -> None:
        self.goes_on = threading.Event()
        options: dict[str, Any] = {"loop": "uvloop", "lifespan": "off", "interface": "asgi3", "log_config": None}
        self.server = Server(
            uvicorn.Config(application or self._application, port=0, http=GatheringProtocol, **options)
        )
        self._thread = threading.Thread(target=self.server.run)
        self._thread.start()
        while not self.server.started:
            assert self._thread.is_alive()
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await asyncio.to_thread(self.goes_on.wait, 10)
        await send({"type": "http.response.body", "body": b"last"})

    def stop(self) -> None:
        """Tell it to stop, and wait until the port is closed."""
        self.server.should_exit = True
        while any(server.sockets for server in self.server.servers):
            assert self._thread.is_alive()

    def join(self) -> None:
        self.goes_on.set()
        self.server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()


# What it makes of requests.


async def _tell(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what the application got."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    headers = sorted(f"{name.decode()}: {value.decode()}" for name, value in scope["headers"])
    told = json.dumps([scope["method"], scope["path"], headers, body.decode()]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(told))]})
    await send({"type": "http.response.body", "body": told})


@pytest.fixture
def telling() -> Iterator[Serving]:
    serving = Serving(_tell)
    yield serving
    serving.join()


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
    """More of them in one piece than functions can call one another."""
    with RawConnection(telling.port) as caller:
        caller.send((b"GET /a HTTP/1.1\r\nHost: x\r\n" + OFFER + b"\r\n") * 1200)
        for _ in range(1200):
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


# How it stops.


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    monkeypatch.setattr(server, "LINGER", 0.3)
    serving = Serving()
    yield serving
    serving.join()


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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux filters")
def test_who_has_connected_is_let_in_and_who_connects_is_overlooked() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as early:
        server.turn_away(listener)
        with pytest.raises(TimeoutError):
            socket.create_connection(listener.getsockname(), 0.1)
        accepted, _ = listener.accept()
        with accepted:
            early.sendall(b"hello")
            assert accepted.recv(5) == b"hello"


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
