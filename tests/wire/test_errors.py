"""Every failure is JSON in the caller's dialect; the provider's own errors pass as they are."""

from __future__ import annotations

import json

import pytest

from tests.conftest import StartGateway
from tests.gateway_process import GatewayProcess
from tests.raw_client import RawClient
from tests.upstream import Upstream, json_answer, plain_answer
from tests.wire.samples import BEARER, CHAT, CHAT_PATH, DIALECTS, JSON, MESSAGES, MESSAGES_PATH, Dialect

pytestmark = pytest.mark.usefixtures("quiescent")

BY_DIALECT = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
OPENAI_TYPES = {
    "invalid_request_error",
    "rate_limit_exceeded",
    "service_unavailable_error",
    "server_error",
    "timeout",
    "insufficient_quota",
    "tokens",
    "requests",
}
ANTHROPIC_TYPES = {
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "conflict_error",
    "request_too_large",
    "rate_limit_error",
    "api_error",
    "timeout_error",
    "overloaded_error",
}
OWN = ("authorization", "Bearer sk-own")
REFUSALS: list[tuple[str, list[tuple[str, str]], bytes, int]] = [
    ("no JSON", [BEARER], b"{", 400),
    ("unknown provider", [BEARER, ("x-provider", "nobody")], b"{}", 400),
    ("no credential", [], b'{"model": "m"}', 401),
    ("wrong key", [("x-api-key", "gw_wrong")], b'{"model": "m"}', 401),
    ("unreachable", [OWN, ("x-provider", "unreachable")], b'{"model": "m"}', 502),
]


@BY_DIALECT
@pytest.mark.parametrize(
    ("headers", "body", "status"), [each[1:] for each in REFUSALS], ids=[each[0] for each in REFUSALS]
)
def test_a_refusal_is_in_the_callers_dialect(
    raw: RawClient, dialect: Dialect, headers: list[tuple[str, str]], body: bytes, status: int
) -> None:
    answer = raw.call("POST", dialect.path, [JSON, *headers], body)
    if status == 502 and answer.status == 400:
        # This provider does not speak every dialect, which is found before it is called.
        status = 400
    assert answer.status == status
    value = answer.json()
    dialect.check_error(value)
    if dialect.path == MESSAGES_PATH:
        assert value["error"]["type"] in ANTHROPIC_TYPES
        assert value["request_id"] == answer.header("request-id")
    elif dialect.name == "gemini":
        assert value["error"]["code"] == status
    else:
        assert value["error"]["type"] in OPENAI_TYPES


@BY_DIALECT
def test_a_body_that_is_too_large_is_refused_in_the_callers_dialect(strict: RawClient, dialect: Dialect) -> None:
    answer = strict.post(dialect.path, b"x" * 100_001, [BEARER])
    assert answer.status == 413
    dialect.check_error(answer.json())


@BY_DIALECT
def test_an_upstreams_timeout_is_told_in_the_callers_dialect(strict: RawClient, dialect: Dialect) -> None:
    """Nobody listens on this address: the connection is refused or times out, by the network's mood."""
    answer = strict.post("/v1/embeddings", {"model": "m"}, [OWN, ("x-provider", "unreachable"), *version(dialect)])
    assert answer.status in (502, 504)


def version(dialect: Dialect) -> list[tuple[str, str]]:
    """The header by which Anthropic's callers are known on shared paths."""
    return [("anthropic-version", "2023-06-01")] if dialect.path == MESSAGES_PATH else []


def test_on_a_shared_path_the_header_tells_the_dialect(raw: RawClient) -> None:
    answer = raw.get("/v1/models/nothing", [("anthropic-version", "2023-06-01"), ("x-api-key", "gw_wrong")])
    assert answer.json()["error"]["type"] == "authentication_error"
    answer = raw.get("/v1/models/nothing", [("authorization", "Bearer gw_wrong")])
    assert answer.json()["error"]["code"] == "invalid_api_key"


def test_a_path_that_is_none_is_refused_in_the_callers_dialect(raw: RawClient) -> None:
    answer = raw.post("/v1/messages//x", MESSAGES, [BEARER])
    assert answer.status == 404
    assert answer.json()["type"] == "error"


def test_an_unknown_host_is_refused_with_json(gateway: GatewayProcess, raw: RawClient) -> None:
    """Django's DisallowedHost, where Django is asked; the direct door does not use the host at all."""
    gateway.expects_traceback = True  # Django logs it with one.
    for headers in ([("host", "evil.example")], [("host", "evil.example"), ("origin", "https://app.example")]):
        answer = raw.post(CHAT_PATH, CHAT, [BEARER, *headers])
        assert answer.status in (200, 400)
        assert answer.header("x-request-id")
        if answer.status == 400:
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("headers", [[], [("origin", "https://app.example")], [("referer", "https://x.example/")]])
def test_csrf_protection_does_not_concern_the_api(
    raw: RawClient, upstream: Upstream, headers: list[tuple[str, str]]
) -> None:
    answer = raw.post(CHAT_PATH, CHAT, [BEARER, ("cookie", "csrftoken=abc; sessionid=def"), *headers])
    assert answer.status == 200


def test_the_sites_own_forms_keep_their_csrf_protection(raw: RawClient) -> None:
    answer = raw.call("POST", "/form", [("content-type", "application/x-www-form-urlencoded")], b"a=b")
    assert answer.status == 403
    assert (answer.header("content-type") or "").startswith("text/html")


