"""Errors as AWS writes them: `{"message"}` with the exception's name in a header, or as a frame of a stream.

Source: the exceptions of `Converse` and `ConverseStream` in the service model of `bedrock-runtime` (2023-09-30), the
error codes common to all of AWS's services, and "REST JSON 1.0 protocol" of AWS's Smithy (`x-amzn-errortype`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ai_gateway.errors import RETRYABLE, GatewayError, Kind, ProviderError
from ai_gateway.protocols.bedrock_converse.framing import ERROR, EXCEPTION, exception_frame
from ai_gateway.protocols.jsontext import dumps
from ai_gateway.protocols.provider_errors import (
    REFUSED_CREDENTIAL,
    code_of_words,
    decoded,
    error_members,
    kind_of,
    message_of,
    retry_after,
    shown,
)

ERROR_TYPE_HEADER = b"x-amzn-errortype"
"""The header that names the exception."""

EXCEPTIONS = {
    Kind.BAD_REQUEST: "ValidationException",
    Kind.AUTHENTICATION: "UnrecognizedClientException",
    Kind.PERMISSION: "AccessDeniedException",
    Kind.NOT_FOUND: "ResourceNotFoundException",
    Kind.TOO_LARGE: "ValidationException",
    Kind.QUOTA: "ServiceQuotaExceededException",
    Kind.RATE_LIMIT: "ThrottlingException",
    Kind.TIMEOUT: "ModelTimeoutException",
    Kind.OVERLOADED: "ServiceUnavailableException",
    Kind.UPSTREAM: "ModelErrorException",
    Kind.INTERNAL: "InternalServerException",
    Kind.CANCELLED: "ModelErrorException",
}
"""What an exception is called in the header."""

STREAM_EXCEPTIONS = {
    Kind.BAD_REQUEST: "validationException",
    Kind.AUTHENTICATION: "validationException",
    Kind.PERMISSION: "validationException",
    Kind.NOT_FOUND: "validationException",
    Kind.TOO_LARGE: "validationException",
    Kind.QUOTA: "throttlingException",
    Kind.RATE_LIMIT: "throttlingException",
    Kind.TIMEOUT: "modelStreamErrorException",
    Kind.OVERLOADED: "serviceUnavailableException",
    Kind.UPSTREAM: "modelStreamErrorException",
    Kind.INTERNAL: "internalServerException",
    Kind.CANCELLED: "modelStreamErrorException",
}
"""What an exception is called in a stream, which knows only these five."""


class Meaning(NamedTuple):
    """What an exception of AWS's means: the status that it is passed on with, its class and OpenAI's code for it."""

    status: int
    kind: Kind
    code: str | None = None


MEANINGS = {
    "AccessDeniedException": Meaning(403, Kind.PERMISSION, "permission_denied"),
    "ConflictException": Meaning(400, Kind.BAD_REQUEST),
    "ExpiredTokenException": Meaning(401, Kind.AUTHENTICATION, "invalid_api_key"),
    "IncompleteSignatureException": Meaning(401, Kind.AUTHENTICATION, "invalid_api_key"),
    "InternalServerException": Meaning(500, Kind.UPSTREAM),
    "InternalFailure": Meaning(500, Kind.UPSTREAM),
    "InvalidSignatureException": Meaning(401, Kind.AUTHENTICATION, "invalid_api_key"),
    "MissingAuthenticationTokenException": Meaning(401, Kind.AUTHENTICATION, "invalid_api_key"),
    "ModelErrorException": Meaning(502, Kind.UPSTREAM),
    "ModelNotReadyException": Meaning(503, Kind.OVERLOADED),
    "ModelStreamErrorException": Meaning(502, Kind.UPSTREAM),
    "ModelTimeoutException": Meaning(504, Kind.TIMEOUT),
    "ResourceNotFoundException": Meaning(404, Kind.NOT_FOUND, "model_not_found"),
    "ServiceQuotaExceededException": Meaning(429, Kind.QUOTA, "insufficient_quota"),
    "ServiceUnavailableException": Meaning(503, Kind.OVERLOADED),
    "ThrottlingException": Meaning(429, Kind.RATE_LIMIT, "rate_limit_exceeded"),
    "TooManyRequestsException": Meaning(429, Kind.RATE_LIMIT, "rate_limit_exceeded"),
    "UnrecognizedClientException": Meaning(401, Kind.AUTHENTICATION, "invalid_api_key"),
    "ValidationException": Meaning(400, Kind.BAD_REQUEST),
}
"""The exceptions by their names."""

REFINED = (
    (
        Kind.BAD_REQUEST,
        re.compile(r"model identifier is invalid", re.IGNORECASE),
        Meaning(404, Kind.NOT_FOUND, "model_not_found"),
    ),
    (
        Kind.PERMISSION,
        re.compile(r"\bapi key\b|authentication failed|\btoken\b.*\b(?:invalid|expired)", re.IGNORECASE),
        Meaning(401, Kind.AUTHENTICATION, "invalid_api_key"),
    ),
)
"""What an error of a class means in truth, by its message. A bad API key is an `AccessDeniedException`, and an unknown
model a `ValidationException`."""


def error_type(error: GatewayError) -> str:
    """Tell the exception's name for the header `x-amzn-errortype`."""
    return EXCEPTIONS[error.kind]


