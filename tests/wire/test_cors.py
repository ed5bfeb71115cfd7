"""Browsers: preflights and origins are the business of the site's CORS middleware, by both doors."""

from __future__ import annotations

import pytest

from tests.raw_client import RawClient
from tests.upstream import Upstream, event_stream, json_answer
from tests.wire.samples import BEARER, CHAT, CHAT_DIALECT, CHAT_PATH

pytestmark = pytest.mark.usefixtures("quiescent")

ORIGIN = ("origin", "https://app.example")
FOREIGN = ("origin", "https://foreign.example")
HEADERS = (
    "authorization, content-type, x-api-key, x-provider, anthropic-version, anthropic-beta, "
    "anthropic-dangerous-direct-browser-access, x-stainless-arch, x-stainless-lang, x-stainless-os, "
    "x-stainless-package-version, x-stainless-retry-count, x-stainless-runtime, x-stainless-runtime-version, "
    "x-stainless-timeout"
)


def test_a_preflight_is_answered_without_a_key(raw: RawClient, upstream: Upstream) -> None:
    asked = [ORIGIN, ("access-control-request-method", "POST"), ("access-control-request-headers", HEADERS)]
    answer = raw.call("OPTIONS", CHAT_PATH, asked)
    assert answer.status == 200
    assert answer.header("access-control-allow-origin") == ORIGIN[1]
    allowed = {name.strip() for name in (answer.header("access-control-allow-headers") or "").lower().split(",")}
    assert {name.strip() for name in HEADERS.split(",")} <= allowed
    assert not upstream.requests


def test_an_answer_to_a_known_origin_says_so(raw: RawClient, upstream: Upstream) -> None:
    answer = raw.post(CHAT_PATH, CHAT, [BEARER, ORIGIN])
    assert answer.status == 200
    assert answer.header("access-control-allow-origin") == ORIGIN[1]
    assert upstream.request.values("origin") == []


def test_a_stream_to_a_known_origin_says_so(raw: RawClient, upstream: Upstream) -> None:
    upstream.answer(event_stream(*CHAT_DIALECT.events))
    answer = raw.post(CHAT_PATH, CHAT_DIALECT.stream_body, [BEARER, ORIGIN])
    assert answer.header("access-control-allow-origin") == ORIGIN[1]
    assert answer.body == b"".join(CHAT_DIALECT.events)


def test_what_an_answer_varies_by_is_what_the_provider_says_of_it_and_the_origin(
    raw: RawClient, upstream: Upstream
) -> None:
    """The body is the provider's own, and so is what is said of it; the middleware adds what it does itself."""
    upstream.answer(json_answer({"ok": True}, headers=[("vary", "Accept, X-Theirs")]))
    answer = raw.post(CHAT_PATH, CHAT, [BEARER, ORIGIN])
    varies = {name.strip().lower() for value in answer.values("vary") for name in value.split(",")}
    assert {"accept", "x-theirs", "origin"} <= varies


@pytest.mark.parametrize("headers", [[("authorization", "Bearer gw_wrong")], [BEARER, ("x-provider", "nobody")]])
def test_a_refusal_says_so_too_for_the_browser_would_hide_it(raw: RawClient, headers: list[tuple[str, str]]) -> None:
    answer = raw.post(CHAT_PATH, CHAT, [*headers, ORIGIN])
    assert answer.status in (400, 401)
    assert answer.json()["error"]["message"]
    assert answer.header("access-control-allow-origin") == ORIGIN[1]


def test_a_refusal_by_the_head_alone_says_so_too(raw: RawClient) -> None:
    fields = [("authorization", "Bearer gw_wrong"), ORIGIN, ("content-length", "50000000")]
    with raw.connect() as connection:
        connection.request("POST", CHAT_PATH, fields)
        answer = connection.read_head()
    assert answer.status == 401
    assert answer.header("access-control-allow-origin") == ORIGIN[1]


def test_a_foreign_origin_is_told_nothing(raw: RawClient) -> None:
    """T70."""
    asked = [FOREIGN, ("access-control-request-method", "POST"), ("access-control-request-headers", "authorization")]
    assert raw.call("OPTIONS", CHAT_PATH, asked).values("access-control-allow-origin") == []
    assert raw.post(CHAT_PATH, CHAT, [BEARER, FOREIGN]).values("access-control-allow-origin") == []


def test_what_the_provider_says_of_origins_is_not_passed_on(raw: RawClient, upstream: Upstream) -> None:
    """T70."""
    upstream.answer(event_stream(*CHAT_DIALECT.events, headers=[("access-control-allow-origin", "*")]))
    assert raw.post(CHAT_PATH, CHAT_DIALECT.stream_body, [BEARER]).values("access-control-allow-origin") == []


def test_a_session_cookie_is_no_credential(raw: RawClient, upstream: Upstream) -> None:
    """T70."""
    answer = raw.post(CHAT_PATH, CHAT, [("cookie", "sessionid=0123456789abcdef"), ORIGIN])
    assert answer.status == 401
    assert not upstream.requests
