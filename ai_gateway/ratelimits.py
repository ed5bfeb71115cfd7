"""What a caller is told of its own limits in the headers of every answer, in the words of the dialect it speaks.

OpenAI's callers read `x-ratelimit-limit-requests` and its kin, with the time to the reset as "6m0s"; Anthropic's read
`anthropic-ratelimit-requests-limit`, with the reset as a time (RFC 3339). Told are the limits per minute; of several,
the one with the least left, before those that only warn. A provider's headers of the same names speak of the operator's
account with it, and give way to these.

What a limit wants a warning for is told in `x-gateway-limit-warning`: `"Team A"; used=85%`.

Sources: the rate limit pages of OpenAI's and Anthropic's API documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter

from ai_gateway.allowances import TOLD, LimitRule
from ai_gateway.calls import Headers
from ai_gateway.charges import Counter, State
from ai_gateway.errors import LimitReached
from ai_gateway.holds import Hold

WORDS = (b"limit", b"remaining", b"reset")

FARTHEST = 365 * 24 * 3600.0
"""Seconds to a reset, at most, as they are told: a time has to have a year that can be written."""

WARNING = b"x-gateway-limit-warning"

PREFIXES = (b"x-ratelimit-", b"anthropic-ratelimit-")
IN_ALL = b"-ratelimit-"
"""What is in all names that begin so."""

NAME_OF = itemgetter(0)


def headers(hold: Hold, family: str) -> Headers:
    """Write the headers of an answer to a call that its limits admitted."""
    told: Headers = []
    if len(hold.taken) == 1 and not hold.taken[0].dues.has_rivals:
        taken = hold.taken[0]
        for measure, place in taken.dues.rates:
            told += _written(measure, taken.charges.counters[place].ceiling, taken.states[place], family)
    else:
        for measure, (amount, state) in _tightest(hold).items():
            told += _written(measure, amount, state, family)
    return told + warning(hold.warnings) if hold.warnings else told


def _tightest(hold: Hold) -> dict[str, tuple[int, State]]:
    """Find of each measure the counter that refuses first: its amount, and how it stands."""
    rates = [
        (measure, taken.charges.counters[place], taken.states[place])
        for taken in hold.taken
        for measure, place in taken.dues.rates
    ]
    rates.sort(key=lambda rate: _leeway(*rate[1:]), reverse=True)
    return {measure: (counter.ceiling, state) for measure, counter, state in rates}


def _leeway(counter: Counter, state: State) -> tuple[bool, int, float]:
    """Tell how far a counter is from refusing, to be compared: one that only warns never does."""
    return counter.is_soft, state.remaining, -state.resets_in


def refusal_headers(error: LimitReached, family: str) -> Headers:
    """Write the headers of the answer to a call that a limit refused."""
    if error.measure not in TOLD or error.retry_after is None:
        return []
    return _written(error.measure, error.amount, State(error.amount, 0, error.retry_after), family)


def put(headers: Headers, own: Headers) -> None:
    """Put our headers among those of an answer, in place of a provider's of the same kind, if there are any."""
    # Warnings come last. Most answers have no such names: one look at all of them is over soonest.
    if own and own[0][0] != WARNING and b"\n".join(map(NAME_OF, headers)).find(IN_ALL) >= 0:
        headers[:] = [header for header in headers if not header[0].startswith(PREFIXES)]
    headers += own


def warning(warnings: Sequence[tuple[LimitRule, State]]) -> Headers:
    """Write the header that warns of limits that are nearly used up."""
    told = []
    for rule, state in warnings:
        percent = state.used * 100 // rule.amount if rule.amount else 100
        name = rule.name.encode("ascii", "replace").decode().replace('"', "'")
        told.append(f'"{name}"; used={percent}%')
    return [(WARNING, ", ".join(told).encode())] if told else []


NAMES = {
    "openai": {name: tuple(b"x-ratelimit-%b-%b" % (what, name.encode()) for what in WORDS) for name in TOLD},
    "anthropic": {name: tuple(b"anthropic-ratelimit-%b-%b" % (name.encode(), what) for what in WORDS) for name in TOLD},
}
"""The names of the headers, by family and measure: of the limit, of what is left, of the time of the reset."""


def _written(measure: str, amount: int, state: State, family: str) -> Headers:
    resets_in = state.resets_in if state.resets_in < FARTHEST else FARTHEST
    if family == "anthropic":
        at = datetime.now(UTC) + timedelta(seconds=resets_in)
        limit, left, reset = NAMES[family][measure]
        resets = at.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    else:
        limit, left, reset = NAMES["openai"][measure]
        resets = duration(resets_in)
    return [(limit, b"%d" % amount), (left, b"%d" % state.remaining), (reset, resets)]


def duration(seconds: float) -> bytes:
    """Write seconds as OpenAI does, which is as Go does: "120ms", "1.5s", "6m0s"."""
    if seconds < 1:
        return b"%dms" % (seconds * 1e3 + 0.5)
    if seconds < 60:
        return f"{seconds:.3f}".rstrip("0").rstrip(".").encode() + b"s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (b"%dh" % hours if hours else b"") + b"%dm%ds" % (minutes, rest)
