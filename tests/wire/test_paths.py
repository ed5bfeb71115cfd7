"""Which paths and methods pass, and which are refused with nothing sent."""

from __future__ import annotations

import json

import pytest

from tests.gateway_process import GatewayProcess
from tests.raw_client import ConnectionEnded, RawClient, write_request
from tests.upstream import End, Upstream, event_stream, head, play
from tests.wire.samples import BEARER, CHAT, CHAT_DIALECT, CHAT_PATH, check_openai

pytestmark = pytest.mark.usefixtures("quiescent")

CRAFTED = [
    "/v1/../admin",
    "/v1/./models",
    "/v1/models/..",
    "/v1/%2e%2e/x",
    "/v1/%2E%2E/x",
    "/v1/%252e%252e/x",
    "/v1/..%2fx",
    "/v1/x%2f..%2f..%2fadmin",
    "/v1//evil/x",
    "/v1///evil",
    "/v1/https://evil.example/",
    "/v1/a%3fb",
    "/v1/a%23f",
    "/v1/a%00b",
    "/v1/a%0d%0ab",
    "/v1/a%20b",
    "/v1/\\\\evil",
    "/v1/%5c%5cevil",
    "/v1/x;y",
    "/v1/%c0%ae%c0%ae/x",
    "/v1/caf%C3%A9",
    "/v1beta/../v1/models",
    "/v1beta/%2e%2e/x",
]


@pytest.mark.parametrize("path", CRAFTED)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_crafted_path_is_refused_and_nothing_is_sent(
    raw: RawClient, upstream: Upstream, method: str, path: str
) -> None:
    """T55."""
    opened = upstream.opened
    answer = raw.call(method, path, [BEARER, ("x-provider", "openai")], b"" if method == "GET" else b"{}")
    assert answer.status == 404
    assert answer.header("content-type") == "application/json"
    assert not upstream.requests
    assert upstream.opened == opened


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_any_method_passes(raw: RawClient, upstream: Upstream, method: str) -> None:
    headers = [BEARER, ("x-provider", "openai"), ("content-type", "application/json")]
    answer = raw.call(method, "/v1/vector_stores/vs_1", headers, None if method in ("GET", "DELETE") else b'{"a":1}')
    assert answer.status == 200
    assert (upstream.request.method, upstream.request.target) == (method, "/v1/vector_stores/vs_1")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/files/file-1/content",
        "/v1/fine_tuning/jobs/ft:gpt:org:x/events",
        "/v1/of/next/month",
        "/v1/models/a.b-c_d~e",
    ],
)
def test_any_path_below_v1_passes(raw: RawClient, upstream: Upstream, path: str) -> None:
    assert raw.get(path, [BEARER, ("x-provider", "openai")]).status == 200
    assert upstream.request.target == path


def test_a_colon_written_as_percent_3a_passes(raw: RawClient, upstream: Upstream) -> None:
    assert raw.get("/v1/files/a%3Ab", [BEARER]).status == 200
    assert upstream.request.target == "/v1/files/a:b"


@pytest.mark.parametrize(
    "query", ["limit=2&after=x%2Fy", "a=1&a=2", "flag", "q=%00%0d%0a", "x=a+b&&y=", "%F0%9F%98%80=1"]
)
def test_the_query_string_is_kept_as_it_was_written(raw: RawClient, upstream: Upstream, query: str) -> None:
    assert raw.get(f"/v1/files?{query}", [BEARER]).status == 200
    assert upstream.request.target == f"/v1/files?{query}"


def test_a_trailing_slash_is_no_redirect(raw: RawClient, upstream: Upstream) -> None:
    """T72: Django's APPEND_SLASH would lose the body."""
    assert raw.post(f"{CHAT_PATH}/", CHAT, [BEARER]).status == 200
    assert upstream.request.target == CHAT_PATH
    assert upstream.request.json() == CHAT


def test_head_is_answered_without_a_body(raw: RawClient, upstream: Upstream) -> None:
    upstream.answer(play(head(200, [("content-type", "application/json"), ("content-length", "1234")])))
    with raw.connect() as connection:
        connection.request("HEAD", "/v1/files/file-1", [BEARER])
        answer = connection.read_head()
        assert answer.status == 200
        assert upstream.request.method == "HEAD"
        # Nothing of a body may lie between this answer and the next.
        connection.request("GET", "/health")
        assert connection.read_answer().status == 200


def test_an_http_1_0_caller_gets_no_chunked_body(raw: RawClient, upstream: Upstream) -> None:
    """T72."""
    upstream.answer(event_stream(*CHAT_DIALECT.events))
    request = write_request("POST", CHAT_PATH, [BEARER], b'{"model": "m", "stream": true}')
    received = raw.exchange(request.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1))
    answer_head, _, body = received.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in answer_head.lower()
    assert body == b"".join(CHAT_DIALECT.events)


