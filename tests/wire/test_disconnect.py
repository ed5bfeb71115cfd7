"""The caller is gone: the upstream's connection is closed, in every phase, and nothing is left."""

from __future__ import annotations

import asyncio
import random
import threading

import pytest

from tests import databases
from tests.effort import times
from tests.gateway_process import GatewayProcess
from tests.raw_client import RawClient, RawConnection
from tests.upstream import (
    LAST_CHUNK,
    End,
    Exchange,
    Upstream,
    chunk,
    event_stream,
    head,
    json_answer,
    play,
    stream_head,
)
from tests.wire.ledger_reader import LedgerReader, new_request_id
from tests.wire.samples import BEARER, CHAT, CHAT_DIALECT, CHAT_PATH, DIALECTS, JSON, Dialect

pytestmark = pytest.mark.usefixtures("quiescent")

EVENT = b'data: {"choices":[{"delta":{"content":"word "}}]}\n\n'
STREAM_BODY = b'{"model": "m", "stream": true}'
LEAVE = pytest.mark.parametrize("leave", [RawConnection.close, RawConnection.reset], ids=["close", "reset"])


def wait_until_left(upstream: Upstream) -> None:
    """The requirement is one second; the deadline is generous for the sake of a busy machine."""
    upstream.wait_for("the gateway has left the upstream", lambda: upstream.aborted == 1 and upstream.busy == 0, 10)


@LEAVE
@pytest.mark.parametrize("body", [STREAM_BODY, b'{"model": "m"}'], ids=["stream", "plain"])
def test_a_caller_that_leaves_before_the_upstream_answers(
    raw: RawClient, upstream: Upstream, leave: object, body: bytes
) -> None:
    """T22, T23."""
    upstream.answer(play(End.STALL))
    connection = raw.connect()
    connection.request("POST", CHAT_PATH, [BEARER, JSON], body)
    upstream.wait_for_requests()
    assert callable(leave)
    leave(connection)
    wait_until_left(upstream)


@LEAVE
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_a_caller_that_leaves_in_mid_stream(
    raw: RawClient, upstream: Upstream, leave: object, dialect: Dialect
) -> None:
    """T21."""
    upstream.answer(event_stream(dialect.events[0], dialect.events[1], End.STALL))
    connection = raw.connect()
    connection.request("POST", dialect.stream_path, [BEARER, JSON], STREAM_BODY)
    connection.read_head()
    connection.read_text_until(dialect.events[1])
    assert callable(leave)
    leave(connection)
    wait_until_left(upstream)


@LEAVE
def test_a_caller_that_leaves_while_the_head_waits_for_the_first_event(
    raw: RawClient, upstream: Upstream, leave: object
) -> None:
    """T21 (a)."""
    upstream.answer(play(stream_head(), End.STALL))
    connection = raw.connect()
    connection.request("POST", CHAT_PATH, [BEARER, JSON], STREAM_BODY)
    upstream.wait_for_requests()
    assert callable(leave)
    leave(connection)
    wait_until_left(upstream)


def test_a_caller_that_leaves_in_the_middle_of_a_plain_answer(raw: RawClient, upstream: Upstream) -> None:
    fields = [("content-type", "audio/mpeg"), ("transfer-encoding", "chunked")]
    upstream.answer(play(head(200, fields), chunk(b"x" * 100_000), End.STALL))
    connection = raw.connect()
    connection.request("GET", "/v1/files/file-1/content", [BEARER])
    connection.read_head()
    connection.read_chunk()
    connection.close()
    wait_until_left(upstream)


def test_a_caller_that_leaves_while_it_takes_nothing(raw: RawClient, upstream: Upstream) -> None:
    """The gateway is blocked in writing, and so is the upstream. What it holds ready is not fetched for nobody."""
    connection, exchange = stuck(raw, upstream)
    before = exchange.sent
    assert before < 64 * 1024 * 1024
    connection.close()
    wait_until_left(upstream)
    assert exchange.sent - before < 2 * 1024 * 1024


def stuck(raw: RawClient, upstream: Upstream, request_id: str = "") -> tuple[RawConnection, Exchange]:
    """Start an endless stream whose caller reads nothing; come back when the upstream cannot send any more."""
    connections, exchanges = many_stuck(raw, upstream, 1, request_id)
    return connections[0], exchanges[0]


