"""Reading a provider's error, whatever it is written like: what the readers of all formats have in common.

There are as many shapes as providers: OpenAI's `{"error": {"message", "type", "param", "code"}}`, Google's the same in
a list, `{"code", "error": "text"}` (xAI), `{"object": "error", "message"}` (Mistral), `{"detail": [{"msg"}]}`,
`{"error": "text"}` (Hugging Face), AWS's `{"Message"}`, a page of HTML. What a caller is told is the provider's own
words, but no page, and nothing that may be part of a key.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from ai_gateway.errors import Kind
from ai_gateway.protocols import openai_errors
from ai_gateway.protocols.jsontext import loads

KINDS = {
    400: Kind.BAD_REQUEST,
    401: Kind.AUTHENTICATION,
    402: Kind.QUOTA,
    403: Kind.PERMISSION,
    404: Kind.NOT_FOUND,
    408: Kind.TIMEOUT,
    413: Kind.TOO_LARGE,
    429: Kind.RATE_LIMIT,
    498: Kind.OVERLOADED,
    503: Kind.OVERLOADED,
    504: Kind.TIMEOUT,
    524: Kind.TIMEOUT,
    529: Kind.OVERLOADED,
}
"""What a status means. 498 is Groq's for capacity, 524 Cloudflare's for a timeout, 529 Anthropic's for overload."""

CODES = {**openai_errors.CODES, Kind.NOT_FOUND: "model_not_found"}
"""OpenAI's code for a kind of error, for providers that give none: what they do not find is the model."""

REFUSED_CREDENTIAL = "The provider refused the credential."
"""All that is told of a refused key: the provider's own words tell of the key."""

MESSAGE_MEMBERS = ("message", "Message", "detail", "msg", "errorMessage", "originalMessage")
"""Where an error's words may stand, the best first."""

MAX_MESSAGE = 2000
LONGEST_WAIT = 365 * 24 * 3600

RATE_LIMITS = (
    *((b"x-ratelimit-remaining%s" % of, b"x-ratelimit-reset%s" % of) for of in (b"", b"-requests", b"-tokens")),
    *(
        (b"anthropic-ratelimit-%s-remaining" % of, b"anthropic-ratelimit-%s-reset" % of)
        for of in (b"requests", b"tokens", b"input-tokens", b"output-tokens")
    ),
    (b"ratelimit-remaining", b"ratelimit-reset"),
)
"""Headers that tell what is left of a limit, and when all of it is there again: OpenAI's and those of who follows it,
Anthropic's, and the IETF's draft."""

UNITS = (86400.0, 3600.0, 60.0, 1.0, 0.001)
SINCE_1970 = 1e9
"""Seconds above which a number is a date."""

_QUOTA = re.compile(
    r"insufficient_quota|credit[_ ]balance|spend_limit|usage_limit|billing|insufficient[ _](balance|credits|funds)",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context_length_exceeded|maximum context length|context (window|length|size)|(input|prompt) is too long"
    r"|too many (input )?tokens|maximum prompt length|input token count|exceeds the maximum number of tokens",
    re.IGNORECASE,
)
_POLICY = re.compile(
    r"content_filter|content_policy_violation|content management policy|requires moderation"
    r"|(input|prompt|content|message) was flagged",
    re.IGNORECASE,
)
_BEYOND = re.compile(r"request too large|can only afford|fewer max_tokens", re.IGNORECASE)

_DURATION = re.compile(
    r"(?:(\d{1,4})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?",
    re.ASCII,
)

_MARKUP = re.compile(r"^\s*<|<\s*(!doctype|html|head|body|title|\?xml)\b", re.IGNORECASE)

