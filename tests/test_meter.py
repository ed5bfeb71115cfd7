"""The measure of one call."""

from __future__ import annotations

import pytest

from ai_gateway.calls import Target
from ai_gateway.errors import (
    BadRequest,
    BudgetExceeded,
    Draining,
    GatewayError,
    RateLimited,
    RequestTimeout,
    UpstreamClosed,
    UpstreamTimeout,
)
from ai_gateway.meter import LONGEST, Meter, Outcome, cut, outcome_of
from tests.factories import HOLDER, make_arrival

LIMIT = {"limit": "Team A", "measure": "requests", "amount": 60}


@pytest.mark.parametrize(
    ("error", "was_sent", "outcome"),
    [
        (BadRequest("bad"), False, Outcome.REFUSED),
        (RateLimited("often", **LIMIT), False, Outcome.LIMITED),  # type: ignore[arg-type]
        (BudgetExceeded("much", **LIMIT), False, Outcome.LIMITED),  # type: ignore[arg-type]
        (RequestTimeout("slow"), False, Outcome.TIMED_OUT),
        (UpstreamTimeout("slow"), True, Outcome.TIMED_OUT),
        (UpstreamClosed("gone"), True, Outcome.FAILED),
        (Draining("stop"), False, Outcome.STOPPED),
        (Draining("stop"), True, Outcome.STOPPED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, GatewayError) else None,
)
def test_what_ended_a_call_is_told_by_its_error(error: GatewayError, was_sent: bool, outcome: Outcome) -> None:
    assert outcome_of(error, was_sent=was_sent) is outcome


def test_every_attempt_that_failed_is_in_the_trail() -> None:
    meter = Meter(make_arrival(), HOLDER)
    meter.begin_attempt(Target("openai", "m"))
    meter.fail_attempt(502, "upstream_closed", meter.arrival.received_at)
    (tried,) = meter.trail
    assert (tried["provider"], tried["model"], tried["status"], tried["error"]) == (
        "openai",
        "m",
        502,
        "upstream_closed",
    )


def test_names_that_callers_make_up_are_cut_and_harmless() -> None:
    assert cut("x" * 1000) == "x" * LONGEST
    assert cut("a\x00b") == "ab"
    assert cut(None) == ""