@pytest.mark.parametrize("door", ["django"], indirect=True)
def test_a_failure_of_the_sites_middleware_is_json(start_gateway: StartGateway) -> None:
    """What Django answers in HTML leaves as JSON on a gateway path."""
    gateway = start_gateway(site={"MIDDLEWARE": ["tests.wire.middleware.Refuse"]})
    raw = RawClient(gateway.port)
    for status in (400, 403, 404, 405, 500, 503):
        for dialect in DIALECTS:
            answer = raw.post(dialect.path, dialect.body, [BEARER, ("x-fail-with", str(status))])
            assert answer.status == status
            dialect.check_error(answer.json())
            assert answer.header("x-request-id")


@pytest.mark.parametrize("door", ["django"], indirect=True)
def test_a_crash_of_the_sites_middleware_is_json(start_gateway: StartGateway) -> None:
    gateway = start_gateway(site={"MIDDLEWARE": ["tests.wire.middleware.Refuse"]})
    gateway.expects_traceback = True
    answer = RawClient(gateway.port).post(CHAT_PATH, CHAT, [BEARER, ("x-fail-with", "crash")])
    assert answer.status == 500
    assert "canary" not in answer.body.decode()
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("door", ["django"], indirect=True)
def test_with_debug_on_the_api_still_answers_with_json(start_gateway: StartGateway, upstream: Upstream) -> None:
    gateway = start_gateway(site={"DEBUG": True, "MIDDLEWARE": ["tests.wire.middleware.Refuse"]})
    gateway.expects_traceback = True
    raw = RawClient(gateway.port)
    answer = raw.post(CHAT_PATH, CHAT, [BEARER, ("x-fail-with", "crash")])
    assert answer.status == 500
    assert answer.header("content-type") == "application/json"
    assert b"canary" not in answer.body
    assert raw.post(f"{CHAT_PATH}/", CHAT, [BEARER]).status == 200


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422, 429, 500, 502, 503, 529])
def test_an_error_of_the_provider_passes_as_it_is(raw: RawClient, upstream: Upstream, status: int) -> None:
    body = b'{ "error": {"message":"as it  is", "code": null, "x": 1e3} }'
    kept = [
        ("retry-after", "7"),
        ("retry-after-ms", "7000"),
        ("x-should-retry", "true"),
        ("x-ratelimit-remaining-tokens", "0"),
        ("anthropic-ratelimit-tokens-reset", "2026-01-01T00:00:00Z"),
    ]
    upstream.answer(plain_answer(body, "application/json", status, kept))
    answer = raw.post(CHAT_PATH, CHAT, [BEARER])
    assert (answer.status, answer.body) == (status, body)
    assert {name: answer.header(name) for name, _ in kept} == dict(kept)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(("status", "expected"), [(400, "false"), (404, "false"), (429, None), (500, None)])
def test_a_providers_error_that_a_retry_cannot_heal_is_marked(
    raw: RawClient, upstream: Upstream, status: int, expected: str | None
) -> None:
    upstream.answer(json_answer({"error": {"message": "no"}}, status))
    assert raw.post(CHAT_PATH, CHAT, [BEARER]).header("x-should-retry") == expected


def test_a_refused_stored_credential_is_the_operators_problem(raw: RawClient, upstream: Upstream) -> None:
    """The caller's key is right; a 401 would send it looking for its mistake, and show a piece of the stored one."""
    upstream.answer(json_answer({"error": {"message": "Incorrect API key provided: sk-store****enai"}}, 401))
    answer = raw.post(CHAT_PATH, CHAT, [BEARER])
    assert answer.status == 502
    assert answer.json()["error"]["code"] == "upstream_auth_error"
    assert b"sk-store" not in answer.body


def test_a_refused_credential_of_the_callers_own_passes_as_it_is(raw: RawClient, upstream: Upstream) -> None:
    upstream.answer(json_answer({"error": {"message": "Incorrect API key"}}, 401))
    answer = raw.post(CHAT_PATH, CHAT, [OWN])
    assert answer.status == 401
    assert answer.json() == {"error": {"message": "Incorrect API key"}}
    assert answer.header("x-should-retry") == "false"


def test_an_error_page_in_html_keeps_its_status(raw: RawClient, upstream: Upstream) -> None:
    upstream.answer(plain_answer(b"<html>Bad gateway</html>", "text/html", 502))
    answer = raw.post(CHAT_PATH, CHAT, [BEARER])
    assert answer.status == 502


def test_a_provider_without_a_stored_credential_is_a_503(raw: RawClient, upstream: Upstream) -> None:
    answer = raw.post(CHAT_PATH, CHAT, [BEARER, ("x-provider", "mistral")])
    assert (answer.status, answer.json()["error"]["code"]) == (503, "provider_not_configured")
    assert answer.header("x-should-retry") == "false"


def test_an_error_says_nothing_of_addresses(gateway: GatewayProcess, raw: RawClient) -> None:
    answer = raw.post(CHAT_PATH, CHAT, [OWN, ("x-provider", "unreachable")])
    assert "127.0.0.1" not in json.dumps(answer.json())
    assert "Traceback" not in json.dumps(answer.json())
