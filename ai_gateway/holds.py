"""What one call has taken of its limits, and what it gives back when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import inf

import msgspec

from ai_gateway import balances, money, notices
from ai_gateway.allowances import Due, Dues, LimitRule
from ai_gateway.calls import Caller
from ai_gateway.charges import Algorithm, Charges, Counter, State, States, Verdict
from ai_gateway.consumption import NOTHING, Consumption
from ai_gateway.errors import BudgetExceeded, LimitReached, RateLimited
from ai_gateway.limits import LimitStore

SHORT_WAIT = 60.0
"""Seconds after which a window begins anew that a caller may be told to wait for."""

TARGET_SCOPES = ("provider", "model")

CALLER_SCOPES = ("everyone", "key", "user", "group")


class Taken(msgspec.Struct, frozen=True):
    """Charges that were taken together, for which rules, and where their counters stood then."""

    dues: Dues
    charges: Charges
    states: States

    def each(self) -> Iterator[tuple[Due, Counter, State]]:
        """Go through them."""
        return zip(self.dues.dues, self.charges.counters, self.states, strict=True)

    def split(self, is_wanted: Callable[[Due], bool]) -> tuple[Taken, Taken]:
        """Give the part of some rules, and the part of the others."""
        places: tuple[list[int], list[int]] = ([], [])
        for place, due in enumerate(self.dues.dues):
            places[0 if is_wanted(due) else 1].append(place)
        return self._part(places[0]), self._part(places[1])

    def _part(self, places: Sequence[int]) -> Taken:
        call, counters, amounts = self.charges.call, self.charges.counters, self.charges.amounts
        return Taken(
            Dues(self.dues.dues[place] for place in places),
            Charges(call, [counters[place] for place in places], [amounts[place] for place in places]),
            [self.states[place] for place in places],
        )


class Hold(msgspec.Struct):
    """What one call has taken of its limits."""

    call: str
    caller: Caller
    store: LimitStore
    taken: list[Taken] = []
    warnings: list[tuple[LimitRule, State]] = []
    is_settled: bool = False

    async def take(self, dues: Dues, amounts: Sequence[int], now: float, ttl: float) -> None:
        """Take these amounts, all or none. Raises RateLimited, BudgetExceeded or StoreUnavailable."""
        charges = Charges(self.call, dues.counters(now), amounts)
        verdict = self.store.admit_now(charges) or await self.store.admit(charges, ttl)
        if not verdict.is_admitted:
            raise self._refusal(dues, charges, verdict)
        taken = Taken(dues, charges, verdict.states)
        self.taken.append(taken)
        if dues.warns:
            self._warn(taken)
        if balances.is_asked:
            self._note_balance()

    def _refusal(self, dues: Dues, charges: Charges, verdict: Verdict) -> LimitReached:
        assert verdict.refused is not None
        due = dues.dues[verdict.refused]
        notices.refuse(due.rule, charges.counters[verdict.refused], self.caller)
        return refusal(due, verdict.retry_after)

    def _warn(self, taken: Taken) -> None:
        for due, counter, state in taken.each():
            if due.warns and is_warning(due.rule, state):
                self.warnings.append((due.rule, state))
                notices.warn(due.rule, counter, state, self.caller)

    def _note_balance(self) -> None:
        """Tell how much is left of the caller's budget that has the least left."""
        found = [
            (100 * state.remaining / (due.rule.amount or 1), counter.ends_at or inf)
            for taken in self.taken
            for due, counter, state in taken.each()
            if counter.algorithm is Algorithm.QUOTA and due.rule.scope in CALLER_SCOPES
        ]
        if found:
            balances.note(self.caller, *min(found))

    def leave_target(self, consumption: Consumption | None = None, cost_nanos: int | None = None) -> None:
        """Settle what was taken for a target by what it used: nothing, if it failed before it answered."""
        self._settle_some(lambda due: due.rule.scope in TARGET_SCOPES, consumption, cost_nanos)

    def settle_answer(self, consumption: Consumption | None, cost_nanos: int | None) -> None:
        """Settle what was taken for one answer of a session by what it used; None: there was none. That is all but the
        session's place among those at once."""
        self._settle_some(is_of_answer, consumption, cost_nanos)

    def dues_of_answer(self) -> list[Due]:
        """List what an answer of a session is held to that has been taken for it."""
        return [due for taken in self.taken for due in taken.dues.dues if is_of_answer(due)]

    def _settle_some(
        self, is_over: Callable[[Due], bool], consumption: Consumption | None, cost_nanos: int | None
    ) -> None:
        parts = [taken.split(is_over) for taken in self.taken]
        over = [part for part, _ in parts if part.states]
        self.taken = [part for _, part in parts if part.states]
        for taken in over:
            actual = used(taken.dues, consumption, cost_nanos) if consumption is not None else [0] * len(taken.states)
            self.store.settle(taken.charges, actual)

    def settle(self, consumption: Consumption | None, cost_nanos: int | None) -> None:
        """Put what was used in place of what was reserved, once. None: nothing was used."""
        if self.is_settled:
            return
        self.is_settled = True
        for taken in self.taken:
            self.store.settle(taken.charges, used(taken.dues, consumption, cost_nanos))

    def settle_as_reserved(self) -> None:
        """Have what was reserved count as used, for nobody knows what was. What was settled stays so: stores settle
        nothing twice."""
        self.is_settled = True
        for taken in self.taken:
            self.store.settle(taken.charges, taken.charges.amounts)


def is_of_answer(due: Due) -> bool:
    """Whether each answer of a session has to keep to a rule by itself. Its place among those at once is the
    session's."""
    return due.measure != "concurrency"


def used(dues: Dues, consumption: Consumption | None, cost_nanos: int | None) -> Sequence[int]:
    """Tell what a call used, as its rules measure it."""
    tokens = consumption.tokens if consumption is not None else NOTHING
    return dues.amounts(tokens.total, cost_nanos or 0)


def is_warning(rule: LimitRule, state: State) -> bool:
    """Whether a counter stands so high that its rule wants a warning."""
    if rule.is_soft and state.used >= rule.amount:
        return True
    return rule.soft_percent is not None and state.used * 100 >= rule.amount * rule.soft_percent


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
