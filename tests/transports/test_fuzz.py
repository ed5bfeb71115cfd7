"""The response side against anything: the same answer however it is cut, and never more than an error for garbage."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_gateway.calls import Origin, Timeouts, UpstreamRequest
from ai_gateway.errors import GatewayError, UpstreamError
from ai_gateway.transports.connection import Connection
from tests.effort import times

ORIGIN = Origin("http", "upstream.test", 80, True)
TIMEOUTS = Timeouts(first_byte=0.05, idle=0.05)


class FakeSocket(asyncio.Transport):
    """Stands where the event loop's transport would, and takes whatever is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.is_aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True


Outcome = tuple[int, tuple[tuple[bytes, bytes], ...], bytes, str | None]


async def feed(
    pieces: list[bytes], *, method: str = "POST", hangs_up: bool = True
) -> tuple[Outcome, Connection, list[str]]:
    """Give a connection these pieces as the answer to one request, then hang up; say what the reader got."""
    events: list[str] = []
    connection = Connection(
        asyncio.get_running_loop(), lambda _: events.append("released"), lambda _: events.append("closed")
    )
    socket = FakeSocket()
    connection.connection_made(socket)
    request = UpstreamRequest(method=method, origin=ORIGIN, target=b"/", headers=[], body=b"{}")
    sending = asyncio.ensure_future(connection.send(request, TIMEOUTS))
    await asyncio.sleep(0)
    for piece in pieces:
        if socket.is_aborted:
            break
        connection.data_received(piece)
    if hangs_up and not socket.is_aborted:
        connection.connection_lost(None)
    body = b""
    try:
        exchange = await sending
    except GatewayError as error:
        return (0, (), b"", type(error).__name__), connection, events
    try:
        while part := await exchange.read():
            body += part
    except GatewayError as error:
        return (exchange.status, tuple(exchange.headers), body, type(error).__name__), connection, events
    return (exchange.status, tuple(exchange.headers), body, None), connection, events


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut bytes at these places."""
    bounds = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(bounds)]


def chunked(parts: list[bytes]) -> bytes:
    """Write a chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part) + b"0\r\n\r\n"


header_values = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30).map(str.encode)
bodies = st.lists(st.binary(min_size=1, max_size=60), max_size=8)


@settings(max_examples=times(100))
@given(
    bodies,
    st.lists(st.tuples(st.sampled_from([b"x-a", b"x-b"]), header_values), max_size=4),
    st.lists(st.integers(0, 2000)),
)
def test_cutting_a_chunked_answer_anywhere_changes_nothing(
    parts: list[bytes], headers: list[tuple[bytes, bytes]], places: list[int]
) -> None:
    fields = b"".join(b"%b: %b\r\n" % field for field in headers)
    answer = b"HTTP/1.1 200 OK\r\n" + fields + b"transfer-encoding: chunked\r\n\r\n" + chunked(parts)
    outcome, _, events = asyncio.run(feed(cut(answer, places)))
    status, found, body, error = outcome
    assert (status, body, error) == (200, b"".join(parts), None)
    assert [field for field in found if field[0].startswith(b"x-")] == headers
    assert events[0] == "released"


@settings(max_examples=times(100))
@given(st.binary(max_size=200), st.lists(st.integers(0, 400)))
def test_cutting_an_answer_with_a_length_anywhere_changes_nothing(body: bytes, places: list[int]) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    outcome, _, _ = asyncio.run(feed(cut(answer, places)))
    assert (outcome[0], outcome[2], outcome[3]) == (200, body, None)


@settings(max_examples=times(150))
@given(bodies, st.integers(1, 10_000), st.lists(st.integers(0, 2000)))
def test_a_chunked_answer_cut_short_never_ends_well(parts: list[bytes], missing: int, places: list[int]) -> None:
    answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunked(parts)
    short = answer[: -(missing % len(answer)) or -1]
    outcome, connection, events = asyncio.run(feed(cut(short, places)))
    assert outcome[3] is not None
    assert b"".join(parts).startswith(outcome[2])
    assert "released" not in events
    assert "busy" not in repr(connection)


@settings(max_examples=times(150))
@given(st.lists(st.binary(max_size=80), max_size=6))
def test_garbage_is_an_error_or_a_whole_answer_and_the_connection_is_done_with(pieces: list[bytes]) -> None:
    outcome, connection, _ = asyncio.run(feed(pieces))
    assert outcome[3] is not None or outcome[0] >= 200
    assert "busy" not in repr(connection)


mutations = st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=3)), min_size=1, max_size=4)


@settings(max_examples=times(150))
@given(mutations, st.lists(st.integers(0, 2000), max_size=5))
def test_a_damaged_answer_never_raises_anything_but_the_gateways_errors(
    damage: list[tuple[int, bytes]], places: list[int]
) -> None:
    answer = bytearray(b"HTTP/1.1 200 OK\r\nx-a: 1\r\ntransfer-encoding: chunked\r\n\r\n" + chunked([b"one", b"two"]))
    for place, replacement in damage:
        start = place % len(answer)
        answer[start : start + len(replacement)] = replacement
    outcome, connection, _ = asyncio.run(feed(cut(bytes(answer), places)))
    assert isinstance(outcome, tuple)
    assert "busy" not in repr(connection)


@pytest.mark.parametrize(
    "extra", [b"x", b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"], ids=["a byte", "an answer"]
)
@pytest.mark.parametrize("is_apart", [False, True], ids=["in one piece", "later"])
def test_bytes_after_the_answer_belong_to_nobody(extra: bytes, is_apart: bool) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    pieces = [answer, extra] if is_apart else [answer + extra]
    outcome, connection, events = asyncio.run(feed(pieces, hangs_up=False))
    assert (outcome[0], outcome[2], outcome[3]) == (200, b"ok", None)
    assert events[-1] == "closed"
    assert repr(connection) == "<Connection closed>"


def test_an_answer_with_both_framings_is_read_as_chunked_and_its_connection_not_used_again() -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n" + chunked([b"chunked"])
    outcome, _, events = asyncio.run(feed([answer], hangs_up=False))
    assert (outcome[0], outcome[2], outcome[3], events) == (200, b"chunked", None, ["closed"])


def test_a_body_over_the_limit_is_an_error() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        connection = Connection(loop, lambda _: None, lambda _: None)
        connection.connection_made(FakeSocket())
        request = UpstreamRequest(method="GET", origin=ORIGIN, target=b"/", headers=[])
        sending = asyncio.ensure_future(connection.send(request, TIMEOUTS, max_body=10))
        await asyncio.sleep(0)
        connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n" + b"x" * 20)
        exchange = await sending
        assert await exchange.read() == b"x" * 20
        with pytest.raises(UpstreamError):
            await exchange.read()

    asyncio.run(main())
