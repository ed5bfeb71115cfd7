"""Money as people and programs read it: dollars, made of the nano-dollars that are counted, with no float between."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

PLACES = 9
"""A nano-dollar is the ninth decimal place of a dollar."""

NANOS_IN_A_DOLLAR = 10**PLACES

CENT = Decimal("0.01")
SMALL = Decimal("0.0001")


def dollars(nanos: int) -> Decimal:
    """Give nano-dollars in dollars, exactly."""
    return Decimal(nanos).scaleb(-PLACES)


def exact(nanos: int) -> str:
    """Write nano-dollars in dollars, exactly, with no exponent and no zeros at the end: for programs."""
    if nanos < 0:
        return f"-{exact(-nanos)}"
    whole, rest = divmod(nanos, NANOS_IN_A_DOLLAR)
    return f"{whole}.{rest:09d}".rstrip("0") if rest else str(whole)


def rounded(nanos: int) -> str:
    """Write nano-dollars in dollars for people: in cents, and below a dollar to a hundredth of a cent."""
    amount = dollars(nanos)
    place = CENT if abs(amount) >= 1 or amount == 0 else SMALL
    shown = amount.quantize(place, rounding=ROUND_HALF_UP)
    return f"${shown:,f}" if shown or not amount else "<$0.0001"
