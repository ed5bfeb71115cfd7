"""What a call takes of counters, in one word: what tests of stores are written in."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from ai_gateway.charges import Algorithm, Charges, Counter, State, Verdict
from ai_gateway.ids import new_id
from ai_gateway.limits import LimitStore

TTL = 300.0
"""Seconds after which reservations of a dead process expire."""


class Charge(NamedTuple):
    """What a call takes of one counter."""

    counter: Counter
    amount: int


def rate(amount: int = 1, ceiling: int = 60, *, name: str = "rate", is_soft: bool = False) -> Charge:
    """A charge of a limit per minute."""
    return Charge(Counter(f"{name}:all", Algorithm.RATE, ceiling, is_soft=is_soft), amount)


def quota(
    amount: int = 1, ceiling: int = 60, *, name: str = "quota", ends_at: float = 0.0, is_soft: bool = False
) -> Charge:
    """A charge of a limit of a period, or in all."""
    counter = Counter(f"{name}:all:{ends_at or 'total'}", Algorithm.QUOTA, ceiling, 0, ends_at, is_soft)
    return Charge(counter, amount)


def slot(ceiling: int = 2, *, name: str = "slots", is_soft: bool = False) -> Charge:
    """A charge of a limit of calls at once."""
    return Charge(Counter(f"{name}:all", Algorithm.CONCURRENCY, ceiling, is_soft=is_soft), 1)


def of_call(call: str, *charges: Charge) -> Charges:
    """What a call takes."""
    return Charges(call, [charge.counter for charge in charges], [charge.amount for charge in charges])


async def take(store: LimitStore, *charges: Charge, call: str | None = None) -> Verdict:
    """Have a call admitted, a new one if it has no name."""
    return await store.admit(of_call(call or new_id(), *charges), TTL)


async def admits(store: LimitStore, *charges: Charge) -> bool:
    """Whether a new call is admitted."""
    return (await take(store, *charges)).is_admitted


def end(store: LimitStore, call: str, *settlements: tuple[Charge, int]) -> None:
    """Settle charges of a call, and wait for nothing."""
    store.settle(of_call(call, *(charge for charge, _ in settlements)), [actual for _, actual in settlements])


async def settle(store: LimitStore, call: str, *settlements: tuple[Charge, int]) -> None:
    """Settle charges of a call, and wait until that is done."""
    end(store, call, *settlements)
    await store.flush()


async def states(store: LimitStore, *charges: Charge) -> list[State]:
    """Tell where counters stand."""
    return list(await store.states([charge.counter for charge in charges]))


async def state(store: LimitStore, charge: Charge) -> State:
    """Tell where a counter stands."""
    (found,) = await states(store, charge)
    return found


def about(seconds: float) -> Any:
    """What equals so many seconds, but for the microseconds that clocks and rounding take."""
    return pytest.approx(seconds, abs=1e-5)
