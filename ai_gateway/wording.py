"""Limits, where they stand, and sums, in words for people. In the language of whoever is looking."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.utils.timesince import timeuntil
from django.utils.translation import gettext as translate

from ai_gateway.allowances import LimitRule
from ai_gateway.models import Limit
from ai_gateway.models.usage_queries import UsageTotals
from ai_gateway.money import rounded
from ai_gateway.standings import Standing, amount

SOON = 60.0
"""Seconds that are told as such; anything longer is told in minutes, hours or days."""


def allowance(rule: LimitRule) -> str:
    """Say what a limit allows: "$20.00 in a month", "60 requests in a minute", "4 calls at once"."""
    allowed = amount(rule, rule.amount)
    if rule.measure == "concurrency":
        return translate("%(amount)s calls at once") % {"amount": allowed}
    window = Limit.Window(rule.window).label
    if rule.measure == "cost":
        return f"{allowed} {window}"
    return f"{allowed} {Limit.Measure(rule.measure).label} {window}"


def figures(totals: UsageTotals) -> dict[str, str]:
    """Write the sums that people ask for first. What there is none of is left empty."""
    counts = {name: getattr(totals, name) for name in ("errors", "limited", "unpriced")}
    return {
        "requests": f"{totals.requests:,}",
        "tokens": f"{totals.tokens:,}",
        "cost": rounded(totals.cost_nanos),
        **{name: f"{count:,}" if count else "" for name, count in counts.items()},
    }


def standing(found: Standing) -> str:
    """Say where a limit stands: "used $12.30 of $20.00 · resets in 3 hours"."""
    used, allowed = amount(found.rule, found.used), amount(found.rule, found.rule.amount)
    text = translate("used %(used)s of %(allowed)s") % {"used": used, "allowed": allowed}
    return " · ".join(filter(None, [text, reset(found)]))


def reset(found: Standing) -> str:
    """Say when a limit begins anew; nothing if it never does, or is as good as new."""
    if not found.resets_in or found.rule.measure == "concurrency":
        return ""
    if found.resets_in < SOON:
        return translate("resets in %(seconds)d s") % {"seconds": max(round(found.resets_in), 1)}
    now = datetime.now(UTC)
    span = timeuntil(now + timedelta(seconds=found.resets_in), now, depth=1)
    return translate("resets in %(span)s") % {"span": span}
