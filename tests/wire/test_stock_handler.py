"""A site that only included the urls, under Django's own ASGI handler: the same answers, without the extras."""

from __future__ import annotations

import pytest

from tests.gateway_process import GatewayProcess
from tests.raw_client import RawClient
from tests.upstream import End, Upstream, event_stream, json_answer, plain_answer
from tests.wire.samples import BEARER, CHAT, CHAT_DIALECT, CHAT_PATH, DIALECTS, JSON, Dialect

pytestmark = [
    pytest.mark.usefixtures("quiescent"),
    pytest.mark.parametrize("door", ["stock"], indirect=True),
]
BY_DIALECT = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)


@BY_DIALECT
def test_calls_are_answered(raw: RawClient, upstream: Upstream, dialect: Dialect) -> None:
    upstream.answer(json_answer({"said": "hello"}))
    assert raw.post(dialect.path, dialect.body, [BEARER]).json() == {"said": "hello"}
    upstream.answer(event_stream(*dialect.events))
    assert raw.post(dialect.stream_path, dialect.stream_body, [BEARER]).body == b"".join(dialect.events)


@BY_DIALECT
def test_errors_are_in_the_callers_dialect(raw: RawClient, dialect: Dialect) -> None:
    for headers, status in (([BEARER, ("x-provider", "nobody")], 400), ([("x-api-key", "gw_wrong")], 401)):
        answer = raw.post(dialect.path, dialect.body, headers)
        assert answer.status == status
        dialect.check_error(answer.json())


def test_an_event_arrives_before_the_next_one_is_sent(raw: RawClient, upstream: Upstream) -> None:
    gate = upstream.gate()
    first, *rest = CHAT_DIALECT.events
    upstream.answer(event_stream(first, gate, *rest))
    with raw.connect() as connection:
        connection.request("POST", CHAT_PATH, [BEARER, JSON], b'{"model": "m", "stream": true}')
        connection.read_head()
        assert connection.read_text_until(first) == first
        gate.open()
        assert b"".join(connection.chunks()) == b"".join(rest)


def test_a_caller_that_leaves_in_mid_stream_frees_the_upstream(raw: RawClient, upstream: Upstream) -> None:
    upstream.answer(event_stream(CHAT_DIALECT.events[0], End.STALL))
    connection = raw.connect()
    connection.request("POST", CHAT_PATH, [BEARER, JSON], b'{"model": "m", "stream": true}')
    connection.read_head()
    connection.read_text_until(CHAT_DIALECT.events[0])
    connection.close()
    upstream.wait_for("the gateway has left the upstream", lambda: upstream.aborted == 1 and upstream.busy == 0, 10)


def test_a_broken_stream_ends_with_an_error_event(raw: RawClient, upstream: Upstream) -> None:
    upstream.answer(event_stream(CHAT_DIALECT.events[0], 0.1, End.RESET))
    body = raw.post(CHAT_PATH, CHAT_DIALECT.stream_body, [BEARER]).body
    assert b'"upstream_closed"' in body
    assert b"[DONE]" not in body


def test_bodies_larger_than_djangos_limit_for_forms_pass(raw: RawClient, upstream: Upstream) -> None:
    body = b'{"model": "m", "x": "' + b"y" * 5_000_000 + b'"}'
    assert raw.post(CHAT_PATH, body, [BEARER]).status == 200
    assert bytes(upstream.request.body) == body


def test_an_upload_arrives_byte_for_byte(raw: RawClient, upstream: Upstream) -> None:
    body = bytes(range(256)) * 20_000
    headers = [BEARER, ("content-type", "multipart/form-data; boundary=frontier")]
    assert raw.call("POST", "/v1/files", headers, body).status == 200
    assert bytes(upstream.request.body) == body


def test_a_crafted_path_is_refused(raw: RawClient, upstream: Upstream) -> None:
    for path in ("/v1/%2e%2e/x", "/v1/../admin", "/v1//x"):
        assert raw.get(path, [BEARER, ("x-provider", "openai")]).status == 404
    assert not upstream.requests


def test_cookies_and_csrf_do_not_matter(raw: RawClient, upstream: Upstream) -> None:
    answer = raw.post(CHAT_PATH, CHAT, [BEARER, ("cookie", "csrftoken=abc; sessionid=def")])
    assert answer.status == 200
    assert upstream.request.values("cookie") == []


def test_a_trailing_slash_is_no_redirect(raw: RawClient, upstream: Upstream) -> None:
    assert raw.post(f"{CHAT_PATH}/", CHAT, [BEARER]).status == 200


def test_health_answers(gateway: GatewayProcess, raw: RawClient, upstream: Upstream) -> None:
    upstream.answer(plain_answer(b"x"))
    assert raw.get("/health").json()["status"] == "healthy"
    assert raw.get("/health/ready").status == 200
    assert raw.call("HEAD", "/api/hello").status == 200
