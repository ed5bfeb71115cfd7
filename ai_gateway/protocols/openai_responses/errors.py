"""Errors of Responses: those of a provider, as an answer, in a stream or in a failed response; and those in a caller's
stream.

How an error is written as an answer is the same in all of OpenAI's formats (`openai_errors.py`). Source: "Error codes"
of OpenAI's documentation, and errors as recorded from several providers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ai_gateway.errors import GatewayError, Kind, ProviderError
from ai_gateway.protocols.jsontext import dumps
from ai_gateway.protocols.openai_errors import error_object, status_of_error
from ai_gateway.protocols.provider_errors import (
    CODES,
    REFUSED_CREDENTIAL,
    code_of_words,
    decoded,
    error_members,
    kind_of,
    lacks_money,
    message_of,
    retry_after,
    shown,
)

CODE_KINDS = {
    "model_not_found": Kind.NOT_FOUND,
    "invalid_api_key": Kind.AUTHENTICATION,
    "rate_limit_exceeded": Kind.RATE_LIMIT,
    "slow_down": Kind.RATE_LIMIT,
    "server_is_overloaded": Kind.OVERLOADED,
    "server_error": Kind.UPSTREAM,
}
"""Codes that say more than the status that they come with."""

CODE_STATUSES = {
    "invalid_api_key": 401,
    "model_not_found": 404,
    "rate_limit_exceeded": 429,
    "slow_down": 429,
    "server_is_overloaded": 503,
    "server_error": 500,
    "vector_store_timeout": 504,
    "context_length_exceeded": 400,
}
"""The status that a code stands for where it comes in a stream or in a failed response."""

OTHER_CODES = {
    "RateLimitReached": "rate_limit_exceeded",
    "DeploymentNotFound": "model_not_found",
    "content_filter": "content_policy_violation",
}
"""What OpenAI calls the codes of Azure."""

CODE = re.compile(r"(?!\d+$)[\w.\-]+")
"""What may be a code: one word, and more than a number that repeats the status. xAI writes a sentence there."""

FAILED = "response.failed"
"""The event that ends the stream of a response which failed."""

UNFINISHED = "The provider could not go on."
"""What is told of an error in a stream that has no words of its own."""


def read_error(status: int, headers: Mapping[bytes, bytes], body: bytes) -> ProviderError:
    """Read an error answer, whatever its body is."""
    return _provider_error(error_members(decoded(body)), status, headers)


def stream_error(event: dict[str, Any]) -> ProviderError:
    """Read an error that comes as an event, or as the `error` of a failed response: nested, flat, or none at all."""
    error = _error_of(event)
    members = error_members({"error": error})
    return _provider_error(members if message_of(members) else {**members, "message": UNFINISHED}, _told_status(error))


def _told_status(error: Any) -> int:
    """Tell the status that an error without one stands for."""
    code = error.get("code") if isinstance(error, dict) else None
    if not isinstance(code, str):
        return status_of_error(error)
    if lacks_money(code):
        return 429
    is_bad_request = code.startswith(("invalid_", "unsupported_", "image_"))
    return CODE_STATUSES.get(code) or (400 if is_bad_request else status_of_error(error))


def _provider_error(error: dict[str, Any], status: int, headers: Mapping[bytes, bytes] | None = None) -> ProviderError:
    message, code, param = message_of(error), _code(error), error.get("param")
    kind = _kind(status, code, error.get("type"))
    if code is None and kind is Kind.BAD_REQUEST:
        code = code_of_words(message)
    return ProviderError(
        REFUSED_CREDENTIAL if kind is Kind.AUTHENTICATION else shown(message, status, "[hidden]"),
        status=CODE_STATUSES["model_not_found"] if code == "model_not_found" else status,
        kind=kind,
        code=code or CODES.get(kind),
        param=param if isinstance(param, str) else None,
        retry_after=retry_after(headers or {}, error),
        retryable=False if kind is Kind.QUOTA else None,
    )


def _code(error: dict[str, Any]) -> str | None:
    """Read the code, or the type where that says as much."""
    code = error.get("code")
    if not isinstance(code, str) or not CODE.fullmatch(code):
        kind = error.get("type")
        return kind if isinstance(kind, str) and lacks_money(kind) else None
    return OTHER_CODES.get(code, code)


def _kind(status: int, code: str | None, type_: Any) -> Kind:
    if lacks_money(f"{type_} {code}"):
        return Kind.QUOTA
    return CODE_KINDS.get(code or "") or kind_of(status)


def write_error_event(error: GatewayError, request_id: str) -> bytes:
    """Write the `error` event. OpenAI nests the error on the wire while its SDK's type is flat, so both are written."""
    members = error_object(error)
    event = {"type": "error", "sequence_number": 0, **members, "error": members}
    event["type"] = "error"  # `members` has a type of its own, which only the nested form shows.
    return b"event: error\ndata: " + dumps(event) + b"\n\n"


def status_of(name: str | None, data: bytes) -> int | None:
    """Read an event as an error: the HTTP status that it stands for, None if it is none.

    The error may be nested (as on OpenAI's wire), flat (as in its SDK's type), or that of a response which failed. Some
    servers leave the name out.
    """
    if name not in ("error", FAILED, None):
        return None
    event = decoded(data)
    if not isinstance(event, dict):
        return None if name is None else 502
    if name is None and event.get("type") not in ("error", FAILED) and not event.get("error"):
        return None
    return _told_status(_error_of(event))


def error_body(data: bytes) -> bytes:
    """Write an event that is an error as the body of an answer, where callers look for `error` alone."""
    event = decoded(data)
    return dumps({"error": _error_of(event)}) if isinstance(event, dict) else data


def _error_of(event: dict[str, Any]) -> Any:
    """Find the error of an event: nested, that of a failed response, or flat."""
    response = event.get("response")
    nested = event.get("error") or (response.get("error") if isinstance(response, dict) else None)
    return nested or {name: event.get(name) for name in ("code", "message", "param")}
