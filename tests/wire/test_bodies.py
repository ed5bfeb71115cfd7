"""Request bodies and plain answers: limits, streaming, and every byte as it was."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time

import pytest

from tests.gateway_process import Door
from tests.raw_client import RawClient, RawConnection, write_request
from tests.upstream import LAST_CHUNK, End, Exchange, Upstream, chunk, head, json_answer, plain_answer, play
from tests.wire.samples import BEARER, CHAT, CHAT_PATH, JSON

pytestmark = pytest.mark.usefixtures("quiescent")

MEBIBYTE = 1024 * 1024
MULTIPART = ("content-type", "multipart/form-data; boundary=frontier")


def test_a_json_body_of_five_mebibytes_arrives_as_it_was(raw: RawClient, upstream: Upstream) -> None:
    """T9."""
    body = json.dumps({**CHAT, "image": "A" * (5 * MEBIBYTE)}).encode()
    assert raw.post(CHAT_PATH, body, [BEARER]).status == 200
    assert bytes(upstream.request.body) == body


@pytest.mark.parametrize("headers", [[BEARER, JSON], [BEARER, MULTIPART]])
def test_a_body_over_the_limit_is_refused_before_it_is_read(
    strict: RawClient, upstream: Upstream, headers: list[tuple[str, str]]
) -> None:
    """T10."""
    with strict.connect() as connection:
        connection.request("POST", "/v1/files", [*headers, ("content-length", "200001")])
        answer = connection.read_head()
        connection.read_body(answer)
    assert answer.status == 413
    assert answer.json()["error"]["code"] == "request_too_large"
    assert answer.header("x-should-retry") == "false"
    assert answer.is_last
    assert not upstream.requests


def test_a_chunked_json_body_is_refused_as_soon_as_it_passes_the_limit(strict: RawClient, upstream: Upstream) -> None:
    """T11."""
    with strict.connect() as connection:
        connection.request("POST", CHAT_PATH, [BEARER, JSON, ("transfer-encoding", "chunked")])
        for _ in range(11):
            connection.send(chunk(b"x" * 10_000))
        answer = connection.read_answer()
    assert answer.status == 413
    assert answer.json()["error"]["code"] == "request_too_large"
    assert not upstream.requests


def test_a_chunked_upload_is_cut_when_it_passes_the_limit(strict: RawClient, upstream: Upstream) -> None:
    """T11, for a body that is streamed through."""
    with strict.connect() as connection:
        connection.request("POST", "/v1/files", [BEARER, MULTIPART, ("transfer-encoding", "chunked")])
        for _ in range(21):
            connection.send(chunk(b"x" * 10_000))
        answer = connection.read_answer()
    assert answer.status == 413
    upstream.wait_for("the upstream was left", lambda: upstream.busy == 0)
    assert all(not request.is_whole for request in upstream.requests)


def test_a_client_that_is_still_sending_gets_to_see_the_refusal(strict: RawClient) -> None:
    """Closing a socket with unread bytes in it resets the connection, and the answer would be lost."""
    with strict.connect() as connection:
        connection.send(write_request("POST", CHAT_PATH, [BEARER, JSON], b"x" * 2 * MEBIBYTE))
        assert connection.read_answer().status == 413


@pytest.mark.parametrize("authorization", ["", "Bearer gw_wrong"])
def test_a_strangers_upload_is_refused_by_its_head(raw: RawClient, upstream: Upstream, authorization: str) -> None:
    """T12."""
    headers = [("authorization", authorization)] if authorization else []
    if not authorization:
        headers = [("authorization", "Bearer gw_"), MULTIPART]
    with raw.connect() as connection:
        connection.request("POST", "/v1/files", [*headers, ("content-length", str(50 * MEBIBYTE))])
        answer = connection.read_answer()
    assert answer.status == 401
    assert answer.is_last
    assert not upstream.requests


@pytest.mark.parametrize("framing", [("content-length", "1000"), ("transfer-encoding", "chunked")])
def test_a_body_that_does_not_come_is_given_up(strict: RawClient, upstream: Upstream, framing: tuple[str, str]) -> None:
    """T13: it trickles, and then stops."""
    with strict.connect() as connection:
        connection.request("POST", CHAT_PATH, [BEARER, JSON, framing])
        for letter in (b"{", b'"', b"m", b"o"):
            connection.send(letter if framing[0] == "content-length" else chunk(letter))
            time.sleep(0.1)
        answer = connection.read_answer()
        assert answer.status == 408
        assert answer.json()["error"]["code"] == "request_timeout"
        assert connection.read_to_end() == b""
    assert not upstream.requests


def test_an_upload_that_stops_in_the_middle_is_given_up(strict: RawClient, upstream: Upstream) -> None:
    """T13, for a body that is streamed through."""
    with strict.connect() as connection:
        connection.request("POST", "/v1/files", [BEARER, MULTIPART, ("content-length", "1000")])
        connection.send(b"--frontier")
        assert connection.read_answer().status == 408
    upstream.wait_for("the upstream was left", lambda: upstream.busy == 0)


@pytest.mark.parametrize("door", ["direct"], indirect=True)
def test_an_upload_flows_through_while_the_client_still_sends(raw: RawClient, upstream: Upstream) -> None:
    with raw.connect() as connection:
        connection.request("POST", "/v1/files", [BEARER, MULTIPART, ("content-length", "20")])
        connection.send(b"first half")
        upstream.wait_for(
            "the upstream has the first half",
            lambda: bool(upstream.requests) and bytes(upstream.request.body) == b"first half",
        )
        connection.send(b"other half")
        assert connection.read_answer().status == 200
    assert bytes(upstream.request.body) == b"first halfother half"
    assert upstream.request.header("content-length") == "20"
    assert upstream.request.header("content-type") == MULTIPART[1]


@pytest.mark.parametrize("framing", ["content-length", "chunked"])
def test_an_upload_arrives_byte_for_byte(raw: RawClient, upstream: Upstream, framing: str) -> None:
    body = os.urandom(3 * MEBIBYTE)
    with raw.connect() as connection:
        if framing == "chunked":
            connection.request("POST", "/v1/files", [BEARER, MULTIPART, ("transfer-encoding", "chunked")])
            for start in range(0, len(body), 100_001):
                connection.send(chunk(body[start : start + 100_001]))
            connection.send(LAST_CHUNK)
        else:
            connection.request("POST", "/v1/files", [BEARER, MULTIPART], body)
        assert connection.read_answer().status == 200
    assert bytes(upstream.request.body) == body


@pytest.mark.parametrize("door", ["direct"], indirect=True)
def test_an_upload_waits_for_an_upstream_that_takes_nothing(raw: RawClient, upstream: Upstream) -> None:
    """Back-pressure on the way up: the gateway holds no more than its buffers."""
    gate = upstream.gate()

    async def slow(exchange: Exchange) -> None:
        exchange.pause_reading()
        await gate.passed()
        exchange.resume_reading()
        await exchange.read_body()
        await json_answer({"ok": True})(exchange)

    upstream.answer(slow)
    size = 64 * MEBIBYTE
    sent = 0
    with raw.connect() as connection:
        connection.request("POST", "/v1/files", [BEARER, MULTIPART, ("content-length", str(size))])
        gate.wait_until_reached()
        connection.socket.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while sent < size:
                sent += connection.socket.send(b"x" * min(65536, size - sent))
        assert sent < 48 * MEBIBYTE
        connection.socket.settimeout(20)
        gate.open()
        while sent < size:
            sent += connection.socket.send(b"x" * min(65536, size - sent))
        assert connection.read_answer().status == 200
    assert len(upstream.request.body) == size


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 3_000_001])
def test_a_binary_answer_comes_back_byte_for_byte(raw: RawClient, upstream: Upstream, size: int) -> None:
    body = os.urandom(size)
    upstream.answer(plain_answer(body, "audio/mpeg"))
    answer = raw.post("/v1/audio/speech", {"model": "tts-1", "input": "Hello"}, [BEARER])
    assert answer.body == body
    assert answer.header("content-type") == "audio/mpeg"
    assert answer.header("content-length") == str(size)


@pytest.mark.parametrize("size", [0, 10, 200_000])
def test_a_chunked_answer_that_is_no_stream_comes_back_whole(raw: RawClient, upstream: Upstream, size: int) -> None:
    body = os.urandom(size)
    steps = [chunk(body[start : start + 7001]) for start in range(0, size, 7001)]
    upstream.answer(
        play(head(200, [("content-type", "image/png"), ("transfer-encoding", "chunked")]), *steps, LAST_CHUNK)
    )
    assert raw.get("/v1/files/file-1/content", [BEARER]).body == body


def test_an_answer_that_ends_with_the_connection_comes_back_whole(raw: RawClient, upstream: Upstream) -> None:
    body = os.urandom(150_000)
    upstream.answer(play(head(200, [("content-type", "image/png")]), body, End.CLOSE))
    assert raw.get("/v1/files/file-1/content", [BEARER]).body == body


def test_a_slow_binary_answer_is_passed_on_as_it_comes(raw: RawClient, upstream: Upstream) -> None:
    gate = upstream.gate()
    upstream.answer(
        play(
            head(200, [("content-type", "audio/mpeg"), ("transfer-encoding", "chunked")]),
            chunk(b"first"),
            gate,
            chunk(b"second"),
            LAST_CHUNK,
        )
    )
    with raw.connect() as connection:
        connection.request("POST", "/v1/audio/speech", [BEARER, JSON], b'{"model": "tts-1"}')
        answer = connection.read_head()
        assert answer.is_chunked
        assert connection.read_chunk() == b"first"
        gate.open()
        assert b"".join(connection.chunks()) == b"second"


@pytest.mark.parametrize(
    ("body", "is_taken"),
    [
        (b'{"model": "a", "model": "b"}', False),
        (b'{"model": "a", "mod\\u0065l": "b"}', False),
        (b'{"model": "a", "Model": "b"}', False),
        (b'{"model": "a", "x": {"model": "b", "Model": "c"}}', True),
        (b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000, False),
        (b'{"model": "m", "x": NaN}', False),
        (b'{"model": "m", "x": 1e999}', True),
        (b'\xef\xbb\xbf{"model": "m"}', False),
        (b'{"model": "\xff"}', False),
        (b'{"model": "m", "x": "\xff"}', False),
        (b'{"model": "m", "stream": "true"}', False),
        (b'{"model": 1}', False),
        (b'["model"]', False),
        (b'"model"', False),
        (b"", False),
        (b"not json", False),
        (b'{"model": "m"} trailing', False),
        (b'{"model": "m", "x": "\\ud800"}', None),
    ],
)
def test_what_is_authorised_is_what_is_sent(
    raw: RawClient, upstream: Upstream, body: bytes, is_taken: bool | None
) -> None:
    """T68. A lone surrogate is legal JSON syntax: taken or refused, but never a crash."""
    answer = raw.post(CHAT_PATH, body, [BEARER])
    if is_taken is None:
        is_taken = answer.status == 200
    assert answer.status == (200 if is_taken else 400)
    if is_taken:
        assert bytes(upstream.request.body) == body
    else:
        assert answer.header("x-should-retry") == "false"
        assert not upstream.requests


def test_a_million_keys_are_taken(raw: RawClient, upstream: Upstream) -> None:
    """T68."""
    body = b'{"model": "m",' + b",".join(b'"k%d":1' % number for number in range(1_000_000)) + b"}"
    assert raw.post(CHAT_PATH, body, [BEARER]).status == 200
    assert bytes(upstream.request.body) == body


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain;charset=UTF-8", None])
def test_json_is_recognised_without_its_content_type(
    raw: RawClient, upstream: Upstream, content_type: str | None
) -> None:
    """curl -d and fetch() send these types when nobody thought of one."""
    headers = [BEARER] if content_type is None else [BEARER, ("content-type", content_type)]
    assert raw.call("POST", CHAT_PATH, headers, b'{"model": "groq/llama"}').status == 200
    assert upstream.request.json() == {"model": "llama"}
    assert upstream.request.header("content-type") == "application/json"


def test_an_image_url_is_text_to_the_gateway(raw: RawClient, upstream: Upstream) -> None:
    """T58: nothing that a caller names is ever fetched."""
    url = f"http://127.0.0.1:{upstream.port}/v1/secret.png"
    opened = upstream.opened
    content = [{"type": "image_url", "image_url": {"url": url}}]
    raw.post(CHAT_PATH, {"model": "m", "messages": [{"role": "user", "content": content}]}, [BEARER])
    assert [request.target for request in upstream.requests] == [CHAT_PATH]
    assert upstream.opened <= opened + 1


def test_uploads_do_not_fill_the_memory(raw: RawClient, upstream: Upstream, door: Door) -> None:
    """Four uploads of 32 MiB at a time, without a body over 2.5 MB ever being held."""
    received: list[int] = []

    async def count(exchange: Exchange) -> None:
        while data := await exchange.read_some():
            exchange.request.body.clear()
            received.append(len(data))
        await json_answer({"ok": True})(exchange)

    upstream.answer(count)
    statuses: list[int] = []

    def upload(connection: RawConnection) -> None:
        connection.request("POST", "/v1/files", [BEARER, MULTIPART, ("content-length", str(32 * MEBIBYTE))])
        for _ in range(32):
            connection.send(b"x" * MEBIBYTE)
        statuses.append(connection.read_answer().status)

    threads = [threading.Thread(target=upload, args=(raw.connect(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 4
    assert sum(received) == 128 * MEBIBYTE
