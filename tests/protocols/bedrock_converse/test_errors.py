"""Errors of Bedrock, and errors as a botocore client sees them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ai_gateway import errors
from ai_gateway.errors import GatewayError, Kind
from ai_gateway.protocols.bedrock_converse import DIALECT, PROTOCOL, error_type
from ai_gateway.protocols.bedrock_converse.errors import EXCEPTIONS, STREAM_EXCEPTIONS
from tests.protocols.bedrock_converse.botocore_client import Recorded, client, shape


def read(status: int, body: Any = b"", **headers: str) -> errors.ProviderError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return PROTOCOL.read_error(
        status, {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}, data
    )


@pytest.mark.parametrize(
    ("name", "given", "status", "kind", "code"),
    [
        ("ValidationException", 400, 400, Kind.BAD_REQUEST, None),
        ("AccessDeniedException", 403, 403, Kind.PERMISSION, "permission_denied"),
        ("UnrecognizedClientException", 403, 401, Kind.AUTHENTICATION, "invalid_api_key"),
        ("ExpiredTokenException", 403, 401, Kind.AUTHENTICATION, "invalid_api_key"),
        ("ResourceNotFoundException", 404, 404, Kind.NOT_FOUND, "model_not_found"),
        ("ModelTimeoutException", 408, 504, Kind.TIMEOUT, None),
        ("ModelErrorException", 424, 502, Kind.UPSTREAM, None),
        ("ThrottlingException", 429, 429, Kind.RATE_LIMIT, "rate_limit_exceeded"),
        ("ModelNotReadyException", 429, 503, Kind.OVERLOADED, None),
        ("ServiceQuotaExceededException", 400, 429, Kind.QUOTA, "insufficient_quota"),
        ("InternalServerException", 500, 500, Kind.UPSTREAM, None),
        ("ServiceUnavailableException", 503, 503, Kind.OVERLOADED, None),
        ("SomethingNewException", 418, 418, Kind.BAD_REQUEST, None),
    ],
)
@pytest.mark.parametrize("form", ["{}", "{}:http://internal.amazon.com/coral/", "com.amazon.coral#{}"])
def test_the_exception_tells_what_it_is(
    name: str, given: int, status: int, kind: Kind, code: str | None, form: str
) -> None:
    error = read(given, {"message": "It went wrong."}, x_amzn_errortype=form.format(name))
    assert (error.status, error.kind, error.code) == (status, kind, code)
    assert (error.message == "It went wrong.") is (kind is not Kind.AUTHENTICATION)
    in_body = read(given, {"Message": "It went wrong.", "__type": form.format(name)})
    assert (in_body.status, in_body.kind, in_body.code) == (status, kind, code)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Kind.BAD_REQUEST),
        (401, Kind.AUTHENTICATION),
        (403, Kind.PERMISSION),
        (404, Kind.NOT_FOUND),
        (413, Kind.TOO_LARGE),
        (429, Kind.RATE_LIMIT),
        (500, Kind.UPSTREAM),
        (503, Kind.OVERLOADED),
        (504, Kind.TIMEOUT),
    ],
)
@pytest.mark.parametrize(
    "body", [b"", b"<html>Bad Gateway</html>", b"[]", b"[1]", b'"error"', b"{", b"\xff", {"message": "<html>"}]
)
def test_without_a_name_the_status_tells_it_and_the_body_may_be_anything(status: int, kind: Kind, body: Any) -> None:
    error = read(status, body)
    assert (error.status, error.kind) == (status, kind)
    assert "html" not in error.message
    assert error.message


@pytest.mark.parametrize(
    "message",
    [
        "Input is too long for requested model.",
        "The model returned the following errors: prompt is too long: 210000 tokens > 200000 maximum",
        "The model returned the following errors: Too many input tokens. Max input tokens: 8192",
    ],
)
def test_a_prompt_that_does_not_fit_is_told_by_its_code(message: str) -> None:
    error = read(400, {"message": message}, x_amzn_errortype="ValidationException")
    assert (error.code, error.message) == ("context_length_exceeded", message)


def test_an_unknown_model_is_told_as_such() -> None:
    error = read(400, {"message": "The provided model identifier is invalid."}, x_amzn_errortype="ValidationException")
    assert (error.status, error.kind, error.code) == (404, Kind.NOT_FOUND, "model_not_found")


@pytest.mark.parametrize(
    "message",
    [
        "Invalid API Key format: Must start with pre-defined prefix",
        "Authentication failed: Please make sure your API Key is valid.",
        "The security token included in the request is invalid.",
    ],
)
def test_a_refused_key_is_told_as_such(message: str) -> None:
    error = read(403, {"Message": message}, x_amzn_errortype="AccessDeniedException")
    assert (error.status, error.kind) == (401, Kind.AUTHENTICATION)


def test_throttling_is_not_taken_for_a_prompt_that_does_not_fit() -> None:
    message = "Too many tokens, please wait before trying again."
    assert read(429, {"message": message}, x_amzn_errortype="ThrottlingException").code == "rate_limit_exceeded"


def test_accounts_and_keys_are_not_told() -> None:
    user = "User: arn:aws:iam::123456789012:user/me is not authorized on arn:aws:bedrock:us-east-1::model/x"
    message = read(403, {"message": user}, x_amzn_errortype="AccessDeniedException").message
    assert message == "User: [...] is not authorized on [...]"
    for key in ("AKIAIOSFODNN7EXAMPLE", "bedrock-api-key-YmVkcm9jaw==", "ABSKQmVkcm9ja0FQSUtleQ=="):
        assert read(400, {"message": f"The key {key} is bad."}).message == "The key [...] is bad."


def test_a_refused_signature_is_told_without_what_was_signed() -> None:
    text = "The Canonical String for this request should have been 'POST x-amz-security-token:SECRET'"
    assert "SECRET" not in read(403, {"message": text}, x_amzn_errortype="InvalidSignatureException").message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "3"}, 3),
        ({"retry_after": "0.2"}, 1),
        ({"retry_after_ms": "1500", "retry_after": "9"}, 2),
        ({"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "-1"}, None),
        ({}, None),
    ],
)
def test_when_to_try_again(headers: dict[str, str], seconds: int | None) -> None:
    assert read(429, {"message": "Slow down."}, **headers).retry_after == seconds


def test_what_is_worth_trying_again() -> None:
    assert read(424, {}, x_amzn_errortype="ModelErrorException").retryable
    assert read(429, {}, x_amzn_errortype="ThrottlingException").retryable
    assert not read(400, {}, x_amzn_errortype="ServiceQuotaExceededException").retryable
    assert not read(400, {}, x_amzn_errortype="ValidationException").retryable


class Refused(GatewayError):
    """An error of any kind."""

    status = 400

    def __init__(self, kind: Kind) -> None:
        super().__init__('It "went" wrong.')
        self.kind = kind


@pytest.mark.parametrize("kind", Kind)
def test_a_client_raises_every_error_by_its_name(kind: Kind) -> None:
    error = Refused(kind)
    headers = {"content-type": "application/json", "x-amzn-errortype": error_type(error)}
    recorded = Recorded(error.status, headers, DIALECT.write_error(error, "req_1"))
    with pytest.raises(ClientError) as raised:
        client(recorded).converse(modelId="m", messages=[])
    assert raised.value.response["Error"] == {"Code": EXCEPTIONS[kind], "Message": error.message}


@pytest.mark.parametrize("kind", Kind)
def test_a_stream_has_only_the_exceptions_that_its_clients_know(kind: Kind) -> None:
    assert STREAM_EXCEPTIONS[kind] in shape("ConverseStreamOutput").members


def test_an_error_of_the_gateways_own_reads_as_what_it_is() -> None:
    error = errors.Overloaded("Later.")
    headers = {b"x-amzn-errortype": error_type(error).encode()}
    back = PROTOCOL.read_error(error.status, headers, DIALECT.write_error(error, "req_1"))
    assert (back.status, back.kind, back.message) == (503, Kind.OVERLOADED, "Later.")
