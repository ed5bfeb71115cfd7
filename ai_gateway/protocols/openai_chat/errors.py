"""Reading the errors of a provider: as the body of an answer, as a chunk of a stream, or as an answer with status 200.

There are as many shapes as providers: OpenAI's `{"error": {"message", "type", "param", "code"}}`, a number as the code
(OpenRouter), Google's `[{"error": {"code", "message", "status"}}]`, `{"code", "error": "text"}` (xAI),
`{"object": "error", "message", "type", "code"}` (Mistral), `{"detail": [...]}`, `{"error": "text"}` (Hugging Face), a
page of HTML.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from ai_gateway.errors import Kind, ProviderError
from ai_gateway.protocols.jsontext import loads
from ai_gateway.protocols.openai_errors import status_of_error

KINDS = {
    400: Kind.BAD_REQUEST,
    401: Kind.AUTHENTICATION,
    402: Kind.QUOTA,
    403: Kind.PERMISSION,
    404: Kind.NOT_FOUND,
    405: Kind.BAD_REQUEST,
    408: Kind.TIMEOUT,
    413: Kind.TOO_LARGE,
    422: Kind.BAD_REQUEST,
    429: Kind.RATE_LIMIT,
    498: Kind.OVERLOADED,
    503: Kind.OVERLOADED,
    504: Kind.TIMEOUT,
    524: Kind.TIMEOUT,
    529: Kind.OVERLOADED,
}
"""What a status means. 498 is Groq's for capacity, 524 Cloudflare's for a timeout, 529 Anthropic's for overload."""

CODES = {
    Kind.AUTHENTICATION: "invalid_api_key",
    Kind.QUOTA: "insufficient_quota",
    Kind.RATE_LIMIT: "rate_limit_exceeded",
    Kind.TOO_LARGE: "request_too_large",
    Kind.OVERLOADED: "server_is_overloaded",
}
"""OpenAI's code for a kind of error, where the provider names none."""

QUOTA = re.compile(
    r"insufficient_quota|credit_balance|spend_limit|usage_limit|billing|insufficient[ _](balance|credits|funds)", re.I
)
"""What is in the type, the code or the message where money is missing: asking again does not help."""

CONTEXT = re.compile(
    r"context_length_exceeded|maximum context length|context (window|length|size)|prompt is too long|too many tokens"
    r"|maximum prompt length|input token count",
    re.I,
)
POLICY = re.compile(r"content_filter|content_policy_violation|content management policy", re.I)

OVERLOAD = re.compile(r"overloaded|unavailable", re.I)

SECRET = re.compile(r"\b(sk|pk|rk|gsk|csk|xai|nvapi|hf)[-_][\w*.…-]*|AIza[\w*-]+|Bearer\s+\S+|[\w-]*\*{4,}[\w-]*", re.I)
"""What may be a piece of a key. Providers quote the key that they refuse."""

MESSAGE_LENGTH = 2000
LONGEST_WAIT = 365 * 24 * 3600


def read_error(status: int, headers: Mapping[bytes, bytes], body: bytes) -> ProviderError:
    """Read an error answer, whatever its body is."""
    return error_of(_decoded(body), status, headers)


def error_of(value: Any, status: int | None = None, headers: Mapping[bytes, bytes] | None = None) -> ProviderError:
    """Make the error of what a provider wrote as one. `status` is None in a stream: the error must tell it itself."""
    whole = _first(value)
    inner = whole.get("error")
    detail = inner if isinstance(inner, dict) else whole
    known = status if status is not None and status >= 400 else status_of_error(inner or whole)
    words = f"{detail.get('type')} {detail.get('code')} {_message(detail, inner)}"
    kind = _kind(known, words)
    return ProviderError(
        _clean(_message(detail, inner), known, kind),
        status=known,
        kind=kind,
        code=_code(detail, kind, words),
        param=detail["param"] if isinstance(detail.get("param"), str) else None,
        retry_after=_retry_after(headers or {}, detail),
        retryable=False if kind is Kind.QUOTA else None,
        detail=SECRET.sub("[removed]", _message(detail, inner))[:MESSAGE_LENGTH] or None,
    )


def _decoded(body: bytes) -> Any:
    try:
        return loads(body)
    except (ValueError, RecursionError):
        return None


def _first(value: Any) -> dict[str, Any]:
    """Give the object in which the error stands: Google wraps it in a list."""
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, str):
        return {"error": value}
    return value if isinstance(value, dict) else {}


def _message(detail: dict[str, Any], inner: Any) -> str:
    """Give the provider's message, with what OpenRouter says of the provider behind it."""
    if isinstance(inner, str):
        return inner
    for name in ("message", "detail", "msg"):
        value = detail.get(name)
        if isinstance(value, str):
            metadata = detail.get("metadata")
            raw = metadata.get("raw") if isinstance(metadata, dict) else None
            return f"{value}: {raw}" if isinstance(raw, str) and raw else value
        if isinstance(value, list):
            return "; ".join(str(each["msg"]) for each in value if isinstance(each, dict) and "msg" in each)
    return ""


def _kind(status: int, words: str) -> Kind:
    if status in (400, 402, 403, 429) and QUOTA.search(words):
        return Kind.QUOTA
    if status >= 500 and OVERLOAD.search(words):
        return Kind.OVERLOADED
    return KINDS.get(status, Kind.BAD_REQUEST if status < 500 else Kind.UPSTREAM)


def _code(detail: dict[str, Any], kind: Kind, words: str) -> str | None:
    """Give OpenAI's code: the provider's own if it is in words, else that of the kind."""
    if kind in (Kind.BAD_REQUEST, Kind.TOO_LARGE):
        if CONTEXT.search(words):
            return "context_length_exceeded"
        if POLICY.search(words):
            return "content_policy_violation"
    code = detail.get("code")
    if isinstance(code, str) and re.fullmatch(r"[a-z][a-z0-9_]*", code):
        return code
    return CODES.get(kind)


def _clean(message: str, status: int, kind: Kind) -> str:
    """Give a message that may be shown: no page of HTML, and nothing of a key."""
    text = message.strip()
    if kind is Kind.AUTHENTICATION:
        return "The provider refused the credential."
    if not text or text.startswith("<"):
        return f"The provider answered with an error of status {status}."
    return SECRET.sub("[removed]", text)[:MESSAGE_LENGTH]


def _retry_after(headers: Mapping[bytes, bytes], detail: dict[str, Any]) -> int | None:
    """Give the seconds after which to ask again: from the headers, or from Google's RetryInfo."""
    for name, scale in ((b"retry-after-ms", 1000), (b"retry-after", 1)):
        text = headers.get(name, b"").decode("latin-1")
        seconds = _seconds(text, scale)
        if seconds is None and text and scale == 1:
            seconds = _until(text, headers.get(b"date", b"").decode("latin-1"))
        if seconds is not None:
            return seconds
    details = detail.get("details")
    for each in details if isinstance(details, list) else ():
        delay = each.get("retryDelay") if isinstance(each, dict) else None
        if isinstance(delay, str):
            return _seconds(delay.removesuffix("s"), 1)
    return None


def _until(date: str, now: str) -> int | None:
    """Give the seconds up to a date, by the provider's own clock."""
    try:
        return max(0, int((parsedate_to_datetime(date) - parsedate_to_datetime(now)).total_seconds()))
    except (ValueError, TypeError):
        return None


def _seconds(text: str, scale: int) -> int | None:
    try:
        value = float(text) / scale
    except ValueError:
        return None
    return math.ceil(value) if 0 <= value <= LONGEST_WAIT else None