def write_error(error: GatewayError, request_id: str) -> bytes:
    """Write the body of an error answer."""
    return dumps({"message": error.naming_message})


def write_error_event(error: GatewayError, request_id: str) -> bytes:
    """Write the frame that ends a broken stream."""
    return exception_frame(STREAM_EXCEPTIONS[error.kind], write_error(error, request_id))


def status_of(name: str | None, data: bytes) -> int | None:
    """Judge an event of a stream by its name: the HTTP status that it stands for, None if it is no error."""
    return meaning_of(name).status if is_failure(name) else None


def is_failure(name: str | None) -> bool:
    """Whether an event of a stream is an exception or an error."""
    return name is not None and name.startswith((EXCEPTION, ERROR))


def meaning_of(name: str | None, status: int = 502) -> Meaning:
    """Look an exception up by its name, as a header, a body or a stream writes it; else by the status."""
    bare = bare_name(name)
    known = MEANINGS.get(bare) or MEANINGS.get(f"{bare}Exception")
    if known is not None:
        return known
    return Meaning(status, kind_of(status))


def bare_name(name: str | None) -> str:
    """Strip an exception's name of what may stand around it: `com.amazon#ThrottlingException:http://...`."""
    if not name:
        return ""
    name = name.removeprefix(EXCEPTION).removeprefix(ERROR).partition(":")[0].rpartition("#")[2].strip()
    return name[:1].upper() + name[1:]


def read_failure(name: str | None, data: bytes) -> ProviderError:
    """Read an exception of a stream."""
    return _provider_error(meaning_of(name), error_members(decoded(data)), {})


def read_error(status: int, headers: Mapping[bytes, bytes], body: bytes) -> ProviderError:
    """Read an error answer. The body may be anything."""
    error = error_members(decoded(body))
    in_body = next((error[name] for name in ("__type", "code") if isinstance(error.get(name), str)), None)
    name = headers.get(ERROR_TYPE_HEADER, b"").decode("latin-1") or in_body
    return _provider_error(meaning_of(name, status), error, headers)


def _provider_error(meaning: Meaning, error: dict[str, Any], headers: Mapping[bytes, bytes]) -> ProviderError:
    message = message_of(error)
    meaning = _refined(meaning, message)
    return ProviderError(
        # One about a signature repeats the request's headers, token included.
        REFUSED_CREDENTIAL if meaning.kind is Kind.AUTHENTICATION else shown(message, meaning.status, "[...]"),
        status=meaning.status,
        kind=meaning.kind,
        code=meaning.code,
        retry_after=retry_after(headers, error),
        retryable=meaning.kind is not Kind.QUOTA and meaning.status in RETRYABLE,
    )


def _refined(meaning: Meaning, message: str) -> Meaning:
    """Tell what an error means in truth: the exception's name says too little."""
    for kind, pattern, better in REFINED:
        if meaning.kind is kind and pattern.search(message):
            return better
    if meaning.kind is Kind.BAD_REQUEST:
        return meaning._replace(code=code_of_words(message) or meaning.code)
    return meaning
