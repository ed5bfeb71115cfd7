"""How answers are written, what is made of requests, and how the server stops."""

from __future__ import annotations

import asyncio
import contextlib
import http
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.flow_control import FlowControl

from ai_gateway import server
from ai_gateway.gathering import GatheringTransport
from ai_gateway.guard import IS_WHOLE
from ai_gateway.server import Cycle, DrainingSocket, GatheringProtocol, Server, Supervisor
from tests.raw_client import RawConnection, write_request
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


def test_uvicorn_makes_requests_of_ours() -> None:
    assert httptools_impl.RequestResponseCycle is Cycle
    assert "RequestResponseCycle" in httptools_impl.HttpToolsProtocol.on_headers_complete.__code__.co_names


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


class Serving:
    """A server in a thread. Its application answers, and waits before the end of an answer until it may go on."""

    def __init__(self, application: Any = None) -> None:
        self.goes_on = threading.Event()
        options: dict[str, Any] = {"loop": "uvloop", "lifespan": "off", "interface": "asgi3", "log_config": None}
        self.server = Server(
            uvicorn.Config(
                application or self._application, port=0, http=GatheringProtocol, ws=DrainingSocket, **options
            )
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
    assert "its head is too long" in caplog.text


@pytest.mark.parametrize(
    "start",
    [b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST / HTTP/1.1\r\nHost: x\r\n" + CHUNKS + b"4\r\nbody\r\n0\r\n"],
    ids=["headers", "trailers"],
)
def test_so_are_headers_without_an_end(telling: Serving, start: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert refusal(telling, start, b"a: b\r\n" * 10_000) in (b"", b"HTTP/1.1 400 ")
    assert "its head is too long" in caplog.text


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
            await _tell(scope, receive, send)
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
