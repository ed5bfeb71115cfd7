"""How every OpenAI endpoint writes an error: `{"error": {"message", "type", "param", "code"}}`.

Source: the error objects of OpenAI's API reference; types and codes as recorded from the API.
"""

from __future__ import annotations

from ai_gateway.errors import GatewayError, Kind
from ai_gateway.protocols.jsontext import dumps, loads

TYPES = {
    Kind.BAD_REQUEST: "invalid_request_error",
    Kind.AUTHENTICATION: "invalid_request_error",
    Kind.PERMISSION: "invalid_request_error",
    Kind.NOT_FOUND: "invalid_request_error",
    Kind.TOO_LARGE: "invalid_request_error",
    Kind.QUOTA: "insufficient_quota",
    Kind.RATE_LIMIT: "requests",
    Kind.TIMEOUT: "timeout",
    Kind.OVERLOADED: "service_unavailable_error",
    Kind.UPSTREAM: "server_error",
    Kind.INTERNAL: "server_error",
    Kind.CANCELLED: "server_error",
}

CODES = {
    Kind.AUTHENTICATION: "invalid_api_key",
    Kind.PERMISSION: "permission_denied",
    Kind.NOT_FOUND: "not_found",
    Kind.TOO_LARGE: "request_too_large",
    Kind.QUOTA: "insufficient_quota",
    Kind.RATE_LIMIT: "rate_limit_exceeded",
    Kind.TIMEOUT: "upstream_timeout",
    Kind.OVERLOADED: "server_is_overloaded",
    Kind.UPSTREAM: "upstream_error",
}
"""The code of an error whose provider gave none."""


def error_object(error: GatewayError) -> dict[str, str | None]:
    """Give the four members of OpenAI's error object."""
    code = error.code or CODES.get(error.kind)
    return {"message": error.message, "type": TYPES[error.kind], "param": error.param, "code": code}


def write_error(error: GatewayError, request_id: str) -> bytes:
    """Write the body of an error answer."""
    return dumps({"error": error_object(error)})


def write_error_event(error: GatewayError, request_id: str) -> bytes:
    """Write the chunk that ends a broken chat stream: no `[DONE]` follows, the SDK raises on the `error` member."""
    return b"data: " + write_error(error, request_id) + b"\n\n"


def status_of(data: bytes) -> int | None:
    """Read a chunk as an error: the HTTP status that it stands for, None if it is none.

    Providers put the status into `code` as a number (OpenRouter) or its digits (Azure), or give only a type or code in
    words.
    """
    if b'"error"' not in data:
        return None
    try:
        chunk = loads(data)
    except (ValueError, RecursionError):
        return None
    error = chunk.get("error") if isinstance(chunk, dict) else None
    if not error:
        return None
    return status_of_error(error)


def status_of_error(error: object) -> int:
    """Tell the HTTP status that an error object, or an error that is a mere string, stands for."""
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, str) and len(code) == 3 and code.isdecimal():
        code = int(code)
    if isinstance(code, int) and 400 <= code <= 599:
        return code
    words = f"{error.get('type')} {code}" if isinstance(error, dict) else str(error)
    return next((status for word, status in STATUS_BY_WORD if word in words.lower()), 502)


STATUS_BY_WORD = (
    ("rate_limit", 429),
    ("ratelimit", 429),
    ("quota", 429),
    ("invalid_api_key", 401),
    ("overloaded", 503),
    ("unavailable", 503),
    ("not_found", 404),
    ("invalid", 400),
    ("tool_use_failed", 400),
)
"""What the words in an error's type or code say of its status, the first that is found."""
