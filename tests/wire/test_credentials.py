"""Whose credential goes to the provider."""

from __future__ import annotations

import pytest

from tests.conftest import GATEWAY_KEY, SECOND_GATEWAY_KEY, STORED, StartGateway
from tests.raw_client import RawClient
from tests.upstream import Upstream
from tests.wire.samples import BEARER, CHAT, CHAT_PATH, DIALECTS, GEMINI, MESSAGES, MESSAGES_PATH, Dialect

pytestmark = pytest.mark.usefixtures("quiescent")

FOUR_HEADERS = [
    ("authorization", f"Bearer {GATEWAY_KEY}"),
    ("Authorization", f"bearer {GATEWAY_KEY}"),
    ("x-api-key", GATEWAY_KEY),
    ("api-key", GATEWAY_KEY),
    ("x-goog-api-key", GATEWAY_KEY),
]
TARGETS = [
    (CHAT_PATH, "authorization", f"Bearer {STORED['openai']}"),
    (MESSAGES_PATH, "x-api-key", STORED["anthropic"]),
    ("/v1beta/models/gemini-3-flash:generateContent", "x-goog-api-key", STORED["gemini"]),
]
CREDENTIAL_HEADERS = {"authorization", "x-api-key", "api-key", "x-goog-api-key"}


@pytest.mark.parametrize("header", FOUR_HEADERS)
@pytest.mark.parametrize(("path", "name", "value"), TARGETS)
def test_a_gateway_key_in_any_header_is_served_with_the_stored_credential(
    raw: RawClient, upstream: Upstream, header: tuple[str, str], path: str, name: str, value: str
) -> None:
    assert raw.post(path, {**MESSAGES, **GEMINI}, [header]).status == 200
    request = upstream.request
    assert {each: request.values(each) for each in CREDENTIAL_HEADERS if request.values(each)} == {name: [value]}
    assert GATEWAY_KEY.encode() not in request.raw_head


def test_the_same_gateway_key_may_come_twice(raw: RawClient, upstream: Upstream) -> None:
    """Claude Code sends its key in both headers."""
    assert raw.post(MESSAGES_PATH, MESSAGES, [BEARER, ("x-api-key", GATEWAY_KEY)]).status == 200
    assert GATEWAY_KEY.encode() not in upstream.request.raw_head


@pytest.mark.parametrize(
    "headers",
    [
        [BEARER, ("x-api-key", SECOND_GATEWAY_KEY)],
        [BEARER, ("x-api-key", "sk-somebody")],
        [BEARER, BEARER],
        [BEARER, ("authorization", "Bearer sk-somebody")],
    ],
)
def test_keys_that_contradict_each_other_are_refused(
    raw: RawClient, upstream: Upstream, headers: list[tuple[str, str]]
) -> None:
    assert raw.post(CHAT_PATH, CHAT, headers).status == 401
    assert not upstream.requests


def test_a_caller_without_a_gateway_key_keeps_its_own_credential(raw: RawClient, upstream: Upstream) -> None:
    raw.post(CHAT_PATH, CHAT, [("authorization", "Bearer sk-of-the-caller")])
    assert upstream.request.values("authorization") == ["Bearer sk-of-the-caller"]
    assert b"stored" not in upstream.request.raw_head


@pytest.mark.parametrize("header", [("x-api-key", "sk-ant-of-the-caller"), ("authorization", "Bearer sk-ant-oat-1")])
def test_anthropic_takes_a_callers_own_credential_in_either_header(
    raw: RawClient, upstream: Upstream, header: tuple[str, str]
) -> None:
    raw.post(MESSAGES_PATH, MESSAGES, [header])
    assert upstream.request.values(header[0]) == [header[1]]
    assert b"stored" not in upstream.request.raw_head


def test_a_callers_own_credential_goes_into_the_header_that_the_provider_reads(
    raw: RawClient, upstream: Upstream
) -> None:
    raw.post(CHAT_PATH, CHAT, [("x-api-key", "sk-of-the-caller")])
    assert upstream.request.values("authorization") == ["Bearer sk-of-the-caller"]
    assert upstream.request.values("x-api-key") == []


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_nobody_never_gets_a_stored_credential(raw: RawClient, upstream: Upstream, dialect: Dialect) -> None:
    """T62: no credential at all, with a session cookie as a lure (T70)."""
    answer = raw.post(dialect.path, dialect.body, [("cookie", "sessionid=abc"), ("x-provider", "")][:1])
    assert answer.status == 401
    dialect.check_error(answer.json())
    assert not upstream.requests


