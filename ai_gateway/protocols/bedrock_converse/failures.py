"""Errors as AWS writes them: `{"message"}` with the exception's name in a header, or as a frame of a stream.

Source: the exceptions of `Converse` and `ConverseStream` in the service model of `bedrock-runtime` (2023-09-30), the
error codes common to all of AWS's services, and "REST JSON 1.0 protocol" of AWS's Smithy (`x-amzn-errortype`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ai_gateway.errors import RETRYABLE, GatewayError, Kind, ProviderError
from ai_gateway.protocols.bedrock_converse.framing import ERROR, EXCEPTION, exception_frame
from ai_gateway.protocols.jsontext import dumps, loads

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

KINDS = {
    400: Kind.BAD_REQUEST,
    401: Kind.AUTHENTICATION,
    402: Kind.QUOTA,
    403: Kind.PERMISSION,
    404: Kind.NOT_FOUND,
    408: Kind.TIMEOUT,
    413: Kind.TOO_LARGE,
    429: Kind.RATE_LIMIT,
    503: Kind.OVERLOADED,
    504: Kind.TIMEOUT,
}
"""The class of an error without a known name, by its status. What is not here is the client's fault below 500."""

TOO_LONG = re.compile(
    r"(?:input|prompt) is too long|too many (?:input )?tokens|context (?:window|length)", re.IGNORECASE
)
"""How the messages of the models' makers say that the prompt does not fit."""

REFINED = (
    (Kind.BAD_REQUEST, TOO_LONG, Meaning(400, Kind.BAD_REQUEST, "context_length_exceeded")),
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

PRIVATE = re.compile(r"\barn:aws[^\s\"']*|\b(?:AKIA|ASIA|ABSK|bedrock-api-key-)[A-Za-z0-9+/=_-]{8,}")
"""What must not reach a caller: names of an account's resources, which hold its number, and parts of keys."""


def error_type(error: GatewayError) -> str:
    """Tell the exception's name for the header `x-amzn-errortype`."""
    return EXCEPTIONS[error.kind]


def write_error(error: GatewayError, request_id: str) -> bytes:
    """Write the body of an error answer."""
    return dumps({"message": error.message})


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
    default = Kind.BAD_REQUEST if 400 <= status < 500 else Kind.UPSTREAM
    return Meaning(status, KINDS.get(status, default))


def bare_name(name: str | None) -> str:
    """Strip an exception's name of what may stand around it: `com.amazon#ThrottlingException:http://...`."""
    if not name:
        return ""
    name = name.removeprefix(EXCEPTION).removeprefix(ERROR).partition(":")[0].rpartition("#")[2].strip()
    return name[:1].upper() + name[1:]


def read_failure(name: str | None, data: bytes) -> ProviderError:
    """Read an exception of a stream."""
    return _provider_error(meaning_of(name), _object(data), None)


def read_error(status: int, headers: Mapping[bytes, bytes], body: bytes) -> ProviderError:
    """Read an error answer. The body may be anything; only a JSON object's message is passed on."""
    members = _object(body)
    name = headers.get(ERROR_TYPE_HEADER, b"").decode("latin-1") or _text(members, "__type", "code")
    return _provider_error(meaning_of(name, status), members, _retry_after(headers))


def _provider_error(meaning: Meaning, members: dict[str, Any], retry_after: int | None) -> ProviderError:
    message = _text(members, "message", "Message", "errorMessage", "originalMessage")
    for kind, pattern, better in REFINED:
        if meaning.kind is kind and pattern.search(message):
            meaning = better
    return ProviderError(
        _public(message, meaning),
        status=meaning.status,
        kind=meaning.kind,
        code=meaning.code,
        retry_after=retry_after,
        retryable=meaning.kind is not Kind.QUOTA and meaning.status in RETRYABLE,
    )


def _public(message: str, meaning: Meaning) -> str:
    """Write a message that may be shown. One about a signature repeats the request's headers, token included."""
    if meaning.kind is Kind.AUTHENTICATION:
        return "The provider refused the credential."
    if not message or message.lstrip().startswith("<"):
        return f"The provider answered with status {meaning.status}."
    return PRIVATE.sub("[...]", message)


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = loads(data)
    except ValueError:
        return {}
    value = value[0] if isinstance(value, list) and value else value
    return value if isinstance(value, dict) else {}


def _text(members: dict[str, Any], *names: str) -> str:
    return next((members[name] for name in names if isinstance(members.get(name), str)), "")


def _retry_after(headers: Mapping[bytes, bytes]) -> int | None:
    """Read after how many whole seconds to try again."""
    for name, per_second in ((b"retry-after-ms", 1000), (b"retry-after", 1)):
        try:
            seconds = float(headers[name]) / per_second
        except (KeyError, ValueError):
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return math.ceil(seconds)
    return None
