"""A price as a site writes it, in dollars, read into one that calls are charged by.

    {"input": 3, "cache_read": "0.30", "output": 15,
     "tiers": [{"above": 200000, "input": 6, "output": 22.5}],
     "service_tiers": {"batch": 0.5, "priority": {"input": 5, "output": 30}},
     "request": "0.005", "units": {"searches": 0.01}}

Tokens are priced in dollars for a million, exact to a millionth of a dollar; a finer price is refused, never rounded.

A bucket without a price of its own is charged as what it is a kind of (`FALLBACKS`): what was read from a cache, heard
or seen as input, what was kept for an hour as what was kept for five minutes, reasoning and what was spoken or drawn as
output. Where neither has a price it costs nothing: embeddings have no output.

`tiers` are for long contexts: as soon as the whole input, cached or not, is longer than `above`, every token of the
call is charged at the tier's prices, as Anthropic, Google and OpenAI do. A bucket that a tier does not name keeps its
price. A service tier has a factor for all tokens, or prices of its own, which replace those of the same bucket with its
long contexts. A service tier that is not named, "default" among them, costs what the model costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, NamedTuple

from ai_gateway.protocols.conversation import BUCKETS
from ai_gateway.tariff import Price, Rates, Schedule

FALLBACKS = {
    "cache_read": "input",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "reasoning": "output",
    "input_audio": "input",
    "input_image": "input",
    "output_audio": "output",
    "output_image": "output",
}
"""As what a bucket without a price of its own is charged."""

COLUMNS = frozenset((*BUCKETS, "request", "units", "tiers", "service_tiers"))

MICRO = 10**6
PICO = 10**12

MOST = 10**6
"""Dollars of any price. With the decimals that are kept these are 15 digits, and no more does SQLite give back."""

Own = dict[str, int]
"""Pico-dollars a token of the buckets that have a price of their own."""


def read_price(columns: Mapping[str, Any]) -> Price:
    """Read a price as `models.Price.columns()` and `AI_GATEWAY["PRICES"]` write it. Raises ValueError saying what is
    wrong."""
    _check_names(columns, COLUMNS, "A price")
    if not columns:
        raise ValueError("A price says what something costs: write 0 for what is free.")
    standard = _Parts.read(columns, "")
    tiers = _mapping(columns.get("service_tiers", {}), "service_tiers")
    return Price(
        standard=standard.schedule(),
        service_tiers={str(name): _service_tier(str(name), value, standard) for name, value in tiers.items()},
    )


class _Parts(NamedTuple):
    """What a price says of one service tier, scaled."""

    own: Own
    levels: Mapping[int, Own]
    request: int | None
    units: Mapping[str, int]

    @classmethod
    def read(cls, columns: Mapping[str, Any], where: str) -> _Parts:
        request = columns.get("request")
        units = _mapping(columns.get("units", {}), f"{where}units")
        return cls(
            own=_own(columns, where),
            levels=_levels(columns.get("tiers", ()), f"{where}tiers"),
            request=None if request is None else _exact(request, PICO, f"{where}request"),
            units={str(name): _exact(value, PICO, f"{where}units: {name}") for name, value in units.items()},
        )

    def over(self, standard: _Parts) -> _Parts:
        """Lay it over what the model costs otherwise."""
        replaced = {*self.own, *(bucket for level in self.levels.values() for bucket in level)}
        kept = {
            above: {name: rate for name, rate in level.items() if name not in replaced}
            for above, level in standard.levels.items()
        }
        return _Parts(
            own={**standard.own, **self.own},
            levels={above: {**kept.get(above, {}), **self.levels.get(above, {})} for above in {*kept, *self.levels}},
            request=standard.request if self.request is None else self.request,
            units={**standard.units, **self.units},
        )

    def schedule(self, factor: Fraction | None = None) -> Schedule:
        """Fill in what has no price of its own. A bucket keeps its price from one level to the next."""
        levels: list[tuple[int, Rates]] = []
        current = self.own
        for above in sorted(self.levels):
            current = {**current, **self.levels[above]}
            levels.insert(0, (above, _rates(current)))
        return Schedule(
            rates=_rates(self.own), levels=tuple(levels), factor=factor, request=self.request or 0, units=self.units
        )


def _own(columns: Mapping[str, Any], where: str) -> Own:
    return {name: _exact(columns[name], MICRO, f"{where}{name}") for name in BUCKETS if name in columns}


def _levels(value: Any, where: str) -> dict[int, Own]:
    """Read long contexts: the buckets that have another price above a number of tokens."""
    if not isinstance(value, list | tuple):
        raise ValueError(f'{where} must be a list such as [{{"above": 200000, "input": 6, "output": 22.5}}].')
    levels: dict[int, Own] = {}
    for tier in value:
        entry = _mapping(tier, where)
        above = entry.get("above")
        if not isinstance(above, int) or isinstance(above, bool) or above < 0:
            raise ValueError(f'{where}: "above" must be a number of tokens, not {above!r}.')
        if above in levels:
            raise ValueError(f"{where}: there are two above {above}.")
        _check_names(entry, (*BUCKETS, "above"), where)
        levels[above] = _own(entry, f"{where} above {above}: ")
        if not levels[above]:
            raise ValueError(f"{where} above {above}: no price is given.")
    return levels


def _service_tier(name: str, value: Any, standard: _Parts) -> Schedule:
    """Read a service tier: a factor, or prices that replace those of the same buckets, long contexts included."""
    where = f"service_tiers: {name}"
    if not isinstance(value, Mapping):
        return standard.schedule(Fraction(_decimal(value, where)))
    _check_names(value, COLUMNS - {"service_tiers"}, where)
    if not value:
        raise ValueError(f"{where}: write a factor such as 0.5, or prices.")
    return _Parts.read(value, f"{where}: ").over(standard).schedule()


def _rates(own: Own) -> Rates:
    rates = dict(own)
    for name in BUCKETS:  # In this order what another one falls back to is filled in before it.
        rates.setdefault(name, rates.get(FALLBACKS.get(name, ""), 0))
    return tuple(rates[name] for name in BUCKETS)


def _exact(value: Any, scale: int, where: str) -> int:
    """Scale an amount of dollars to an integer, exactly."""
    scaled = _decimal(value, where) * scale
    if scaled != scaled.to_integral_value():
        digits = len(str(scale)) - 1
        raise ValueError(f"{where} has more than {digits} decimals: {value}.")
    return int(scaled)


def _decimal(value: Any, where: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError(f"{where} must be an amount of dollars, not {value!r}.")
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{where} must be an amount of dollars, not {value!r}.") from None
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{where} must be 0 or more dollars, not {value}.")
    if amount > MOST:
        raise ValueError(f"{where} must be at most {MOST:,} dollars, not {value}.")
    return amount


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f'{where} must be a mapping such as {{"name": 0.5}}, not {value!r}.')
    return value


def _check_names(entry: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    unknown = sorted(set(entry) - set(known))
    if unknown:
        raise ValueError(f"{where} has no {unknown[0]!r}. It may have: {', '.join(sorted(known))}.")