@pytest.mark.parametrize(
    "value",
    [
        "Bearer gw_unknown",
        "bearer   gw_unknown",
        f"Bearer {GATEWAY_KEY}x",
        f"Bearer {GATEWAY_KEY[:-1]}",
        f"Bearer {GATEWAY_KEY[:20]}{'0' * 12}",
        f"Bearer {GATEWAY_KEY.upper().replace('GW_', 'gw_')}",
    ],
)
def test_what_looks_like_a_gateway_key_and_is_none_is_refused(raw: RawClient, upstream: Upstream, value: str) -> None:
    """T64 as well: sharing the beginning with a valid key helps nobody."""
    answer = raw.post(CHAT_PATH, CHAT, [("authorization", value)])
    assert answer.status == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert "gw_" not in answer.json()["error"]["message"]
    assert not upstream.requests


@pytest.mark.parametrize(
    "value",
    [
        f"Bearer {GATEWAY_KEY},Bearer {SECOND_GATEWAY_KEY}",
        "Bearer ' OR 1=1 --",
        'Bearer "quoted"',
        "Bearer " + "x" * 60_000,
        "Bearer gw_\xfc\xf6\xe4",
        "Bearer",
        "Bearer ",
        "Basic Z3c6Z3c=",
        GATEWAY_KEY[:-1],
        "",
    ],
)
def test_odd_authorization_values_are_refused_alike_when_passthrough_is_off(
    start_gateway: StartGateway, upstream: Upstream, value: str
) -> None:
    """T61."""
    raw = RawClient(start_gateway(PASSTHROUGH=False).port)
    answer = raw.post(CHAT_PATH, CHAT, [("authorization", value)])
    assert answer.status == 401
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.json()["error"]["code"] == "invalid_api_key"
    secret = value.removeprefix("Bearer").strip()
    assert not secret or secret.encode("latin-1") not in answer.body
    assert not upstream.requests


def test_a_nul_in_a_credential_is_refused(raw: RawClient, upstream: Upstream) -> None:
    data = b"GET /v1/models HTTP/1.1\r\nhost: gateway.test\r\nx-provider: openai\r\nauthorization: Bearer a\0b\r\n\r\n"
    answer = raw.exchange(data)
    assert answer.split(b" ")[1] in (b"400", b"401")
    assert not upstream.requests


def test_without_passthrough_a_foreign_credential_is_refused(start_gateway: StartGateway, upstream: Upstream) -> None:
    raw = RawClient(start_gateway(PASSTHROUGH=False).port)
    answer = raw.post(CHAT_PATH, CHAT, [("authorization", "Bearer sk-of-the-caller")])
    assert answer.status == 401
    assert not upstream.requests
    assert raw.post(CHAT_PATH, CHAT, [BEARER]).status == 200


def test_a_query_parameter_is_no_credential(raw: RawClient, upstream: Upstream) -> None:
    path = "/v1beta/models/gemini-3-flash:generateContent"
    assert raw.post(f"{path}?key={GATEWAY_KEY}", GEMINI).status == 401
    assert not upstream.requests
    assert raw.post(f"{path}?key=canary&alt=json", GEMINI, [BEARER]).status == 200
    assert upstream.request.target == f"{path}?alt=json"


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        (CHAT_PATH, [BEARER], b"{", 400),
        (CHAT_PATH, [BEARER, ("x-provider", "nobody")], b"{}", 400),
        (CHAT_PATH, [], b'{"model": "m"}', 401),
        (CHAT_PATH, [("authorization", "Bearer gw_wrong")], b"{}", 401),
        ("/v1//x", [BEARER], b"{}", 404),
        ("/v1", [BEARER], b"{}", 404),
    ],
)
def test_a_refusal_that_a_retry_cannot_heal_says_so(
    raw: RawClient, path: str, headers: list[tuple[str, str]], body: bytes, status: int
) -> None:
    answer = raw.post(path, body, headers)
    assert answer.status == status
    assert answer.header("x-should-retry") == "false"
