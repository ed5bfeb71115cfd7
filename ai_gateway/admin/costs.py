"""What a call cost, kind by kind: its tokens, each with its price and what that comes to.

The price is the one that was in force when the call arrived, as the gateway knows it today: prices that were entered or
corrected since then come to something else than what was charged, and that is said.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from django.utils.translation import gettext as translate

from ai_gateway import registry
from ai_gateway.consumption import Consumption
from ai_gateway.models import UsageRecord
from ai_gateway.models.usage_queries import BUCKETS
from ai_gateway.money import exact
from ai_gateway.pricing import Price
from ai_gateway.protocols.conversation import BUCKETS as RATES
from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.tariff import Schedule

COLUMNS = {field.attname: field for field in UsageRecord._meta.concrete_fields}

MILLION = 1_000_000
PICOS = 1000
"""Pico-dollars of a nano-dollar."""


class Line(NamedTuple):
    """One kind of what was used, how much of it, its price for a million or a piece, and what that comes to."""

    name: str
    amount: str
    price: str
    cost: str


class Bill(NamedTuple):
    """All lines of a call. `note` says what is odd about it."""

    lines: list[Line]
    total: str
    note: str


def bill(record: UsageRecord) -> Bill:
    """Write the bill of a call."""
    price, tokens = price_of(record), TokenUsage(**{name: getattr(record, f"{name}_tokens") for name in RATES})
    schedule = price.schedule_of(record.service_tier) if price is not None else None
    lines = [*_tokens(record, tokens, schedule), *_others(record, schedule)]
    if record.cost_nanos is None:
        return Bill(lines, "?", translate("Nobody knows: there is no price for this model."))
    return Bill(lines, f"${exact(record.cost_nanos)}", _note(record, price, tokens))


def price_of(record: UsageRecord) -> Price | None:
    """Find the price that was in force when a call arrived."""
    snapshot = registry.snapshot()
    provider = snapshot.providers.get(record.provider)
    if not record.served_model:
        return None
    row = provider.row if provider is not None else ""
    return snapshot.prices.of(record.provider, row, record.served_model, record.started_at.timestamp())


def _tokens(record: UsageRecord, tokens: TokenUsage, schedule: Schedule | None) -> list[Line]:
    rates = schedule.rates_of(tokens.total_input) if schedule is not None else None
    factor = (schedule.factor if schedule is not None else None) or 1
    lines = []
    for place, column in enumerate(BUCKETS):
        count: int = getattr(record, column)
        if count:
            name = str(COLUMNS[column].verbose_name)
            rate = None if rates is None else rates[place] * factor
            lines.append(_line(name, count, None if rate is None else Decimal(int(rate * 1000)) / 1000, MILLION))
    return lines


def _others(record: UsageRecord, schedule: Schedule | None) -> list[Line]:
    """The lines of what is not counted in tokens, and of the call itself, if it costs something."""
    units = {name.replace("_", " "): (count, name) for name, count in (record.units or {}).items()}
    lines = [
        _line(shown, count, None if schedule is None else Decimal(schedule.units.get(name, 0)), 1)
        for shown, (count, name) in units.items()
    ]
    if schedule is not None and schedule.request:
        lines.append(_line(translate("the call"), 1, Decimal(schedule.request), 1))
    return lines


def _line(name: str, count: float, picos: Decimal | None, per: int) -> Line:
    """Write a line; `picos` is what one piece costs, `per` of how many the price is told."""
    shown = f"{count:,g}" if isinstance(count, float) else f"{count:,}"
    if picos is None:
        return Line(name, shown, "?", "?")
    nanos = picos * Decimal(str(count)) / PICOS
    return Line(name, shown, f"${exact(int(picos * per / PICOS))}", f"${exact(round(nanos))}")


def _note(record: UsageRecord, price: Price | None, tokens: TokenUsage) -> str:
    """Say what was saved, or if what the price comes to is not what was charged."""
    if record.outcome == UsageRecord.Outcome.CACHED:
        saved = {"cost": exact(record.saved_nanos)}
        return translate("The answer was kept. It cost $%(cost)s when the provider gave it.") % saved
    if price is None or (record.trail and any("tokens" in each for each in record.trail)):
        return ""  # Parts of the answer were other models'.
    used = Consumption(tokens=tokens, units=record.units or {}, service_tier=record.service_tier)
    if price.cost(used) == record.cost_nanos:
        return ""
    return translate("The price that the gateway knows today for that time comes to something else than was charged.")