def test_an_answer_without_a_length_that_is_too_long_for_http_1_0_is_refused(
    raw: RawClient, upstream: Upstream
) -> None:
    """T72: it would have to be held as a whole."""
    upstream.answer(play(head(200, [("content-type", "audio/mpeg")]), *(bytes(1 << 20) for _ in range(65)), End.STALL))
    request = write_request("POST", "/v1/audio/speech", [BEARER], b'{"model": "m"}')
    received = raw.exchange(request.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1))
    answer_head, _, body = received.partition(b"\r\n\r\n")
    assert answer_head.split()[1] == b"505"
    assert b"transfer-encoding" not in answer_head.lower()
    assert json.loads(body)["error"]["code"] == "http_version_unsupported"
    upstream.wait_for("the gateway has left the upstream", lambda: upstream.busy == 0)


def test_a_request_that_is_refused_by_its_head_gets_no_100_continue(raw: RawClient) -> None:
    """T72: the body of a stranger is not even asked for."""
    headers = [
        ("authorization", "Bearer gw_wrong"),
        ("content-length", str(100 * 1024 * 1024)),
        ("expect", "100-continue"),
    ]
    with raw.connect() as connection:
        connection.request("POST", CHAT_PATH, headers)
        assert connection.read_head().status == 401


def test_expect_100_continue_is_answered_for_a_welcome_request(raw: RawClient, upstream: Upstream) -> None:
    with raw.connect() as connection:
        headers = [BEARER, ("content-type", "application/json"), ("content-length", "14"), ("expect", "100-continue")]
        connection.request("POST", CHAT_PATH, headers)
        assert connection.read_head().status == 100
        connection.send(b'{"model": "m"}')
        assert connection.read_answer().status == 200
    assert upstream.request.values("expect") == []


def test_an_unknown_expectation_is_no_crash(raw: RawClient) -> None:
    assert raw.post(CHAT_PATH, CHAT, [BEARER, ("expect", "foo")]).status in (200, 417)


@pytest.mark.parametrize("path", ["/v1/responses", "/page", "/nothing"])
def test_a_websocket_is_refused_at_once(raw: RawClient, upstream: Upstream, path: str) -> None:
    """Some clients try one first and fall back to HTTP. Django knows none, and would raise an error."""
    headers = [
        BEARER,
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    with raw.connect() as connection:
        connection.request("GET", path, headers)
        assert connection.read_head().status == 403
    assert not upstream.requests


def test_a_strange_method_is_no_crash(raw: RawClient) -> None:
    received = raw.exchange(write_request("FOO", "/v1/models", [BEARER, ("connection", "close")]))
    assert received.startswith((b"HTTP/1.1 400", b"HTTP/1.1 405", b"HTTP/1.1 200", b"HTTP/1.1 501"))


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1beta", "/v1/v1/messages"])
def test_where_there_is_nothing_the_answer_is_json(raw: RawClient, upstream: Upstream, path: str) -> None:
    answer = raw.get(path, [BEARER])
    assert answer.status == 404
    if "beta" not in path:
        check_openai(answer.json())
    assert not upstream.requests


@pytest.mark.parametrize("path", ["/", "/v2/models", "/v1x", "/page", "/nothing"])
def test_all_other_paths_are_the_sites(raw: RawClient, upstream: Upstream, path: str) -> None:
    answer = raw.get(path)
    assert answer.status == (200 if path == "/page" else 404)
    assert (answer.header("content-type") or "").startswith("text/html")
    assert not upstream.requests


def test_claude_codes_greeting_is_answered(raw: RawClient) -> None:
    for method in ("HEAD", "GET"):
        assert raw.call(method, "/api/hello").status == 200


def test_a_connection_serves_one_request_after_the_other(raw: RawClient, gateway: GatewayProcess) -> None:
    with raw.connect() as connection:
        for _ in range(5):
            connection.request("POST", CHAT_PATH, [BEARER, ("content-type", "application/json")], b'{"model": "m"}')
            assert connection.read_answer().json() == {"ok": True}
            connection.request("GET", "/page")
            assert connection.read_answer().body == b"a page of the site"


def test_the_gateway_does_not_close_a_connection_without_saying_so(raw: RawClient) -> None:
    with raw.connect() as connection:
        connection.request("POST", CHAT_PATH, [("authorization", "Bearer gw_wrong")], b"{}")
        answer = connection.read_answer()
        assert answer.status == 401
        if answer.is_last:
            with pytest.raises(ConnectionEnded):
                connection.read_exactly(1)
        else:
            connection.request("GET", "/health")
            assert connection.read_answer().status == 200