_SECRET = re.compile(
    r"\barn:aws[^\s\"']*|\b(?:AKIA|ASIA|ABSK|bedrock-api-key-)[A-Za-z0-9+/=_-]{8,}"  # AWS: a resource has the account.
    r"|\bapi_key:[\w.-]+|(?<=[?&]key=)[^&\s\"']+"  # Google, whose addresses have the key in their query.
    r"|\b(?:sk|pk|rk|gsk|csk|xai|nvapi|hf)[-_][\w*.…-]*"
    r"|\b(?:key|api)[-_](?=[\w*.-]{0,80}[\d*])[\w*.-]{4,}|(?<=\bkey )(?=[\w*.-]{0,80}[\d*])[\w*.-]{8,}"
    r"|AIza[\w*-]+|\bAQ\.[\w-]{10,}|\bya29\.[\w.-]+|\bBearer\s+[^\s'\"]+"
    r"|(?<![\w.-])[\w.-]*\*{3,}[\w.*-]*",  # What a provider leaves of a key.
    re.IGNORECASE,
)
"""What may be a key or a piece of one: providers quote the key that they refuse."""


def error_code(body: bytes) -> str:
    """Tell what a provider calls its error, in a word: its code, else its status or its type; "" if it has none."""
    value = decoded(body)
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return ""
    if isinstance(value.get("response"), dict):
        value = value["response"]  # The event by which OpenAI ends a response that failed.
    error = value["error"] if isinstance(value.get("error"), dict) else value
    words = [error.get(name) for name in ("code", "status", "type")]
    code = next((word for word in words if word and isinstance(word, str)), error.get("code"))
    return str(code) if isinstance(code, str | int) else ""


def decoded(body: bytes) -> Any:
    """Read the body of an error as JSON, whatever its content type says; None for what is none."""
    try:
        return loads(body)
    except (ValueError, RecursionError):
        return None


def error_members(value: object) -> dict[str, Any]:
    """Find the object that describes an error: in a list, below `error`, or the body itself. An error that is a mere
    string becomes the message, beside what else the body has."""
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, str):
        return {"message": value}
    if not isinstance(value, dict):
        return {}
    error = value.get("error")
    if isinstance(error, dict):
        return error
    return {**value, "message": error} if isinstance(error, str) else value


def message_of(error: Mapping[str, Any]) -> str:
    """Give a provider's words, and what OpenRouter adds of the provider behind it; "" if there are none."""
    for name in MESSAGE_MEMBERS:
        text = _text(error.get(name))
        if text and not _MARKUP.search(text):
            metadata = error.get("metadata")
            raw = metadata.get("raw") if isinstance(metadata, dict) else None
            return f"{text}: {raw}" if isinstance(raw, str) and raw else text
    return ""


def _text(value: object) -> str:
    """Give a message, which some servers write as a list of what is wrong."""
    if isinstance(value, list):
        return "; ".join(str(each["msg"]) for each in value if isinstance(each, dict) and "msg" in each)
    return value.strip() if isinstance(value, str) else ""


def shown(message: str, status: int | None, mark: str = "[redacted]") -> str:
    """Give a message that may be told: of bounded length, no page, and with a mark for what may be of a key. Half of a
    character, as of one that was cut in the middle, becomes a question mark: no log could be written with it."""
    if not message or _MARKUP.search(message):
        return "The provider reported an error." if status is None else f"The provider answered with status {status}."
    return without_secrets(message, mark)[:MAX_MESSAGE].encode(errors="replace").decode()


def without_secrets(text: str, mark: str = "[redacted]") -> str:
    """Put a mark in place of what may be a key, or a piece of one."""
    return _SECRET.sub(mark, text)


def kind_of(status: int) -> Kind:
    """Tell the class of an error by its status: what is not known is the caller's fault below 500."""
    return KINDS.get(status, Kind.BAD_REQUEST if status < 500 else Kind.UPSTREAM)


def lacks_money(words: str) -> bool:
    """Whether the type, the code or the message of an error says that money is missing: asking again does not help."""
    return _QUOTA.search(words) is not None


