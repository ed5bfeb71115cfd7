"""One connection by itself, on a socket that is none and by a clock that the test sets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ai_gateway.calls import Origin, Timeouts, UpstreamRequest
from ai_gateway.errors import BadRequest, UpstreamClosed, UpstreamProtocolError, UpstreamTimeout
from ai_gateway.transports.connection import MAX_HEAD, SMALL_BODY, Connection, StaleConnection, write_head
from ai_gateway.transports.exchange import Exchange
from tests.transports.test_fuzz import FakeSocket
from tests.upstream import PATIENCE


class ClockedLoop:
    """The running event loop with another clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self._loop = asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def time(self) -> float:
        return self.now


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_the_time_for_an_answer_counts_from_the_last_piece_of_the_request() -> None:
    async def main() -> None:
        loop: Any = ClockedLoop()
        connection = Connection(loop, lambda _: None, lambda _: None)
        connection.connection_made(FakeSocket())
        pieces: asyncio.Queue[bytes] = asyncio.Queue()

        async def body() -> AsyncIterator[bytes]:
            while True:
                yield await pieces.get()

        sent = UpstreamRequest(
            method="POST", origin=Origin("http", "upstream.test", 80), target=b"/", headers=[], body=body()
        )
        sending = asyncio.ensure_future(connection.send(sent, Timeouts(first_byte=10)))
        for now in (8.0, 16.0, 24.0):
            await turns()
            loop.now = now
            pieces.put_nowait(b"piece")
            await turns()
            connection.look_at_clock(now + 9)
            await turns()
            assert not sending.done()
        connection.look_at_clock(35.0)
        with pytest.raises(UpstreamTimeout):
            await sending

    asyncio.run(main())


WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def a_request() -> UpstreamRequest:
    return UpstreamRequest(method="POST", origin=Origin("http", "upstream.test", 80), target=b"/", headers=[])


def test_who_leaves_when_its_answer_is_there_takes_nothing_from_the_next_on_the_connection() -> None:
    async def main() -> None:
        loop: Any = ClockedLoop()
        connection = Connection(loop, lambda _: None, lambda _: None)
        connection.connection_made(FakeSocket())
        first = asyncio.ensure_future(connection.send(a_request(), Timeouts()))
        await turns()
        # All of this before the first call gets its turn: its answer frees the connection, and the next call takes it.
        connection.data_received(WHOLE)
        second = asyncio.ensure_future(connection.send(a_request(), Timeouts()))
        first.cancel()
        await turns()
        assert connection.is_open
        connection.data_received(WHOLE)
        assert await (await second).read() == b"ok"
        assert first.cancelled()

    asyncio.run(main())


def test_an_answer_that_comes_when_the_time_is_just_over_is_taken() -> None:
    async def main() -> None:
        loop: Any = ClockedLoop()
        connection = Connection(loop, lambda _: None, lambda _: None)
        connection.connection_made(FakeSocket())
        sending = asyncio.ensure_future(connection.send(a_request(), Timeouts(first_byte=10, idle=20)))
        await turns()
        connection.look_at_clock(10.0)
        connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
        answer = await sending
        reading = asyncio.ensure_future(answer.read())
        await turns()
        connection.look_at_clock(20.0)
        connection.data_received(b"o")
        assert await reading == b"o"
        reading = asyncio.ensure_future(answer.read())
        await turns()
        connection.data_received(b"k")
        assert await reading == b"k"
        assert await answer.read() == b""

    asyncio.run(main())


def test_who_waits_on_a_connection_that_is_closed_hears_of_it() -> None:
    async def main() -> None:
        loop: Any = ClockedLoop()
        connection = Connection(loop, lambda _: None, lambda _: None)
        connection.connection_made(FakeSocket())
        sending = asyncio.ensure_future(connection.send(a_request(), Timeouts()))
        await turns()
        connection.close()
        with pytest.raises(UpstreamClosed):
            await asyncio.wait_for(sending, PATIENCE)

    asyncio.run(main())


def connected(sock: FakeSocket) -> tuple[Connection, ClockedLoop]:
    """A connection on a socket that is none, and its clock."""
    loop: Any = ClockedLoop()
    connection = Connection(loop, lambda _: None, lambda _: None)
    connection.connection_made(sock)
    return connection, loop