def many_stuck(
    raw: RawClient, upstream: Upstream, count: int, request_id: str = ""
) -> tuple[list[RawConnection], list[Exchange]]:
    """Start so many of them."""

    async def endless(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(stream_head())
        while True:
            await exchange.send(chunk(EVENT * 1000))

    upstream.answer(endless)
    connections = [raw.connect(receive_buffer=4096) for _ in range(count)]
    for connection in connections:
        connection.request("POST", CHAT_PATH, [BEARER, JSON, ("x-request-id", request_id)], STREAM_BODY)
    upstream.wait_for_requests(count)
    exchanges = upstream.exchanges[:count]
    seen: list[list[int]] = [[], []]

    def stands_still() -> bool:
        threading.Event().wait(0.3)
        seen.append([exchange.sent for exchange in exchanges])
        return all(seen[-1]) and seen[-1] == seen[-2]

    upstream.wait_for("back-pressure reached the upstream", stands_still)
    return connections, exchanges


def test_a_caller_that_takes_nothing_costs_no_memory(
    gateway: GatewayProcess, raw: RawClient, upstream: Upstream
) -> None:
    """T7: the upstream is held up, not the memory filled."""
    before = gateway.resident_kib
    connection, _ = stuck(raw, upstream)
    assert gateway.resident_kib - before < 16 * 1024
    connection.close()
    wait_until_left(upstream)


def test_a_caller_that_takes_nothing_for_too_long_is_dropped(
    strict: RawClient, upstream: Upstream, site_database: databases.Database
) -> None:
    """T7, T27. It is written down as one that left, with what it was sent."""
    request_id = new_request_id()
    connection, exchange = stuck(strict, upstream, request_id)
    wait_until_left(upstream)
    connection.close()
    entry = LedgerReader(site_database["NAME"]).entry(request_id)
    assert (entry["outcome"], entry["status"]) == ("disconnected", 200)
    assert 0 < entry["bytes_out"] <= exchange.sent


def test_other_callers_are_served_while_some_take_nothing(
    gateway: GatewayProcess, raw: RawClient, upstream: Upstream
) -> None:
    """T8, scaled down: streams and whole answers, and the memory stays bounded."""
    before = gateway.resident_kib
    connections, _ = many_stuck(raw, upstream, 8)
    assert gateway.resident_kib - before < 8 * 3072  # Buffers of both sockets, and what the first streams take.
    for _ in range(5):
        upstream.answer(event_stream(*CHAT_DIALECT.events))
        assert raw.post(CHAT_PATH, STREAM_BODY, [BEARER]).body == b"".join(CHAT_DIALECT.events)
        upstream.answer(json_answer({"ok": True}))
        assert raw.post(CHAT_PATH, CHAT, [BEARER]).json() == {"ok": True}
    for connection in connections:
        connection.close()
    upstream.wait_for("the gateway has left the upstream", lambda: upstream.busy == 0, 10)


@pytest.mark.parametrize("door", ["direct"], indirect=True)
def test_a_caller_that_leaves_in_the_middle_of_its_upload(raw: RawClient, upstream: Upstream) -> None:
    connection = raw.connect()
    fields = [BEARER, ("content-type", "multipart/form-data; boundary=x"), ("content-length", "1000000")]
    connection.request("POST", "/v1/files", fields)
    connection.send(b"x" * 1000)
    upstream.wait_for_requests()
    connection.close()
    wait_until_left(upstream)
    assert not upstream.request.is_whole


def test_a_caller_that_leaves_in_the_middle_of_its_json_body(raw: RawClient, upstream: Upstream) -> None:
    connection = raw.connect()
    connection.request("POST", CHAT_PATH, [BEARER, JSON, ("content-length", "1000")])
    connection.send(b'{"model"')
    connection.close()
    assert raw.post(CHAT_PATH, CHAT, [BEARER]).status == 200
    assert len(upstream.requests) == 1


def test_a_caller_that_says_it_will_send_no_more_is_taken_to_be_gone(raw: RawClient, upstream: Upstream) -> None:
    """T26: uvicorn answers nothing to a half-closed connection, so the upstream must be left as well."""
    upstream.answer(event_stream(EVENT, End.STALL))
    connection = raw.connect()
    connection.request("POST", CHAT_PATH, [BEARER, JSON], STREAM_BODY)
    connection.read_head()
    connection.read_text_until(EVENT)
    connection.half_close()
    wait_until_left(upstream)


def test_hundreds_of_callers_that_leave_at_random_points_leave_nothing(
    gateway: GatewayProcess, raw: RawClient, upstream: Upstream
) -> None:
    """T24, T29."""
    seed = random.randrange(1 << 30)
    dice = random.Random(seed)
    threads = [threading.Thread(target=leave_often, args=(gateway.port, dice.randrange(1 << 30))) for _ in range(8)]

    async def unsteady(exchange: Exchange) -> None:
        await exchange.read_body()
        await asyncio.sleep(random.choice((0, 0.002, 0.02)))
        await exchange.send(stream_head())
        for event in CHAT_DIALECT.events:
            await exchange.send(chunk(event))
            await asyncio.sleep(random.choice((0, 0.002, 0.02)))
        await exchange.send(LAST_CHUNK)

    upstream.answer(unsteady)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    upstream.wait_for(f"the upstream is left alone (seed {seed})", lambda: upstream.busy == 0)
    upstream.answer(json_answer({"ok": True}))
    assert raw.post(CHAT_PATH, CHAT, [BEARER]).json() == {"ok": True}


def leave_often(port: int, seed: int) -> None:
    """Twenty-five calls, each left at some point: while it is sent, before or in its answer, or not at all."""
    dice = random.Random(seed)
    for _ in range(times(25)):
        with RawConnection(port) as connection:
            request = b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway.test\r\ncontent-type: application/json\r\n"
            request += f"{BEARER[0]}: {BEARER[1]}\r\ncontent-length: {len(STREAM_BODY)}\r\n\r\n".encode() + STREAM_BODY
            connection.send(request[: dice.randrange(len(request))] if dice.random() < 0.1 else request)
            connection.socket.settimeout(dice.choice((0.0005, 0.003, 0.01, 0.03, 1.0)))
            try:
                while connection.receive() and dice.random() < 0.9:
                    pass
            except (TimeoutError, ConnectionResetError):
                pass
            if dice.random() < 0.5:
                connection.reset()
