"""Requests that no honest client sends."""

from __future__ import annotations

import contextlib
import json
from urllib.parse import unquote

import pytest

from tests.gateway_process import GatewayProcess
from tests.raw_client import RawClient, RawConnection
from tests.upstream import Upstream
from tests.wire.samples import BEARER, CHAT, CHAT_PATH, JSON

pytestmark = pytest.mark.usefixtures("quiescent")

SMUGGLED = b"GET /health HTTP/1.1\r\nhost: gateway.test\r\n\r\n"
START = f"POST {CHAT_PATH} HTTP/1.1\r\nhost: gateway.test\r\n{BEARER[0]}: {BEARER[1]}\r\n".encode()
JSON_TYPE = b"content-type: application/json\r\n"
SMUGGLING = {
    "length then chunked": b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked then length": b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": b"content-length: 2\r\ncontent-length: 50\r\n\r\n{}",
    "two equal lengths": b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}",
    "length with a plus": b"content-length: +2\r\n\r\n{}",
    "negative length": b"content-length: -1\r\n\r\n{}",
    "space before the colon": b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "almost chunked": b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "bare line feeds": b"x-a: b\ntransfer-encoding: chunked\n\n0\r\n\r\n",
    "a folded header": b"x-a: b\r\n transfer-encoding: chunked\r\n\r\n",
    "a NUL in a value": b"x-a: b\0c\r\ncontent-length: 2\r\n\r\n{}",
    "a NUL in a name": b"x\0a: b\r\ncontent-length: 2\r\n\r\n{}",
    "a bad chunk size": b"transfer-encoding: chunked\r\n\r\n-1\r\n\r\n",
    "a huge chunk size": b"transfer-encoding: chunked\r\n\r\nfffffffffffffffffffff\r\n\r\n",
}


@pytest.mark.parametrize("framing", SMUGGLING.values(), ids=SMUGGLING.keys())
def test_no_request_is_smuggled_behind_a_doubtful_one(raw: RawClient, upstream: Upstream, framing: bytes) -> None:
    """T59: one answer, and an end; the second request inside the first is never executed."""
    received = raw.exchange(START + JSON_TYPE + framing + SMUGGLED)
    assert received.startswith(b"HTTP/1.1 400")
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"healthy" not in received
    assert not upstream.requests


BEHIND = " HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\nDELETE /v1beta/files/secret HTTP/1.1\r\nhost: a\r\nx: "
NAMES = [
    "x" + BEHIND,
    "x\r\nx-evil: 1\r\ny: ",
    "../../secret",
    "a/../b",
    "x?key=1&y=",
    "x#y",
    "a b",
    "é",
    ".",
    "x\x00y",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("path", [CHAT_PATH, "/v1/responses", "/v1/messages", "/v1/messages/count_tokens"])
def test_a_models_name_is_no_more_than_a_part_of_the_path(
    raw: RawClient, upstream: Upstream, path: str, name: str
) -> None:
    """A translated call has the model in its path: what is written there ends no request line and begins none."""
    body = {"model": f"gemini/{name}", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}], "input": "Hi"}
    answer = raw.post(path, json.dumps(body).encode(), [BEARER, JSON])
    assert 200 <= answer.status < 500 or upstream.requests
    assert len(upstream.requests) <= 1
    for request in upstream.requests:
        assert request.method == "POST"
        assert request.target.startswith("/v1beta/models/")
        model, _, method = request.target.removeprefix("/v1beta/models/").rpartition(":")
        assert unquote(model) == name
        assert method.partition("?")[0] in ("generateContent", "countTokens")
        assert not {"x-evil", "x", "y"} & {header.lower() for header, _ in request.headers}


@pytest.mark.parametrize("method", ["TRACE", "TRACK", "CONNECT", "PROPFIND"])
def test_methods_that_no_api_has_reach_no_provider(raw: RawClient, upstream: Upstream, method: str) -> None:
    """A server that answers TRACE sends back what it got: the stored credential."""
    with raw.connect() as connection:
        connection.request(method, CHAT_PATH, [BEARER])
        assert connection.read_head().status in (400, 405)
    assert not upstream.requests