def test_an_idle_connection_is_used_again_while_it_is_young_open_and_silent() -> None:
    async def main() -> None:
        here, there = socket.socketpair()
        with here, there:
            sock = FakeSocket()
            sock._extra = {"socket": here}  # type: ignore[attr-defined]  # What `get_extra_info` looks into.
            connection, loop = connected(sock)
            connection.idle_since, loop.now = 1.0, 5.0
            assert connection.is_usable(oldest=0.0)
            assert not connection.is_usable(oldest=2.0)
            there.send(b"x")
            assert not connection.is_usable(oldest=0.0)
            loop.now = 1.01
            assert connection.is_usable(oldest=0.0), "who was in use a moment ago is not asked for"
            connection.close()
            assert not connection.is_usable(oldest=0.0)

    asyncio.run(main())


OK, NONE = b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "answer", "is_open", "is_doubtful"),
    [
        ("POST", OK % 200, True, False),
        ("POST", OK % 404, True, True),
        ("POST", OK % 503, True, True),
        ("POST", NONE, True, False),
        ("HEAD", OK % 200, False, False),
        ("POST", b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", False, False),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", False, False),
    ],
)
def test_a_connection_on_which_more_may_come_is_not_used_again_and_one_behind_an_error_not_at_once(
    method: str, answer: bytes, is_open: bool, is_doubtful: bool
) -> None:
    """A body where none may be would be the next caller's answer; behind an error many servers hang up in silence."""

    async def main() -> None:
        connection, _ = connected(FakeSocket())
        sent = UpstreamRequest(method=method, origin=Origin("http", "upstream.test", 80), target=b"/", headers=[])
        task = asyncio.ensure_future(connection.send(sent, Timeouts()))
        await turns()
        connection.data_received(answer)
        await task
        assert (connection.is_open, connection.is_doubtful) == (is_open, is_doubtful)

    asyncio.run(main())


def test_a_connection_that_was_closed_takes_no_request() -> None:
    async def main() -> None:
        connection, _ = connected(sock := FakeSocket())
        connection.close()
        with pytest.raises(StaleConnection):
            await connection.send(a_request(), Timeouts())
        assert not sock.written

    asyncio.run(main())


LARGE = bytes(4 * SMALL_BODY)


async def sending(connection: Connection, body: bytes | AsyncIterator[bytes], **options: Any) -> asyncio.Task[Exchange]:
    """Begin to send a request, and let it go as far as it goes."""
    sent = UpstreamRequest(
        method="POST", origin=Origin("http", "upstream.test", 80), target=b"/", headers=[], body=body
    )
    task = asyncio.ensure_future(connection.send(sent, Timeouts(write=10, **options)))
    await turns()
    return task


def test_a_large_body_goes_out_as_there_is_room_for_it() -> None:
    async def main() -> None:
        connection, _ = connected(sock := FakeSocket())
        connection.pause_writing()
        task = await sending(connection, LARGE)
        assert len(sock.written) < 2 * SMALL_BODY
        connection.resume_writing()
        await turns()
        assert len(sock.written) > len(LARGE)
        connection.data_received(WHOLE)
        assert (await task).status == 200
        assert connection.is_open

    asyncio.run(main())


def test_the_rest_of_a_large_body_is_not_sent_to_who_has_answered() -> None:
    async def main() -> None:
        connection, _ = connected(sock := FakeSocket())
        connection.pause_writing()
        task = await sending(connection, LARGE)
        connection.data_received(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        assert (await task).status == 413
        assert len(sock.written) < 2 * SMALL_BODY
        assert not connection.is_open, "what was not sent would be taken for the next request"

    asyncio.run(main())


def test_who_takes_no_more_of_a_large_body_is_given_up_in_time() -> None:
    async def main() -> None:
        connection, _ = connected(FakeSocket())
        connection.pause_writing()
        task = await sending(connection, LARGE)
        connection.look_at_clock(10.0)
        with pytest.raises(UpstreamTimeout, match="did not take the request"):
            await task

    asyncio.run(main())


def test_a_body_that_still_arrives_goes_out_as_there_is_room_for_it() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"one", b"", b"two"):
            yield piece

    async def main() -> None:
        connection, _ = connected(sock := FakeSocket())
        connection.pause_writing()
        task = await sending(connection, pieces())
        assert sock.written.endswith(b"\r\n\r\n3\r\none\r\n")
        connection.resume_writing()
        await turns()
        assert sock.written.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
        connection.data_received(WHOLE)
        assert (await task).status == 200

    asyncio.run(main())


