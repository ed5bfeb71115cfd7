"""What a model costs, as it is charged: in integers only.

A token costs so many pico-dollars (dollars for a million tokens, times a million). A cost is summed up in pico-dollars
and rounded once, half up, to nano-dollars.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from operator import mul

import msgspec
from msgspec.structs import astuple

from ai_gateway.consumption import Consumption
from ai_gateway.protocols.conversation import BUCKETS

Rates = tuple[int, ...]
"""Pico-dollars a token, in the order of `BUCKETS`."""


INPUT, OUTPUT = BUCKETS.index("input"), BUCKETS.index("output")


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """What a model costs in one service tier.

    `levels` are the rates above a number of input tokens, the highest number first. `factor` is for tokens; `request`
    and `units` are pico-dollars for a call and for a piece.
    """

    rates: Rates
    levels: tuple[tuple[int, Rates], ...] = ()
    factor: Fraction | None = None
    request: int = 0
    units: Mapping[str, int] = {}

    def cost(self, consumption: Consumption) -> int | Fraction:
        """Give the cost of what was used, in pico-dollars."""
        tokens = consumption.tokens
        rates = self.rates_of(tokens.total_input) if self.levels else self.rates
        cost: int | Fraction = sum(map(mul, astuple(tokens), rates))  # Its first fields are the buckets.
        total = self.request + (cost if self.factor is None else cost * self.factor)
        if consumption.units and self.units:
            for name, count in consumption.units.items():
                total += self.units.get(name, 0) * (count if isinstance(count, int) else Fraction(str(count)))
        return total

    def cost_of_text(self, input: int, output: int) -> int | Fraction:
        """Give the cost of a prompt and an answer of so many tokens, with nothing else in them, in pico-dollars."""
        rates = self.rates_of(input) if self.levels else self.rates
        cost = input * rates[INPUT] + output * rates[OUTPUT]
        return self.request + (cost if self.factor is None else cost * self.factor)

    def rates_of(self, input: int) -> Rates:
        """Give the rates that count for so many tokens of input."""
        for above, dearer in self.levels:
            if input > above:
                return dearer
        return self.rates


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What a model costs. Made by `read_price`."""

    standard: Schedule
    service_tiers: Mapping[str, Schedule] = {}

    def cost(self, consumption: Consumption) -> int:
        """Give the cost of what was used, in nano-dollars."""
        tier = consumption.service_tier
        schedule = self.schedule_of(tier) if tier else self.standard
        return rounded(schedule.cost(consumption))

    def cost_of_text(self, input: int, output: int) -> int:
        """Give the cost of a prompt and an answer of so many tokens in the standard tier, in nano-dollars."""
        return rounded(self.standard.cost_of_text(input, output))

    def schedule_of(self, service_tier: str) -> Schedule:
        """Give what the model costs in a service tier; one without prices of its own costs the standard."""
        return self.service_tiers.get(service_tier, self.standard)


def rounded(picos: int | Fraction) -> int:
    """Give pico-dollars in nano-dollars."""
    return int((picos + 500) // 1000)


FREE = Price(standard=Schedule(rates=(0,) * len(BUCKETS)))
"""The price of what costs nothing."""
