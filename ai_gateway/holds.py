"""What one call has taken of its limits, and what it gives back when it is over."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import msgspec

from ai_gateway import balances, money, notices
from ai_gateway.allowances import Due
from ai_gateway.calls import Caller
from ai_gateway.charges import Algorithm, Charge, Settlement, State
from ai_gateway.consumption import NOTHING, Consumption
from ai_gateway.errors import BudgetExceeded, LimitReached, RateLimited
from ai_gateway.limits import LimitStore

SHORT_WAIT = 60.0
"""Seconds after which a window begins anew that a caller may be told to wait for."""

TARGET_SCOPES = ("provider", "model")

CALLER_SCOPES = ("everyone", "key", "user", "group")


class Taken(msgspec.Struct, frozen=True):
    """A charge that was taken, for which rule, and where its counter stood then."""

    due: Due
    charge: Charge
    state: State


class Hold:
    """What one call has taken of its limits."""

    __slots__ = ("_caller", "_store", "call", "is_settled", "taken", "warnings")

    def __init__(self, call: str, caller: Caller, store: LimitStore) -> None:
        self.call = call
        self.taken: list[Taken] = []
        self.warnings: list[Taken] = []
        self.is_settled = False
        self._caller = caller
        self._store = store

    async def take(self, dues: Sequence[Due], charges: Sequence[Charge], ttl: float) -> None:
        """Take the charges of dues, all or none. Raises RateLimited, BudgetExceeded or StoreUnavailable."""
        verdict = await self._store.admit(self.call, charges, ttl)
        if not verdict.is_admitted:
            assert verdict.refused is not None
            due = dues[verdict.refused]
            notices.refuse(due.rule, charges[verdict.refused], self._caller)
            raise refusal(due, verdict.retry_after)
        for due, charge, state in zip(dues, charges, verdict.states, strict=True):
            taken = Taken(due, charge, state)
            self.taken.append(taken)
            if due.warns and is_warning(taken):
                self.warnings.append(taken)
                notices.warn(due.rule, charge, state, self._caller)
        if balances.is_asked:
            self._note_balance()

    def _note_balance(self) -> None:
        """Tell how much is left of the caller's budget that has the least left."""
        found = [
            (100 * taken.state.remaining / (taken.due.rule.amount or 1), taken.charge.ends_at or inf)
            for taken in self.taken
            if taken.charge.algorithm is Algorithm.QUOTA and taken.due.rule.scope in CALLER_SCOPES
        ]
        if found:
            balances.note(self._caller, *min(found))

    def leave_target(self, consumption: Consumption | None = None, cost_nanos: int | None = None) -> None:
        """Settle what was taken for a target by what it used: nothing, if it failed before it answered."""
        left = [taken for taken in self.taken if taken.due.rule.scope in TARGET_SCOPES]
        self._settle_some(left, consumption, cost_nanos)

    def settle_answer(self, consumption: Consumption | None, cost_nanos: int | None) -> list[Due]:
        """Settle what was taken for one answer of a session by what it used; None: there was none. Gives what has to be
        taken for the next one: all but the session's place among those at once."""
        left = [taken for taken in self.taken if taken.due.measure != "concurrency"]
        self._settle_some(left, consumption, cost_nanos)
        return [taken.due for taken in left]

    def _settle_some(self, left: Sequence[Taken], consumption: Consumption | None, cost_nanos: int | None) -> None:
        if left:
            actual = [0 if consumption is None else used(taken.due, consumption, cost_nanos) for taken in left]
            self._store.settle(self.call, list(map(Settlement, (taken.charge for taken in left), actual)))
            self.taken = [taken for taken in self.taken if taken not in left]

    def settle(self, consumption: Consumption | None, cost_nanos: int | None) -> None:
        """Put what was used in place of what was reserved, once. None: nothing was used."""
        if self.is_settled:
            return
        self.is_settled = True
        if self.taken:
            self._store.settle(
                self.call,
                [Settlement(taken.charge, used(taken.due, consumption, cost_nanos)) for taken in self.taken],
            )


def used(due: Due, consumption: Consumption | None, cost_nanos: int | None) -> int:
    """Tell what a call used, as a rule measures it."""
    measure = due.rule.measure
    if measure == "tokens":
        tokens = consumption.tokens if consumption is not None else NOTHING
        return tokens.total_input + tokens.total_output
    if measure == "cost":
        return cost_nanos or 0
    return 1


def is_warning(taken: Taken) -> bool:
    """Whether a counter stands so high that its rule wants a warning."""
    rule = taken.due.rule
    if rule.is_soft and taken.state.used >= rule.amount:
        return True
    return rule.soft_percent is not None and taken.state.used * 100 >= rule.amount * rule.soft_percent


def refusal(due: Due, retry_after: float | None) -> LimitReached:
    """Make the error of a call that a limit refuses."""
    rule = due.rule
    kind: type[LimitReached] = RateLimited
    if rule.measure == "concurrency":
        retry_after = 1.0
        message = f"The limit {rule.name!r} allows {rule.amount} calls at once. Send the request again when one ended."
    elif rule.window == "minute":
        retry_after = max(retry_after or 0.0, 0.001)
        message = f"The limit {rule.name!r} allows {rule.amount} {rule.measure} in a minute. Wait {retry_after:.1f} s."
    else:
        kind = BudgetExceeded
        retry_after = retry_after if retry_after is not None and retry_after <= SHORT_WAIT else None
        amount = money.rounded(rule.amount) if rule.measure == "cost" else f"{rule.amount} {rule.measure}"
        when = "" if rule.window == "total" else f" a {rule.window}"
        message = f"The budget {rule.name!r} of {amount}{when} is used up, or has less left than this call may use."
    return kind(
        message,
        limit=rule.name,
        measure=rule.measure,
        amount=rule.amount,
        retry_after=retry_after,
        is_of_target=rule.scope in TARGET_SCOPES,
    )
