"""How often, and after what wait, is a call tried again?"""

from __future__ import annotations

import pytest

from ai_gateway.failures import Failure, Phase
from ai_gateway.retries import FIRST_WAIT, LONGEST_WAIT, Budget, RetryPolicy

POLICY = RetryPolicy()


def failure(phase: Phase = Phase.REFUSED, status: int = 503, retry_after: float | None = None) -> Failure:
    return Failure(phase, status, retry_after=retry_after)


@pytest.mark.parametrize(
    ("phase", "elsewhere", "again"),
    [
        (Phase.NOT_SENT, True, True),
        (Phase.REFUSED, True, True),
        (Phase.UNSUITABLE, True, False),
        (Phase.AMBIGUOUS, False, False),
        (Phase.FINAL, False, False),
    ],
    ids=lambda value: value.value if isinstance(value, Phase) else None,
)
def test_who_may_take_a_failed_call(phase: Phase, elsewhere: bool, again: bool) -> None:
    assert POLICY.is_worth_it(failure(phase)) is elsewhere
    assert POLICY.is_repeatable(failure(phase)) is again


def test_the_operator_may_let_a_call_go_on_that_may_have_been_worked_on() -> None:
    assert RetryPolicy(ambiguous=True).is_worth_it(failure(Phase.AMBIGUOUS, 504))


def test_a_credential_that_was_refused_is_refused_again() -> None:
    assert not POLICY.is_repeatable(failure(status=401))


def test_waits_are_random_within_a_bound_that_doubles() -> None:
    for number in range(1, 10):
        bound = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (number - 1))
        waits = [POLICY.wait(failure(), number) for _ in range(200)]
        assert all(wait is not None and 0 <= wait <= bound for wait in waits)
        assert len(set(waits)) > 100


def test_a_provider_that_asks_for_a_wait_gets_it() -> None:
    assert POLICY.wait(failure(retry_after=7), 1) == 7


def test_a_wait_that_is_too_long_is_left_to_the_caller() -> None:
    assert POLICY.wait(failure(retry_after=3600), 1) is None


def test_repetitions_have_a_budget() -> None:
    budget = Budget()
    budget.calls, budget.repetitions = 5, 2
    assert budget.allows(POLICY)
    budget.repetitions = 3
    assert not budget.allows(POLICY)
    budget.calls = 100
    assert budget.allows(POLICY)
    budget.repetitions = 20
    assert not budget.allows(POLICY)
