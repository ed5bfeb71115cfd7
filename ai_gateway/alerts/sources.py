"""What is worth an alert: found out from the gateway's signals, in the threads that send them, and from the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Any

from django.dispatch import Signal
from django.utils import timezone

from ai_gateway.alerts.base import News
from ai_gateway.alerts.error_rates import ErrorRates
from ai_gateway.allowances import LimitRule, period
from ai_gateway.calls import Caller, Target
from ai_gateway.charges import Algorithm
from ai_gateway.meter import Entry
from ai_gateway.models import VirtualKey
from ai_gateway.money import rounded
from ai_gateway.signals import breaker_closed, breaker_opened, call_finished, limit_reached, limit_warning
from ai_gateway.stored import has_database

EXPIRY = timedelta(days=7)
"""How long before it expires a key is told of."""

MOST_KEYS = 100
"""Keys that one look tells of: the rest is told of on the next days."""

MOST_PROVIDERS = 1000

OF_PROVIDERS = frozenset(("failed", "timed_out"))
"""Outcomes that say that a provider did not do well."""

Tell = Callable[[News], None]


def _tell_nobody(news: News) -> None:
    """Nobody wants to know."""


_tell: Tell = _tell_nobody
_rates: dict[str, ErrorRates] = {}


def connect(wanted: Collection[str], tell: Tell) -> None:
    """Listen to the signals that these kinds of alerts need, and to no others."""
    global _tell
    _tell = tell
    _rates.clear()
    for kind, signals, receiver in RECEIVERS:
        for signal in signals:
            signal.disconnect(receiver)
            if kind in wanted:
                signal.connect(receiver)


# Budgets.


def on_budget(signal: Signal, rule: LimitRule, caller: Caller, used: int | None = None, **_: Any) -> None:
    """A limit of a period is nearly used up, or is. Those of a minute come back by themselves."""
    if rule.algorithm is not Algorithm.QUOTA:
        return
    label = period(rule.window, rule.zone, time.time()).label
    whose = caller.key_name if rule.scope in ("key", "user", "group") else ""
    name = f"{rule.name} of {whose}" if whose else rule.name
    is_reached = signal is limit_reached
    state = "used up" if is_reached else "nearly used up"
    details = {"limit": rule.name, "period": label, "measure": rule.measure, "amount": quantity(rule, rule.amount)}
    if used is not None:
        details["used"] = quantity(rule, used)
    if whose:
        details["key"] = whose
    _tell(News("budget", f"{name}, {label}, {state}", f"The limit {name} is {state}.", details, repeats=False))


def quantity(rule: LimitRule, number: int) -> str:
    """Write how much of a limit it is."""
    return rounded(number) if rule.measure == "cost" else f"{number:,} {rule.measure}"


# Providers.


def on_breaker(signal: Signal, target: Target, reason: str = "", **_: Any) -> None:
    """A target is asked last from now on, or in its turn again."""
    is_over = signal is breaker_closed
    name = "/".join(filter(None, target))
    text = f"{name} does well again." if is_over else f"{name} is not well, and is asked last."
    details = {"provider": target.provider, "model": target.model or "", "reason": reason}
    _tell(News("provider_down", name, text, details, is_over=is_over))


def on_outcome(signal: Signal, entry: Entry, **_: Any) -> None:
    """A call is over: does its provider fail more often than before?"""
    provider = entry.provider
    if not provider or not entry.attempts:
        return
    if provider not in _rates and len(_rates) >= MOST_PROVIDERS:
        _rates.clear()
    jump = _rates.setdefault(provider, ErrorRates()).note(time.time(), is_error=entry.outcome in OF_PROVIDERS)
    if not jump.is_alert and not jump.is_well:
        return
    now, before = f"{jump.rate:.0%}", f"{jump.before:.0%}"
    text = f"{now} of the calls of {provider} fail; it was {before} in the hour before."
    if jump.is_well:
        text = f"The calls of {provider} fail no more often than usual: {now}."
    details = {"provider": provider, "rate": now, "before": before, "calls": jump.calls}
    _tell(News("error_rate", provider, text, details, is_over=jump.is_well))


# Prices.


def on_unpriced(signal: Signal, entry: Entry, **_: Any) -> None:
    """A call is over that nobody knows the price of."""
    if entry.cost_nanos is not None or not entry.provider or not 200 <= entry.status < 300:
        return
    name = f"{entry.provider}/{entry.served_model}"
    text = f"Nobody knows what {name} costs. Its calls are written down without a cost, and no budget counts them."
    details = {"provider": entry.provider, "model": entry.served_model}
    _tell(News("unknown_price", name, text, details, repeats=False))


# Keys.


def expiring_keys() -> Sequence[News]:
    """Find keys that are about to expire. All processes look, and one tells: it is told once of each."""
    if not has_database():
        return ()
    now = timezone.now()
    soon = VirtualKey.objects.filter(is_active=True, expires_at__gt=now, expires_at__lte=now + EXPIRY)
    return [
        News(
            "key_expiring",
            f"{key.public_id}, {key.expires_at:%Y-%m-%d}",
            f"The key {key.name} of {key.user} expires on {key.expires_at:%Y-%m-%d %H:%M} ({key.expires_at:%Z}).",
            {"key": key.name, "key_id": key.public_id, "user": str(key.user), "expires_at": key.expires_at.isoformat()},
            repeats=False,
        )
        for key in soon.select_related("user").order_by("expires_at")[:MOST_KEYS]
        if key.expires_at is not None
    ]


RECEIVERS: tuple[tuple[str, tuple[Signal, ...], Callable[..., None]], ...] = (
    ("budget", (limit_warning, limit_reached), on_budget),
    ("provider_down", (breaker_opened, breaker_closed), on_breaker),
    ("error_rate", (call_finished,), on_outcome),
    ("unknown_price", (call_finished,), on_unpriced),
)
"""Which signals tell of which kind, and who listens."""
