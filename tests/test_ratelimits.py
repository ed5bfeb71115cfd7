"""What a caller is told of its own limits in headers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from ai_gateway.allowances import Due, Dues, read_limit
from ai_gateway.charges import Charges, State
from ai_gateway.errors import BudgetExceeded, RateLimited
from ai_gateway.holds import Hold, Taken, refusal
from ai_gateway.limits.memory import MemoryStore
from ai_gateway.ratelimits import duration, headers, put, refusal_headers
from tests.factories import HOLDER


def taken(used: int, remaining: int, resets_in: float = 30.0, **entry: Any) -> Taken:
    rule = read_limit({"name": "Team A", "amount": 60, **entry}, id="1", zone="UTC")
    dues = Dues([Due(rule, "7")])
    return Taken(dues, Charges("call", dues.counters(0.0), [1]), [State(used, remaining, resets_in)])


def hold(*all_taken: Taken) -> Hold:
    made = Hold("call", HOLDER, MemoryStore())
    made.taken = list(all_taken)
    for each in all_taken:
        made._warn(each)
    return made


def test_openais_callers_are_told_in_openais_words() -> None:
    told = dict(headers(hold(taken(1, 59, 1.5), taken(500, 9500, 90.0, measure="tokens", amount=10_000)), "openai"))
    assert told == {
        b"x-ratelimit-limit-requests": b"60",
        b"x-ratelimit-remaining-requests": b"59",
        b"x-ratelimit-reset-requests": b"1.5s",
        b"x-ratelimit-limit-tokens": b"10000",
        b"x-ratelimit-remaining-tokens": b"9500",
        b"x-ratelimit-reset-tokens": b"1m30s",
    }


def test_anthropics_callers_are_told_in_anthropics_words() -> None:
    told = dict(headers(hold(taken(1, 59)), "anthropic"))
    assert told[b"anthropic-ratelimit-requests-limit"] == b"60"
    assert told[b"anthropic-ratelimit-requests-remaining"] == b"59"
    assert datetime.fromisoformat(told[b"anthropic-ratelimit-requests-reset"].decode()).tzinfo is not None


def test_of_several_limits_the_tightest_is_told() -> None:
    told = dict(headers(hold(taken(1, 59), taken(90, 10, amount=100), taken(1, 999, amount=1000)), "openai"))
    assert (told[b"x-ratelimit-limit-requests"], told[b"x-ratelimit-remaining-requests"]) == (b"100", b"10")


def test_the_tightest_is_the_one_that_refuses_first() -> None:
    told = dict(headers(hold(taken(54, 6), taken(9500, 500, amount=10_000)), "openai"))
    assert (told[b"x-ratelimit-limit-requests"], told[b"x-ratelimit-remaining-requests"]) == (b"60", b"6")
    told = dict(headers(hold(taken(60, 0, 2.0), taken(60, 0, 5.0)), "openai"))
    assert told[b"x-ratelimit-reset-requests"] == b"5s"


def test_a_limit_that_only_warns_is_told_where_there_is_no_other() -> None:
    told = dict(headers(hold(taken(70, 0, is_soft=True), taken(40, 60, amount=100)), "openai"))
    assert told[b"x-ratelimit-remaining-requests"] == b"60"
    assert dict(headers(hold(taken(70, 0, is_soft=True)), "openai"))[b"x-ratelimit-remaining-requests"] == b"0"


def test_budgets_are_no_rate_limits() -> None:
    assert headers(hold(taken(1, 59, window="day")), "openai") == []


def test_a_warning_says_which_limit_and_how_far_it_is_used() -> None:
    near = taken(51, 9, window="day", soft_percent=80)
    assert headers(hold(near), "openai") == [(b"x-gateway-limit-warning", b'"Team A"; used=85%')]
    assert headers(hold(taken(47, 13, window="day", soft_percent=80)), "openai") == []


def test_a_limit_that_only_warns_does_so_when_it_is_used_up() -> None:
    assert headers(hold(taken(75, 0, window="day", is_soft=True)), "openai") == [
        (b"x-gateway-limit-warning", b'"Team A"; used=125%')
    ]


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, b"0ms"),
        (0.12, b"120ms"),
        (1, b"1s"),
        (1.5, b"1.5s"),
        (59.9994, b"59.999s"),
        (360, b"6m0s"),
        (3725, b"1h2m5s"),
    ],
)
def test_durations_are_written_as_go_does(seconds: float, written: bytes) -> None:
    assert duration(seconds) == written


def test_a_refused_call_is_told_when_it_may_come_again() -> None:
    error = refusal(taken(60, 0).dues.dues[0], 2.25)
    assert isinstance(error, RateLimited)
    assert dict(refusal_headers(error, "openai")) == {
        b"x-ratelimit-limit-requests": b"60",
        b"x-ratelimit-remaining-requests": b"0",
        b"x-ratelimit-reset-requests": b"2.25s",
    }


def test_a_budget_that_is_used_up_is_not_worth_waiting_for() -> None:
    error = refusal(taken(60, 0, window="month", measure="cost").dues.dues[0], 86400.0)
    assert isinstance(error, BudgetExceeded)
    assert (error.retry_after, error.retryable) == (None, False)
    assert "'Team A' of $60.00 a month" in error.message


def test_a_budget_that_comes_back_in_a_moment_is() -> None:
    assert refusal(taken(60, 0, window="hour").dues.dues[0], 42.0).retry_after == 42.0


def test_a_providers_own_headers_give_way_to_ours() -> None:
    upstream = [(b"x-ratelimit-limit-requests", b"5000"), (b"content-type", b"application/json")]
    own = [(b"x-ratelimit-limit-requests", b"60")]
    answer = [*upstream]
    put(answer, own)
    assert answer == [(b"content-type", b"application/json"), *own]
    answer = [*upstream]
    put(answer, [])
    assert answer == upstream


@pytest.mark.parametrize("family", ["openai", "anthropic"])
def test_a_reset_in_another_millennium_can_be_told(family: str) -> None:
    assert headers(hold(taken(10**30, 0, 1e24)), family)
