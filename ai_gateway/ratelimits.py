"""What a caller is told of its own limits in the headers of every answer, in the words of the dialect it speaks.

OpenAI's callers read `x-ratelimit-limit-requests` and its kin, with the time to the reset as "6m0s"; Anthropic's read
`anthropic-ratelimit-requests-limit`, with the reset as a time (RFC 3339). Told are the limits per minute; of several,
the one with the least left. A provider's headers of the same names speak of the operator's account with it, and give
way to these.

What a limit wants a warning for is told in `x-gateway-limit-warning`: `"Team A"; used=85%`.

Sources: the rate limit pages of OpenAI's and Anthropic's API documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from ai_gateway.calls import Headers
from ai_gateway.charges import State
from ai_gateway.errors import LimitReached
from ai_gateway.holds import Hold, Taken

TOLD = ("requests", "tokens")
"""What both vendors have headers for."""

PREFIXES = (b"x-ratelimit-", b"anthropic-ratelimit-")


def headers(hold: Hold, family: str) -> Headers:
    """Write the headers of an answer to a call that its limits admitted."""
    told: Headers = []
    for measure in TOLD:
        tightest = _tightest(hold.taken, measure)
        if tightest is not None:
            told += _written(measure, tightest.due.rule.amount, tightest.state, family)
    return told + warning(hold.warnings)


def refusal_headers(error: LimitReached, family: str) -> Headers:
    """Write the headers of the answer to a call that a limit refused."""
    if error.measure not in TOLD or error.retry_after is None:
        return []
    return _written(error.measure, error.amount, State(error.amount, 0, error.retry_after), family)


def replaced(upstream: Headers, own: Headers) -> Headers:
    """Put our headers in place of a provider's of the same kind, if there are any."""
    if not any(name.startswith(PREFIXES) for name, _ in own):
        return [*upstream, *own]
    return [header for header in upstream if not header[0].startswith(PREFIXES)] + own


def warning(warnings: Sequence[Taken]) -> Headers:
    """Write the header that warns of limits that are nearly used up."""
    told = []
    for taken in warnings:
        rule = taken.due.rule
        percent = taken.state.used * 100 // rule.amount if rule.amount else 100
        name = rule.name.encode("ascii", "replace").decode().replace('"', "'")
        told.append(f'"{name}"; used={percent}%')
    return [(b"x-gateway-limit-warning", ", ".join(told).encode())] if told else []


def _tightest(taken: Iterable[Taken], measure: str) -> Taken | None:
    """Choose the rate with the least left, in proportion."""
    rates = [each for each in taken if each.due.rule.measure == measure and each.due.rule.window == "minute"]
    return min(rates, key=lambda each: each.state.remaining / (each.due.rule.amount or 1), default=None)


def _written(measure: str, amount: int, state: State, family: str) -> Headers:
    name, remaining = measure.encode(), b"%d" % max(0, state.remaining)
    if family == "anthropic":
        reset = datetime.now(UTC) + timedelta(seconds=state.resets_in)
        return [
            (b"anthropic-ratelimit-%b-limit" % name, b"%d" % amount),
            (b"anthropic-ratelimit-%b-remaining" % name, remaining),
            (b"anthropic-ratelimit-%b-reset" % name, reset.strftime("%Y-%m-%dT%H:%M:%SZ").encode()),
        ]
    return [
        (b"x-ratelimit-limit-%b" % name, b"%d" % amount),
        (b"x-ratelimit-remaining-%b" % name, remaining),
        (b"x-ratelimit-reset-%b" % name, duration(state.resets_in)),
    ]


def duration(seconds: float) -> bytes:
    """Write seconds as OpenAI does, which is as Go does: "120ms", "1.5s", "6m0s"."""
    if seconds < 1:
        return b"%dms" % round(max(0.0, seconds) * 1e3)
    if seconds < 60:
        return f"{seconds:.3f}".rstrip("0").rstrip(".").encode() + b"s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (b"%dh" % hours if hours else b"") + b"%dm%ds" % (minutes, rest)
