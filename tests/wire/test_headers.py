"""Which headers pass, in both directions."""

from __future__ import annotations

import pytest

from tests.conftest import STORED
from tests.raw_client import RawClient
from tests.upstream import Upstream, event_stream, head, json_answer, plain_answer, play
from tests.wire.samples import BEARER, CHAT, CHAT_DIALECT, CHAT_PATH, MESSAGES, MESSAGES_PATH

pytestmark = pytest.mark.usefixtures("quiescent")

DROPPED = [
    ("cookie", "sessionid=canary"),
    ("proxy-authorization", "Basic Y2FuYXJ5"),
    ("te", "trailers"),
    ("upgrade-insecure-requests", "1"),
    ("connection", "x-hop"),
    ("connection", "keep-alive, X-Other-Hop"),
    ("x-hop", "canary"),
    ("x-other-hop", "canary"),
    ("keep-alive", "timeout=5"),
    ("forwarded", "for=192.0.2.1"),
    ("via", "1.1 canary"),
    ("x-forwarded-for", "192.0.2.1"),
    ("x-forwarded-host", "evil.example"),
    ("x-real-ip", "192.0.2.1"),
    ("x-litellm-api-key", "canary"),
    ("x-portkey-api-key", "canary"),
    ("x-magicapi-api-key", "canary"),
    ("x-portkey-custom-host", "evil.example"),
    ("x-project-id", "p"),
    ("x-organization-id", "o"),
    ("x-organisation-id", "o"),
    ("x-user-id", "u"),
    ("x-experiment-id", "e"),
    ("x-provider", "openai"),
    ("openai-organization", "org-1"),
    ("openai-project", "proj-1"),
    ("x-goog-user-project", "p"),
    ("x-http-method-override", "GET"),
    ("sec-fetch-mode", "cors"),
]
KEPT = [
    ("openai-beta", "assistants=v2"),
    ("x-stainless-lang", "python"),
    ("user-agent", "tests/1.0"),
    ("accept", "application/json"),
    ("idempotency-key", "abc"),
    ("x-of-next-month", "yes"),
    ("x-empty", ""),
]


def test_credentials_cookies_and_hops_do_not_reach_the_provider(raw: RawClient, upstream: Upstream) -> None:
    """T54, with the open list of design.md: what is not known to be private passes."""
    removed = [pair for pair in DROPPED if pair[0] not in ("upgrade-insecure-requests", "x-portkey-custom-host")]
    assert raw.post(CHAT_PATH, CHAT, [BEARER, *removed]).status == 200
    request = upstream.request
    assert not {name for name, _ in removed if name != "connection"} & set(request.names())
    assert b"canary" not in request.raw_head
    assert request.values("connection") in ([], ["keep-alive"])
    assert request.header("authorization") == f"Bearer {STORED['openai']}"


def test_all_other_headers_pass_unchanged_known_or_not(raw: RawClient, upstream: Upstream) -> None:
    raw.post(CHAT_PATH, CHAT, [BEARER, *KEPT])
    assert {name: upstream.request.values(name) for name, _ in KEPT} == {name: [value] for name, value in KEPT}


def test_host_and_framing_are_the_gateways_own(raw: RawClient, upstream: Upstream) -> None:
    raw.post(CHAT_PATH, b'{"model": "m"}', [BEARER])
    assert upstream.request.values("host") == [f"127.0.0.1:{upstream.port}"]
    assert upstream.request.values("content-length") == ["14"]
    assert upstream.request.values("transfer-encoding") == []


def test_a_chunked_json_body_arrives_whole_with_one_framing(raw: RawClient, upstream: Upstream) -> None:
    headers = [BEARER, ("content-type", "application/json"), ("transfer-encoding", "chunked")]
    answer = raw.call("POST", CHAT_PATH, headers, b'5\r\n{"mod\r\n9\r\nel": "m"}\r\n0\r\n\r\n')
    assert answer.status == 200
    assert bytes(upstream.request.body) == b'{"model": "m"}'
    assert len(upstream.request.values("content-length") + upstream.request.values("transfer-encoding")) == 1


def test_the_provider_is_asked_for_no_content_coding(raw: RawClient, upstream: Upstream) -> None:
    raw.post(CHAT_PATH, CHAT, [BEARER, ("accept-encoding", "gzip, br, zstd")])
    assert upstream.request.values("accept-encoding") == ["identity"]


def test_fields_and_headers_that_name_a_host_change_nothing(raw: RawClient, upstream: Upstream) -> None:
    """T56."""
    elsewhere = {"api_base": "http://evil.example", "base_url": "http://evil.example", "api_key": "sk-other"}
    headers = [BEARER, ("x-portkey-custom-host", "http://evil.example"), ("x-base-url", "http://evil.example")]
    answer = raw.post(f"{CHAT_PATH}?api_base=http://evil.example", {**CHAT, **elsewhere}, headers)
    assert answer.status == 200
    assert upstream.request.header("host") == f"127.0.0.1:{upstream.port}"
    assert upstream.request.header("authorization") == f"Bearer {STORED['openai']}"


def test_header_names_with_underscores_are_not_taken_for_those_with_dashes(raw: RawClient, upstream: Upstream) -> None:
    """T63."""
    headers = [("X-Api-Key", BEARER[1].removeprefix("Bearer ")), ("X_Api_Key", "other"), ("X_Provider", "echo")]
    answer = raw.post(MESSAGES_PATH, MESSAGES, headers)
    assert answer.status == 200
    assert upstream.request.values("x-api-key") == [STORED["anthropic"]]
    assert b"other" not in upstream.request.raw_head


