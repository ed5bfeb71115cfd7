"""How the dashboard writes amounts: shortly, with their units, and without taking for free what has no price."""

from __future__ import annotations

from django.utils.translation import gettext as translate
from django.utils.translation import gettext_lazy as _

from ai_gateway.figures import Sums
from ai_gateway.money import rounded

UNPRICED = _("unpriced")
NONE = "—"


def named(value: str | None) -> str:
    """Write the name of a part of the chart."""
    return translate("others") if value is None else value or NONE


def money(sums: Sums) -> str:
    """Write what something cost. What has no price is not for nothing, and what did not happen has no cost."""
    if not sums.requests:
        return NONE
    if sums.unpriced and not sums.cost_nanos:
        return str(UNPRICED)
    return rounded(sums.cost_nanos) + (" + ?" if sums.unpriced else "")


def compact(number: int) -> str:
    """Write a count shortly."""
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**4, "K")):
        if number >= size:
            return f"{number / (1000 if letter == 'K' else size):,.1f}{letter}"
    return f"{number:,}"


def percent(share: float) -> str:
    """Write a share."""
    return f"{100 * share:.1f} %" if 0 < share < 0.1 else f"{100 * share:.0f} %"


def milliseconds(value: int | None) -> str:
    """Write a duration."""
    if value is None:
        return NONE
    return f"{value:,} ms" if value < 1000 else f"{value / 1000:,.1f} s"


def change(now: float | None, before: float | None) -> str:
    """Write what became of something since the span before; nothing where there is nothing to compare with."""
    if not before or now is None:
        return ""
    moved = (now - before) / before
    if abs(moved) < 0.005:
        return "±0 %"
    shown = f"{abs(moved) * 100:,.0f} %" if abs(moved) < 10 else f"\N{MULTIPLICATION SIGN}{now / before:,.0f}"
    return f"{'▲' if moved > 0 else '▼'} {shown}"
