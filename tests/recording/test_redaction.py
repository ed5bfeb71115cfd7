"""No credential gets into a recording."""

from __future__ import annotations

import pytest

from ai_gateway.crypto import issue_key
from ai_gateway.redaction import credentials_in, is_sensitive, scrubbed, without_credentials

HIDING = ["authorization", "proxy-authorization", "x-api-key", "api-key", "cookie", "set-cookie", "x-goog-api-key"]
SHOWING = ["content-type", "x-session-id", "x-ratelimit-remaining-tokens", "idempotency-key", "x-request-id"]


@pytest.mark.parametrize("name", HIDING)
def test_headers_of_credentials_lose_their_values(name: str) -> None:
    assert is_sensitive(name.encode())
    assert without_credentials([(name.encode(), b"canary")]) == [(name, "[redacted]")]


@pytest.mark.parametrize("name", SHOWING)
def test_other_headers_stay(name: str) -> None:
    assert without_credentials([(name.encode(), b"shown")]) == [(name, "shown")]


def test_a_credential_that_a_body_repeats_is_taken_out() -> None:
    found = credentials_in(
        [(b"authorization", b"Bearer canary-0123456789"), (b"x-api-key", b"short"), (b"a", b"b" * 9)]
    )
    assert found == {b"canary-0123456789"}
    assert scrubbed(b"I am canary-0123456789, short", found) == b"I am [redacted], short"


@pytest.mark.parametrize(
    ("name", "value", "body"),
    [
        (b"cookie", b"session=canary-one; csrf=canary-two", b"canary-one and canary-two"),
        (b"sec-websocket-protocol", b"realtime, openai-insecure-api-key.canary-one", b"canary-one"),
        (b"authorization", b"Bearer canary/one", rb'{"a": "canary\/one"}'),
    ],
)
def test_a_credential_that_is_one_of_several_or_written_otherwise_is_taken_out(
    name: bytes, value: bytes, body: bytes
) -> None:
    headers = [(name, value)]
    assert b"canary" not in scrubbed(body, credentials_in(headers))
    assert "canary" not in str(without_credentials(headers))


def test_a_key_to_this_gateway_is_taken_out_wherever_it_is_from() -> None:
    key = issue_key()
    body = f'{{"content": "my key is {key.token}."}}'.encode()
    assert scrubbed(body, ()).decode() == f'{{"content": "my key is gw_{key.public_id}_[redacted]."}}'


@pytest.mark.parametrize("length", [1, 9, 20, 60])
def test_the_beginning_of_a_credential_at_the_end_of_what_was_cut_is_taken_out(length: int) -> None:
    credential = b"canary-" + b"0123456789" * 6
    assert scrubbed(b"text " + credential[:length], [credential], is_cut=True) == b"text "
    token = issue_key().token.encode()
    assert scrubbed(b"text " + token[: 16 + length % 40], (), is_cut=True) == b"text "