def test_a_body_that_still_arrives_and_finds_no_room_is_given_up() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"

    async def main() -> None:
        connection, _ = connected(FakeSocket())
        connection.pause_writing()
        sent = UpstreamRequest(
            method="POST", origin=Origin("http", "upstream.test", 80), target=b"/", headers=[], body=pieces()
        )
        with pytest.raises(UpstreamTimeout, match="did not take the request"):
            await connection.send(sent, Timeouts(write=0))

    asyncio.run(main())


@pytest.mark.parametrize(("length", "written"), [(5, b"one"), (100, b"onetwo")], ids=["longer", "shorter"])
def test_no_more_and_no_less_of_a_body_is_written_than_was_told(length: int, written: bytes) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"one", b"two"):
            yield piece

    async def main() -> None:
        connection, _ = connected(sock := FakeSocket())
        sent = UpstreamRequest(
            method="POST",
            origin=Origin("http", "upstream.test", 80),
            target=b"/",
            headers=[],
            body=pieces(),
            body_length=length,
        )
        task = asyncio.ensure_future(connection.send(sent, Timeouts(write=10)))
        await turns()
        assert sock.written.endswith(b"\r\n\r\n" + written)
        with pytest.raises(BadRequest, match="than its head says"):
            await task
        assert not connection.is_open

    asyncio.run(main())


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        (b"/ HTTP/1.1\r\nx: y", []),
        (b"/", [(b"x", b"a\r\ny: b")]),
        (b"/", [(b"x\ny", b"a")]),
        (b"/", [(b"x", b"a\0b")]),
        (b"/", [(b"x", b"a\rb")]),
    ],
)
def test_a_head_has_no_more_lines_than_it_should(target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    async def main() -> None:
        connection, _ = connected(sock := FakeSocket())
        for method, body in (("POST", b"{}"), ("GET", b"")):
            sent = UpstreamRequest(
                method=method, origin=Origin("http", "upstream.test", 80), target=target, headers=headers, body=body
            )
            with pytest.raises(BadRequest):
                write_head(sent, len(body))
        with pytest.raises(BadRequest):
            await connection.send(sent, Timeouts())
        assert not sock.written
        assert not connection.is_open

    asyncio.run(main())


def test_a_body_that_cannot_be_read_ends_the_exchange() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        raise OSError("the file is gone")

    async def main() -> None:
        connection, _ = connected(FakeSocket())
        with pytest.raises(UpstreamClosed, match="could not be read to its end"):
            await (await sending(connection, pieces()))
        assert not connection.is_open

    asyncio.run(main())


def test_a_head_without_an_end_is_given_up_when_it_is_too_long() -> None:
    async def main() -> None:
        connection, _ = connected(FakeSocket())
        task = await sending(connection, b"{}")
        connection.data_received(b"HTTP/1.1 200 OK\r\nx-long: ")
        for _ in range(3):
            connection.data_received(b"a" * (MAX_HEAD // 2))
        with pytest.raises(UpstreamProtocolError, match="head"):
            await task

    asyncio.run(main())


def test_nothing_is_taken_of_an_answer_behind_the_bytes_that_it_may_have() -> None:
    async def main() -> None:
        connection, _ = connected(FakeSocket())
        task = asyncio.ensure_future(connection.send(a_request(), Timeouts(), max_body=3))
        await turns()
        connection.data_received(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        answer = await task
        connection.data_received(b"4\r\nlong\r\n4\r\nmore\r\n0\r\n\r\n")
        assert await answer.read() == b"long"
        with pytest.raises(UpstreamProtocolError, match="longer than 3 bytes"):
            await answer.read()

    asyncio.run(main())
