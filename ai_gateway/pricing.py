"""What did it cost? Every price that is known, and how the one of a call is found.

Rows that people entered, here or in the settings, win over synchronised ones, and those over the catalogue. Among rows
of a kind the most particular wins: one that names the model over one with a `*`, then one that names the provider, then
one for a more exact name of the model (`model_names.py`), then the longer pattern, then the newest. A row counts from
`valid_from` until just before `valid_until`. The built-in echo costs nothing unless a row says otherwise.

What was found is remembered until the next moment at which it could change.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import inf
from typing import NamedTuple, Protocol

import msgspec

from ai_gateway.model_names import names_of
from ai_gateway.price_columns import read_price
from ai_gateway.protocols.conversation import BUCKETS
from ai_gateway.tariff import FREE, Price

MAX_REMEMBERED = 4096
"""Models whose price is remembered. Callers may make up names; when it is full it begins anew."""

FREE_ROWS = frozenset(("echo",))
"""Providers of the catalogue that cost nothing: the gateway answers itself."""


class PriceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A price and what it is for: patterns of a provider's alias and of a model's name, and a span in seconds since
    1970 (None: open)."""

    provider: str
    model: str
    price: Price
    valid_from: float | None = None
    valid_until: float | None = None
    is_synced: bool = False


class Quote(NamedTuple):
    """A price, None if nobody knows one, and the span in which that is the answer, in seconds since 1970."""

    price: Price | None
    since: float = -inf
    until: float = inf


class Catalogue(Protocol):
    """Knows prices that nobody entered."""

    def load(self) -> None:
        """Read what it knows, so that `quote` need not. Takes its time; logs what goes wrong."""

    def quote(self, row: str, model: str, at: float) -> Quote:
        """Give the price of a model, by the name of its provider's row in our catalogue of providers. Waits for nothing
        on an event loop."""


class _Ranked(NamedTuple):
    """A row by how particular it is: the greatest wins."""

    is_entered: bool
    names_model: bool
    names_provider: bool
    exactness: int
    length: int
    valid_from: float
    position: int
    row: PriceRow


class PriceTable:
    """Every price that is known. Immutable but for what it remembers."""

    def __init__(self, rows: Sequence[PriceRow], catalogue: Catalogue | None = None) -> None:
        """Of equal rows the first one wins."""
        self._catalogue = catalogue
        self._named: defaultdict[str, list[tuple[int, PriceRow]]] = defaultdict(list)
        self._patterns: list[tuple[re.Pattern[str], int, PriceRow]] = []
        self._known: dict[tuple[str, str, str], Quote] = {}
        for number, row in enumerate(rows):
            model = row.model.lower()
            if "*" in model:
                self._patterns.append((_pattern(model), -number, row))
            else:
                self._named[model].append((-number, row))

    def of(self, alias: str, row: str, model: str, at: float) -> Price | None:
        """Find what a model costs at a time, by its provider's alias and row of the catalogue. None: nobody knows."""
        key = (alias, row, model)
        known = self._known.get(key)
        if known is not None:
            price, since, until = known
            if since <= at < until:
                return price
        found = self._find(alias, row, model, at)
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[key] = found
        return found.price

    def _find(self, alias: str, row: str, model: str, at: float) -> Quote:
        since, until = -inf, inf
        best: _Ranked | None = None
        for ranked in self._matching(alias, names_of(model)):
            begins, ends = ranked.valid_from, inf if ranked.row.valid_until is None else ranked.row.valid_until
            for moment in (begins, ends):
                if moment <= at:
                    since = max(since, moment)
                else:
                    until = min(until, moment)
            if begins <= at < ends and (best is None or ranked[:-1] > best[:-1]):
                best = ranked
        if best is not None:
            return Quote(best.row.price, since, until)
        if row in FREE_ROWS:
            return Quote(FREE, since, until)
        listed = self._catalogue.quote(row, model, at) if self._catalogue is not None else Quote(None)
        return Quote(listed.price, max(since, listed.since), min(until, listed.until))

    def _matching(self, alias: str, names: Sequence[str]) -> Iterator[_Ranked]:
        alias = alias.lower()
        for exactness, name in enumerate(names):
            for position, row in self._named.get(name, ()):
                if _is_of(row, alias):
                    yield _rank(row, -exactness, position)
        for pattern, position, row in self._patterns:
            if _is_of(row, alias):
                for exactness, name in enumerate(names):
                    if pattern.fullmatch(name):
                        yield _rank(row, -exactness, position)
                        break


def _is_of(row: PriceRow, alias: str) -> bool:
    provider = row.provider.lower()
    return provider in ("*", alias) or ("*" in provider and bool(_pattern(provider).fullmatch(alias)))


def _rank(row: PriceRow, exactness: int, position: int) -> _Ranked:
    return _Ranked(
        is_entered=not row.is_synced,
        names_model="*" not in row.model,
        names_provider="*" not in row.provider,
        exactness=exactness,
        length=len(row.model) + len(row.provider),
        valid_from=-inf if row.valid_from is None else row.valid_from,
        position=position,
        row=row,
    )


def _pattern(text: str) -> re.Pattern[str]:
    """Compile a pattern in which only `*` stands for anything."""
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)


__all__ = ["BUCKETS", "FREE", "Catalogue", "Price", "PriceRow", "PriceTable", "Quote", "read_price"]