def code_of_words(words: str) -> str | None:
    """Tell OpenAI's code for a bad request that only its words explain: a prompt too long, or against the policy."""
    if _TOO_LONG.search(words):
        return "context_length_exceeded"
    return "content_policy_violation" if _POLICY.search(words) else None


def is_beyond(words: str) -> bool:
    """Whether an error about a limit says that this call alone is more than the limit, which a smaller one may not be:
    OpenAI's (tokens per minute) and OpenRouter's (credits)."""
    return _BEYOND.search(words) is not None


def retry_after(
    headers: Mapping[bytes, bytes], error: Mapping[str, Any] | None = None, now: float | None = None
) -> int | None:
    """Read after how many whole seconds to ask again: from the headers, from Google's RetryInfo in the error, or from
    when a limit that is used up comes back.

    A date is held against the provider's own clock, or against `now` where it tells no time.
    """
    for name, per_second in ((b"retry-after-ms", 1000), (b"retry-after", 1)):
        text = headers.get(name, b"").decode("latin-1")
        seconds = _seconds(text, per_second)
        if seconds is None and text and per_second == 1:
            seconds = _until(_http_date(text), _clock(headers, now))
        if seconds is not None:
            return seconds
    error = error or {}
    delay = _retry_delay(error.get("details"))
    return _reset({**_quoted_headers(error), **headers}, now) if delay is None else delay


def _seconds(text: str, per_second: int = 1) -> int | None:
    try:
        seconds = float(text) / per_second
    except ValueError:
        return None
    return math.ceil(seconds) if 0 <= seconds <= LONGEST_WAIT else None


def _clock(headers: Mapping[bytes, bytes], now: float | None) -> float:
    """Tell what time it is for the provider."""
    told = _http_date(headers.get(b"date", b"").decode("latin-1"))
    return told or now or time.time()


def _http_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _until(date: float | None, clock: float) -> int | None:
    return None if date is None or date - clock > LONGEST_WAIT else max(0, math.ceil(date - clock))


def _reset(headers: Mapping[bytes, bytes], now: float | None) -> int | None:
    """Read when the last of the limits comes back of which nothing is left."""
    used_up = [reset for left, reset in RATE_LIMITS if headers.get(left) in (b"0", b"0.0") and reset in headers]
    if not used_up:
        return None
    clock = _clock(headers, now)
    waits = [_reset_wait(headers[reset].decode("latin-1").strip(), clock) for reset in used_up]
    return max((wait for wait in waits if wait is not None), default=None)


def _reset_wait(text: str, clock: float) -> int | None:
    """Read a time to wait in one of the ways in which it is written: `6m0s`, `17ms`, seconds, a date (RFC 3339), or
    seconds or milliseconds since 1970."""
    duration = _DURATION.fullmatch(text)
    if duration is not None and text:
        return _seconds(str(sum(float(each or 0) * unit for each, unit in zip(duration.groups(), UNITS, strict=True))))
    try:
        number = float(text)
    except ValueError:
        return _until(_iso_date(text), clock)
    if number >= SINCE_1970:
        return _until(number / 1000 if number > SINCE_1970 * 1000 else number, clock)
    return _seconds(text)


def _iso_date(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _quoted_headers(error: Mapping[str, Any]) -> dict[bytes, bytes]:
    """Give the headers of the provider behind it, which OpenRouter puts into the error."""
    metadata = error.get("metadata")
    quoted = metadata.get("headers") if isinstance(metadata, dict) else None
    if not isinstance(quoted, dict):
        return {}
    return {
        name.lower().encode("latin-1", "replace"): str(value).encode("latin-1", "replace")
        for name, value in quoted.items()
    }


def _retry_delay(details: object) -> int | None:
    """Read a `RetryInfo`, whose delay is written like `34.4s`."""
    entries: Iterable[Any] = details if isinstance(details, list) else ()
    delays = (entry.get("retryDelay") for entry in entries if isinstance(entry, dict))
    return next((_seconds(delay[:-1]) for delay in delays if isinstance(delay, str) and delay.endswith("s")), None)
