"""Brings prices of a catalogue into the database, as rows that a person can read and that keep their history.

A row is never rewritten: when a price changes the old row ends, and a new one begins, in one transaction. Rows that a
person entered are left alone. Done twice it changes nothing the second time; of two runs at once one waits for the
other, and finds what that has done.

What is brought over is what this site uses: the models that its routes lead to and that were called. A price that
changes with the hour of the day is left to the catalogue, which is asked for each call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from math import inf
from typing import Any, NamedTuple, Protocol

from django.db import router, transaction
from django.db.models import Q
from django.utils import timezone

from ai_gateway.litellm_prices import LiteLLMPrices
from ai_gateway.models import ConfigurationVersion, Price, UsageDaily
from ai_gateway.models.base import stored_at
from ai_gateway.price_catalogue import GenAIPrices
from ai_gateway.pricing import BUCKETS, read_price
from ai_gateway.progress import Watch, unwatched
from ai_gateway.registry import Snapshot

RECENT = timedelta(days=90)
"""For how long a model that was called counts as used."""

SHORTEST = 2 * 86400.0
"""Seconds that a price must hold to become a row: a shorter one changes with the hour of the day."""

Key = tuple[str, str]
"""A provider's alias and its name of a model."""


class Wanted(NamedTuple):
    """A price that should be in force, as columns of a row, and until when, if that is known."""

    columns: Mapping[str, Any]
    until: datetime | None = None


class Source(Protocol):
    """Where prices come from."""

    def find(self, row: str, model: str) -> Wanted | None:
        """Give the price of a model, by its provider's row of the catalogue of providers. None: not known."""

    def models(self, row: str) -> list[str]:
        """Name all models of a provider."""


class Change(NamedTuple):
    """What is to be changed: `old` and `new` are columns, None for a price that was not or will not be there."""

    provider: str
    model: str
    old: Mapping[str, Any] | None
    new: Mapping[str, Any] | None

    @property
    def kind(self) -> str:
        """ "added", "changed" or "removed"."""
        if self.old is None:
            return "added"
        return "removed" if self.new is None else "changed"

    def differences(self) -> dict[str, tuple[Any, Any]]:
        """Give the columns that differ, each with what it was and what it will be."""
        old, new = self.old or {}, self.new or {}
        names = [
            name for name in (*BUCKETS, "request", "units", "tiers", "service_tiers") if name in old or name in new
        ]
        return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}


class CatalogueSource:
    """`genai-prices`, at a moment."""

    def __init__(self, catalogue: GenAIPrices, at: datetime) -> None:
        catalogue.load()
        self._catalogue = catalogue
        self._at = at.timestamp()

    def find(self, row: str, model: str) -> Wanted | None:
        """See Source."""
        listing = self._catalogue.listing(row, model, self._at)
        if listing is None or listing.until - listing.since < SHORTEST:
            return None
        return Wanted(listing.columns, None if listing.until == inf else stored_at(listing.until))

    def models(self, row: str) -> list[str]:
        """See Source."""
        return self._catalogue.models(row)


class FileSource:
    """A file of LiteLLM's."""

    def __init__(self, prices: LiteLLMPrices) -> None:
        self._prices = prices

    def find(self, row: str, model: str) -> Wanted | None:
        """See Source."""
        columns = self._prices.columns(row, model)
        return None if columns is None else Wanted(columns)

    def models(self, row: str) -> list[str]:
        """See Source."""
        return self._prices.models(row)


def used_models(snapshot: Snapshot) -> set[Key]:
    """Name the models that this site's routes lead to, and those that were called lately."""
    targets = {
        (target.provider, target.model) for route in snapshot.routes.values() for target in route if target.model
    }
    since = timezone.now().date() - RECENT
    called = UsageDaily.objects.filter(day__gte=since).exclude(served_model="").order_by()
    return {*targets, *called.values_list("provider", "served_model").distinct()}