def test_anthropic_version_is_added_when_it_is_missing(raw: RawClient, upstream: Upstream) -> None:
    raw.post(MESSAGES_PATH, MESSAGES, [BEARER])
    assert upstream.request.values("anthropic-version") == ["2023-06-01"]


def test_anthropic_version_and_beta_are_kept_when_they_are_there(raw: RawClient, upstream: Upstream) -> None:
    betas = "claude-code-20250219,interleaved-thinking-2025-05-14"
    raw.post(MESSAGES_PATH, MESSAGES, [BEARER, ("anthropic-version", "2026-10-21"), ("anthropic-beta", betas)])
    assert upstream.request.values("anthropic-version") == ["2026-10-21"]
    assert upstream.request.values("anthropic-beta") == [betas]


def test_headers_of_the_answer_pass_except_hops_cookies_and_addresses(raw: RawClient, upstream: Upstream) -> None:
    """T49."""
    dropped = [
        ("Set-Cookie", "__cf_bm=canary"),
        ("Set-Cookie", "second=canary"),
        ("Alt-Svc", 'h3=":443"'),
        ("Keep-Alive", "timeout=5"),
        ("Connection", "keep-alive, x-upstream-hop"),
        ("X-Upstream-Hop", "canary"),
        ("Upgrade", "h2c"),
        ("Proxy-Authenticate", "Basic"),
        ("Trailer", "x-sum"),
        ("Clear-Site-Data", '"*"'),
        ("Refresh", "0;url=https://canary.example"),
        ("Content-Security-Policy", "default-src canary"),
        ("WWW-Authenticate", "Basic"),
    ]
    kept = [("openai-processing-ms", "12"), ("x-ratelimit-remaining-requests", "99"), ("x-anything", "at all")]
    upstream.answer(json_answer({"ok": True}, headers=[*dropped, *kept]))
    answer = raw.post(CHAT_PATH, CHAT, [BEARER])
    assert answer.json() == {"ok": True}
    assert {name: answer.header(name) for name, _ in kept} == dict(kept)
    names = {name for name, _ in answer.headers}
    assert not names & {name.lower() for name, _ in dropped if name != "Connection"}
    assert b"canary" not in answer.raw_head
    assert len(answer.values("content-length") + answer.values("transfer-encoding")) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed_and_its_address_not_passed_on(
    raw: RawClient, upstream: Upstream, status: int
) -> None:
    """T50."""
    there = f"http://127.0.0.1:{upstream.port}/v1/elsewhere"
    upstream.answer(plain_answer(b"moved", status=status, headers=[("location", there)]))
    answer = raw.post(CHAT_PATH, CHAT, [BEARER])
    assert answer.status == 502 or 300 <= answer.status < 400
    assert answer.values("location") == []
    assert len(upstream.requests) == 1


def test_the_answer_says_who_gave_it(raw: RawClient) -> None:
    answer = raw.post(CHAT_PATH, {**CHAT, "model": "openai/gpt-5"}, [BEARER])
    assert answer.header("x-gateway-provider") == "openai"
    assert answer.header("x-gateway-model") == "gpt-5"
    assert answer.header("x-gateway-attempts") == "1"
    assert (answer.header("server-timing") or "").startswith("gateway;dur=")


def test_a_stream_has_one_framing_and_is_not_to_be_buffered(raw: RawClient, upstream: Upstream) -> None:
    upstream.answer(event_stream(*CHAT_DIALECT.events))
    answer = raw.post(CHAT_PATH, CHAT_DIALECT.stream_body, [BEARER])
    assert answer.is_chunked
    assert answer.header("content-length") is None
    assert (answer.header("content-type") or "").startswith("text/event-stream")
    assert answer.header("x-accel-buffering") == "no"
    assert "no-cache" in (answer.header("cache-control") or "")


def test_header_bytes_that_are_no_text_do_not_break_the_answer(raw: RawClient, upstream: Upstream) -> None:
    """T47: relayed as they are, or dropped."""
    upstream.answer(play(b"HTTP/1.1 200 OK\r\nx-odd: \xff\xfe\r\ncontent-length: 2\r\n\r\nok"))
    answer = raw.post(CHAT_PATH, CHAT, [BEARER])
    assert (answer.status, answer.body) == (200, b"ok")
    assert answer.header("x-odd") in (None, "\xff\xfe")


@pytest.mark.parametrize(("method", "status"), [("DELETE", 204), ("GET", 304), ("HEAD", 200), ("HEAD", 404)])
def test_an_answer_that_has_no_body_has_no_framing(
    raw: RawClient, upstream: Upstream, method: str, status: int
) -> None:
    upstream.answer(play(head(status)))
    answer = raw.call(method, "/v1/files/file-1", [BEARER])
    assert answer.status == status
    assert answer.values("transfer-encoding") == answer.values("content-length") == []


def test_an_answer_to_head_keeps_the_length_of_what_get_would_bring(raw: RawClient, upstream: Upstream) -> None:
    upstream.answer(play(head(200, [("content-length", "77")])))
    assert raw.call("HEAD", "/v1/files/file-1", [BEARER]).values("content-length") == ["77"]
