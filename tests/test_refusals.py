"""Errors as replies: what stands in the body and beside it."""

from __future__ import annotations

import json

import pytest

from ai_gateway.errors import Kind, ProviderError, ThreadUnsupported, Unsupported, UpstreamClosed
from ai_gateway.protocols import DIALECTS
from ai_gateway.refusals import LONGEST_WAIT, refuse, refuse_call
from tests.factories import make_call, make_meter

CHAT, MESSAGES = DIALECTS["openai_chat"], DIALECTS["anthropic_messages"]


def provider_error(kind: Kind, code: str | None = None, status: int = 429, wait: int | None = None) -> ProviderError:
    return ProviderError("It did not work out.", status=status, kind=kind, code=code, retry_after=wait)


@pytest.mark.parametrize(
    ("wait", "verdict"),
    [(None, None), (1, None), (LONGEST_WAIT, None), (LONGEST_WAIT + 1, b"false"), (86400, b"false")],
)
def test_nobody_is_told_to_wait_for_long(wait: int | None, verdict: bytes | None) -> None:
    headers = dict(refuse(provider_error(Kind.RATE_LIMIT, wait=wait), CHAT, "req_1").headers)
    assert headers.get(b"x-should-retry") == verdict
    assert headers.get(b"retry-after") == (None if wait is None else b"%d" % wait)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (Kind.BAD_REQUEST, None),
        (Kind.PERMISSION, "permission_denied"),
        (Kind.TIMEOUT, "upstream_timeout"),
        (Kind.OVERLOADED, "server_is_overloaded"),
        (Kind.UPSTREAM, "upstream_error"),
    ],
)
def test_a_provider_without_codes_has_openais(kind: Kind, code: str | None) -> None:
    assert json.loads(CHAT.write_error(provider_error(kind), "req_1"))["error"]["code"] == code
    assert json.loads(CHAT.write_error(provider_error(kind, "their_own"), "req_1"))["error"]["code"] == "their_own"


@pytest.mark.parametrize("message", ["The context is full.", "prompt is too long: 9 tokens > 8 maximum"])
def test_a_prompt_that_is_too_long_is_told_in_anthropics_words(message: str) -> None:
    error = ProviderError(message, status=400, kind=Kind.BAD_REQUEST, code="context_length_exceeded")
    written = json.loads(MESSAGES.write_error(error, "req_1"))["error"]
    assert written["type"] == "invalid_request_error"
    assert written["message"].startswith("prompt is too long: ")
    assert written["message"].count("prompt is too long") == 1
    assert message in written["message"]


@pytest.mark.parametrize("name", ["anthropic_messages", "gemini", "bedrock_converse"])
def test_a_format_without_a_place_for_the_member_names_it_in_the_message(name: str) -> None:
    def written(error: Unsupported | ProviderError) -> str:
        body: bytes = DIALECTS[name].write_error(error, "req_1")
        return body.decode()

    assert "tools[3]: Not here." in written(Unsupported("Not here.", param="tools[3]"))
    assert '"No tools[3] here."' in written(Unsupported("No tools[3] here.", param="tools[3]"))
    theirs = ProviderError("Not there.", status=400, kind=Kind.BAD_REQUEST, param="their[3]")
    assert '"Not there."' in written(theirs)


def test_anthropics_clients_find_the_gateways_code_where_they_look_for_it() -> None:
    """Its SDK takes this one for a reason to send the whole conversation in place of its id."""
    written = json.loads(MESSAGES.write_error(ThreadUnsupported("No threads.", param="thread"), "req_1"))["error"]
    assert written["details"] == {"error_code": "thread_unsupported_request"}


@pytest.mark.parametrize("attempts", [0, 3])
def test_a_call_that_was_tried_is_told_how_often(attempts: int) -> None:
    meter = make_meter(make_call())
    meter.attempts = attempts
    headers = dict(refuse_call(UpstreamClosed("gone"), meter).headers)
    assert headers.get(b"x-gateway-attempts") == (b"3" if attempts else None)
    assert b"server-timing" in headers