def all_models(snapshot: Snapshot, source: Source) -> set[Key]:
    """Name every model of the source, of the providers that are configured."""
    return {(alias, model) for alias, provider in snapshot.configured.items() for model in source.models(provider.row)}


class Sync:
    """Compares what is in force with what should be, and makes it so."""

    def __init__(self, source: Source, snapshot: Snapshot, clock: Callable[[], datetime] = timezone.now) -> None:
        self._source = source
        self._rows = {alias: provider.row for alias, provider in snapshot.providers.items()}
        self._clock = clock
        self._now = clock()

    def run(
        self,
        models: Iterable[Key],
        *,
        provider: str | None = None,
        is_dry: bool = False,
        watch: Watch = unwatched,
    ) -> list[Change]:
        """Synchronise these models, and those that have a synchronised row already. Gives what was, or would be,
        changed, by provider and model."""
        with transaction.atomic(using=router.db_for_write(Price)):
            if not is_dry:
                ConfigurationVersion.hold()
            self._now = self._clock()  # Who had to wait begins after what the other one has begun.
            current = self._newest_in_force(is_dry)
            keys = sorted(key for key in {*current, *models} if key[0] in self._rows and provider in (None, key[0]))
            changes = [self._compare(key, current.get(key), is_dry) for key in watch(keys, "models compared")]
        return [change for change in changes if change is not None]

    def _newest_in_force(self, is_dry: bool) -> dict[Key, Price]:
        """Give the synchronised row that counts, by key. Two runs may have begun one each, before one waited for the
        other: what does not count ends, or it would be in force again when the other one ends."""
        newest: dict[Key, Price] = {}
        for row in self._in_force():
            older = newest.get((row.provider, row.model))
            if older is not None and not is_dry:
                self._end(older)
            newest[row.provider, row.model] = row
        return newest

    def _in_force(self) -> Iterable[Price]:
        """Read the synchronised rows in force, the newest last."""
        rows = Price.objects.filter(source=Price.Source.SYNCED, valid_from__lte=self._now)
        return rows.filter(Q(valid_until=None) | Q(valid_until__gt=self._now)).order_by("valid_from", "pk")

    def _compare(self, key: Key, row: Price | None, is_dry: bool) -> Change | None:
        alias, model = key
        wanted = self._source.find(self._rows[alias], model)
        old = None if row is None else _plain(row.columns())
        new = None if wanted is None else _plain(wanted.columns)
        until = None if wanted is None else wanted.until
        if old == new and (row is None or row.valid_until == until):
            return None
        if not is_dry:
            self._write(key, row, wanted)
        return Change(alias, model, old, new) if old != new else None

    def _write(self, key: Key, row: Price | None, wanted: Wanted | None) -> None:
        if row is not None and wanted is not None and _plain(row.columns()) == _plain(wanted.columns):
            row.valid_until = wanted.until
            row.save(update_fields=["valid_until", "updated_at"])
            return
        if row is not None:
            self._end(row)
        if wanted is not None:
            read_price(wanted.columns)  # Nothing gets in that could not be read again.
            columns = {**wanted.columns, **_jsonable(wanted.columns)}
            Price.objects.create(
                provider=key[0],
                model=key[1],
                valid_from=self._now,
                valid_until=wanted.until,
                source=Price.Source.SYNCED,
                **columns,
            )

    def _end(self, row: Price) -> None:
        if row.valid_from >= self._now:
            row.delete()  # It began at this very moment: no call was ever charged by it.
            return
        row.valid_until = self._now
        row.save(update_fields=["valid_until", "updated_at"])


def _jsonable(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Write the columns that are JSON with numbers that JSON has."""
    return {name: _numbers(columns[name]) for name in ("units", "tiers", "service_tiers") if name in columns}


def _numbers(value: Any) -> Any:
    """Write amounts as the shortest number that reads as the same amount."""
    if isinstance(value, Mapping):
        return {name: _numbers(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_numbers(each) for each in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


def _plain(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Write columns so that they can be compared and printed: amounts are numbers, whatever they are stored as."""
    return {name: _numbers(value) for name, value in columns.items()}