def test_chunk_extensions_do_not_confuse_the_framing(raw: RawClient, upstream: Upstream) -> None:
    body = b'transfer-encoding: chunked\r\n\r\ne;ext="x"\r\n{"model": "m"}\r\n0\r\n\r\n'
    with raw.connect() as connection:
        connection.send(START + JSON_TYPE + body)
        assert connection.read_answer().status in (200, 400)
    assert all(bytes(request.body) == b'{"model": "m"}' for request in upstream.requests)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v1/models HTTP/1.1\r\n",
        b"GET /v1/models HTTP/1.1\r\nhost: gateway.test\r\nhost: evil.example\r\n",
        b"GET /v1/models HTTP/1.1\r\nhost: gateway.test#@evil.example\r\n",
        b"GET /v1/models HTTP/1.1\r\nhost: evil.example/?\r\n",
        b"GET http://evil.example/v1/models HTTP/1.1\r\nhost: gateway.test\r\n",
        b"GET //evil.example/v1/models HTTP/1.1\r\nhost: gateway.test\r\n",
    ],
)
def test_a_doubtful_host_is_refused_or_harmless(
    gateway: GatewayProcess, raw: RawClient, upstream: Upstream, head: bytes
) -> None:
    """T60: the host decides nothing."""
    gateway.expects_traceback = True  # Django logs a host that is not allowed with one.
    received = raw.exchange(head + b"x-provider: openai\r\nconnection: close\r\n" + bearer() + b"\r\n")
    assert received.startswith(b"HTTP/1.1 ")
    assert b" 500 " not in received.split(b"\r\n")[0]
    assert all(request.header("host") == f"127.0.0.1:{upstream.port}" for request in upstream.requests)
    assert b"evil.example" not in b"".join(request.raw_head for request in upstream.requests)


def bearer() -> bytes:
    """The credential as a header line."""
    return f"{BEARER[0]}: {BEARER[1]}\r\n".encode()


@pytest.mark.parametrize(
    "head",
    [
        b"x-long: " + b"x" * 1024 * 1024 + b"\r\n",
        b"".join(b"x-%d: y\r\n" % number for number in range(5000)),
        b"x-%s: y\r\n" % (b"n" * 100_000),
    ],
    ids=["one long header", "many headers", "a long name"],
)
def test_an_oversized_head_is_refused(raw: RawClient, upstream: Upstream, head: bytes) -> None:
    """T15."""
    received = send_all(raw, START + JSON_TYPE + head + b"connection: close\r\ncontent-length: 2\r\n\r\n{}")
    assert received.split(b" ")[1] in (b"400", b"413", b"431")
    assert not upstream.requests


@pytest.mark.parametrize("target", ["/v1/files?" + "q" * 100_000, "/v1/" + "p" * 100_000])
def test_an_oversized_target_is_refused(raw: RawClient, upstream: Upstream, target: str) -> None:
    """T15."""
    head = f"GET {target} HTTP/1.1\r\nhost: gateway.test\r\nconnection: close\r\n".encode() + bearer()
    assert send_all(raw, head + b"\r\n").split(b" ")[1] in (b"400", b"404", b"414")
    assert not upstream.requests


def send_all(raw: RawClient, data: bytes) -> bytes:
    """Send what the gateway may refuse to take to its end."""
    connection: RawConnection
    with raw.connect() as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.send(data)
        return connection.read_to_end()


@pytest.mark.parametrize(
    "first", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0" * 100, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
)
def test_what_is_no_http_is_no_crash(raw: RawClient, first: bytes) -> None:
    received = send_all(raw, first)
    assert received == b"" or received.startswith(b"HTTP/1.1 400")


def test_line_ends_and_escape_codes_from_a_caller_do_not_reach_the_log(
    gateway: GatewayProcess, raw: RawClient, upstream: Upstream
) -> None:
    """T71: one record per line, whatever a caller writes into names."""
    start = len(gateway.log())
    nasty = "x\r\nFORGED\x1b[31m\u2028FORGED"
    raw.post(CHAT_PATH, {**CHAT, "model": nasty}, [BEARER])
    raw.post(CHAT_PATH, {**CHAT, "model": nasty}, [("authorization", "Bearer sk-x"), ("x-provider", "unreachable")])
    raw.post(CHAT_PATH, CHAT, [BEARER, ("x-provider", "a\x1b[31mb"), ("user-agent", "\x1b[31m")])
    raw.get("/v1/%0d%0aFORGED%1b[31m", [BEARER])
    news = gateway.log()[start:]
    assert "\x1b" not in news
    assert "\u2028" not in news
    assert not [line for line in news.splitlines() if line.startswith("FORGED")]
