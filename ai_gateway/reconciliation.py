"""Compares the rollups of a day with its records, and puts right what differs.

Both are written in one transaction, so they can only differ if somebody else had a hand in it. A day is compared while
others write to it: its rollups are read before and after its records, and if they were changed in between, it is read
again. They are put right under the condition that they still are what they were.

Only what can be known is compared. Records are pruned by whole days, the oldest first: the oldest day that has any is
pruned, or is being pruned, if its rollups count more calls than it has records. That is asked after its records were
read, so that nobody who prunes meanwhile makes the sums of what is left look right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.db import IntegrityError, transaction

from ai_gateway.ledger_store import begin_of, database, has_lost_records, records_of
from ai_gateway.models import UsageDaily, UsageRecord
from ai_gateway.rollups import COLUMNS, MEASURES, WHO, Days, Rollup, roll_up

TRIES = 20
"""How often a day is read again because somebody writes to it."""

CHUNK = 2000
"""Records that are held at a time."""

Sums = tuple[int, ...]

NOTHING: Sums = (0,) * len(MEASURES)


class Busy(Exception):
    """A day is written to all the time."""


class Pruned(Exception):
    """A day has not all of its records any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A row of `UsageDaily` that is not the sum of its records."""

    day: date
    slot: str
    who: tuple[Any, ...]
    written: Sums | None
    """What it says; None if there is no such row."""
    found: Sums
    """What the records say."""

    def columns(self) -> Iterator[tuple[str, int, int]]:
        """Give each column that differs, with what it says and what it should say."""
        for name, written, found in zip(MEASURES, self.written or NOTHING, self.found, strict=True):
            if written != found:
                yield name, written, found


def days_with_records(zone: Days, since: date | None = None) -> list[date]:
    """Give the days that have records, the oldest first."""
    records = UsageRecord.objects.using(database()).order_by("started_at").values_list("started_at", flat=True)
    if since is not None:
        records = records.filter(started_at__gte=begin_of(since, zone))
    found: list[date] = []
    moment = records.first()
    while moment is not None:
        found.append(zone.of(moment.timestamp()))
        moment = records.filter(started_at__gte=begin_of(found[-1] + timedelta(days=1), zone)).first()
    return found


def drifts(day: date, zone: Days) -> list[Drift]:
    """Compare a day. Raises Busy and Pruned."""
    for _ in range(TRIES):
        before = _rollups_of(day)
        found = _sums_of_records(day, zone)
        if _rollups_of(day) == before:
            break
    else:
        raise Busy(f"{day} is written to all the time")
    wrong = list(_differences(day, before, found))
    if wrong and _is_pruned(day, zone):
        raise Pruned(f"{day} has not all of its records any more")
    return wrong


def _is_pruned(day: date, zone: Days) -> bool:
    """Whether a day has no older one with records, and fewer of them than its rollups count."""
    records = UsageRecord.objects.using(database())
    if records.filter(started_at__lt=begin_of(day, zone)).exists():
        return False
    return has_lost_records(day, zone)


def fix(day: date, zone: Days) -> list[Drift]:
    """Put a day right; give what was wrong. Raises Busy and Pruned."""
    fixed: list[Drift] = []
    for _ in range(TRIES):
        wrong = drifts(day, zone)
        done = [drift for drift in wrong if _fix(drift)]
        fixed += done
        if len(done) == len(wrong):
            return fixed
    raise Busy(f"{day} is written to all the time")


def _sums_of_records(day: date, zone: Days) -> dict[str, Rollup]:
    rows = records_of(day, zone).values_list(*COLUMNS).iterator(chunk_size=CHUNK)
    return {rollup.slot: rollup for rollup in roll_up(rows, zone)}


def _rollups_of(day: date) -> dict[str, Rollup]:
    rows = UsageDaily.objects.using(database()).filter(day=day).order_by().values_list("slot", *WHO, *MEASURES)
    end = 1 + len(WHO)
    return {row[0]: Rollup(day, row[0], row[1:end], row[end:]) for row in rows}


def _differences(day: date, written: dict[str, Rollup], found: dict[str, Rollup]) -> Iterator[Drift]:
    for slot in sorted(written.keys() | found.keys()):
        old, new = written.get(slot), found.get(slot)
        sums, was = new.sums if new else NOTHING, old.sums if old else None
        if sums != was:
            who = (old or found[slot]).who
            yield Drift(day=day, slot=slot, who=who, written=was, found=sums)


def _fix(drift: Drift) -> bool:
    """Put a row right if it still is what it was; tell whether it was."""
    rows = UsageDaily.objects.using(database())
    found = dict(zip(MEASURES, drift.found, strict=True))
    if drift.written is None:
        try:
            with transaction.atomic(using=database()):
                rows.create(day=drift.day, slot=drift.slot, **dict(zip(WHO, drift.who, strict=True)), **found)
        except IntegrityError:
            return False
        return True
    row = rows.filter(day=drift.day, slot=drift.slot, **dict(zip(MEASURES, drift.written, strict=True)))
    return bool(row.delete()[0]) if drift.found == NOTHING else bool(row.update(**found))
