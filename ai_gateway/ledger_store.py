"""Writes finished calls into the database: a batch in one transaction, its records and what they add to their days.

A record is inserted or it is not; only what was inserted is added to the rollups, in the same transaction. So a batch
may come again, from the journal or from two processes at once, without being counted twice: the primary key decides,
and a batch that meets known ids is rolled back and written again without them.

No model instance is made and no SQL is compiled for a batch: this is the larger part of what a call costs after its
end. The statement and the conversions are worked out once for a connection.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from operator import attrgetter
from pathlib import PurePath
from typing import Any

import msgspec
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import (
    DatabaseError,
    Error,
    IntegrityError,
    OperationalError,
    connections,
    router,
    transaction,
)

from ai_gateway import labels, ledger_salvage
from ai_gateway.bulk_insert import NO_CONSTANTS, conversion, inserter
from ai_gateway.conf import settings
from ai_gateway.ids import new_id
from ai_gateway.ledger_writer import Refused, Unavailable
from ai_gateway.meter import NOT_COLUMNS, Entry
from ai_gateway.models import UsageDaily, UsageRecord
from ai_gateway.models.base import as_stored
from ai_gateway.rollup_store import LABELS, adder
from ai_gateway.rollups import Days, roll_up, row_of

MYSQL_BUSY = frozenset((1020, 1205, 1213))
"""What MySQL says when others were in the way: a row has changed, a lock was waited for too long, a deadlock."""

MYSQL_CLIENT = range(2000, 3000)
"""What MySQL's client says by itself: the server cannot be reached, or is gone."""

TRIES = 3
"""How often a batch is tried: its ids may be known, and another process may write some of them at the same time."""

BAD_VALUE = (ValidationError, ValueError, TypeError, OverflowError)
"""What is raised because of a row before the database is asked."""

bound = labels.Bound()
"""Of this process."""

FIELDS: tuple[str, ...] = Entry.__struct_fields__[: -len(NOT_COLUMNS)]

RARE = frozenset(
    (
        *("error_code", "group_id", "project", "organization", "end_user", "experiment", "session", "agent"),
        *(
            "tags",
            "metadata",
            "variant",
            "is_mirror",
            "trail",
            "queued_ms",
            "cache_write_tokens",
            "cache_write_1h_tokens",
        ),
        *("input_audio_tokens", "input_image_tokens", "output_audio_tokens", "output_image_tokens", "units"),
        *("service_tier", "trace_id", "saved_nanos"),
    )
)
"""Columns that most calls leave as they are: nearly half of all."""

NOTHING_RARE = {field.name: field.default for field in msgspec.structs.fields(Entry) if field.name in RARE}
"""What they are then."""

COLUMNS = {field.attname: field for field in UsageRecord._meta.concrete_fields}


def database() -> str:
    """Name the database that usage is written to."""
    return router.db_for_write(UsageRecord) or "default"


def begin_of(day: date, zone: Days) -> datetime:
    """Tell when a day begins, as the database is asked for it."""
    return as_stored(zone.begin(day))


def has_database() -> bool:
    """Whether this site has a database at all."""
    return connections[database()].vendor != "unknown"


def mark() -> str:
    """Mark the database that usage is written to, by its name and what it is. Where it is served may change, and a file
    of SQLite's may be moved with its folder."""
    connection = connections[database()]
    name = str(connection.settings_dict.get("NAME", ""))
    name = name if "://" in name or ":" in name else PurePath(name).name
    return hashlib.sha256(f"{connection.vendor} {name}".encode()).hexdigest()[:8] if name else ""


salvage = ledger_salvage.versions
"""Gives what may be taken in place of an entry that is refused."""


def release() -> None:
    """Give the connections of this thread back."""
    connections.close_all()


def write(entries: Sequence[Entry], *, may_be_known: bool = False) -> Sequence[Entry]:
    """Write entries that are not written yet, and give those. `may_be_known` says that some of them may well be.

    Raises Refused if the database does not take one of them, Unavailable if it takes none at the moment: it does not
    answer, is not migrated, or may only be read. Then nothing of them is written.
    """
    alias = database()
    try:
        plan = plan_of(alias)
        for _ in range(TRIES - 1):
            fresh = _without_known(entries, alias) if may_be_known else entries
            try:
                _insert(fresh, plan, alias)
                return fresh
            except IntegrityError:
                may_be_known = True
        fresh = _without_known(entries, alias)
        _insert(fresh, plan, alias)
        return fresh
    except (Error, ImproperlyConfigured, *BAD_VALUE) as error:
        raise _judge(error, alias) from error


def _judge(error: Exception, alias: str) -> Refused | Unavailable:
    """Tell whether an error is the fault of the rows, or of the database.

    Errors are too coarse to tell it: a server that may only be read, a missing column and a missing right look like bad
    rows. What is taken for those is put aside for good, so the database must take a plain row first.
    """
    is_rows = _may_be_of_rows(error) and _takes_plain_row(alias)
    return Refused(str(error)) if is_rows else Unavailable(str(error))


def _may_be_of_rows(error: Exception) -> bool:
    """Whether an error may be about a value. What MySQL's driver has no class for is an operational failure to it: a
    character that the table's encoding does not have, an id that is none. Those have the server's numbers."""
    if isinstance(error, OperationalError):
        number = error.args[0] if error.args else None
        return isinstance(number, int) and number not in MYSQL_BUSY and number not in MYSQL_CLIENT
    return isinstance(error, (DatabaseError, *BAD_VALUE))


def _takes_plain_row(alias: str) -> bool:
    """Whether a row could be written that nothing is wrong with, and that goes into every table. It is taken back
    again."""
    plain = Entry(id=new_id(), request_id="", started_at=time.time(), outcome="answered", session="plain")
    try:
        with transaction.atomic(using=alias):
            _insert([plain], plan_of(alias), alias)
            transaction.set_rollback(True, using=alias)
    except (Error, ImproperlyConfigured, *BAD_VALUE):
        return False
    return True


def _without_known(entries: Sequence[Entry], alias: str) -> list[Entry]:
    """Leave out what is written already, and what is there twice."""
    ids = {entry.id: entry for entry in entries}
    records = UsageRecord.objects.using(alias).filter(pk__in=list(ids))
    for known in records.values_list("pk", flat=True):
        ids.pop(known.hex, None)
    return list(ids.values())


def uncertain(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Give those of some entries that may have been written, although no record of them is there: records were pruned
    since, or are being pruned. Raises Unavailable."""
    alias = database()
    zone = Days(settings.TIME_ZONE)
    try:
        oldest = UsageRecord.objects.using(alias).order_by("started_at").values_list("started_at", flat=True).first()
        first_kept = date.max if oldest is None else zone.of(oldest.timestamp())
        days = {entry.id: _day_of(entry, zone) for entry in entries}
        found = [entry for entry in entries if days[entry.id] == first_kept != date.max]
        if found:
            found = _without_known(found, alias) if has_lost_records(first_kept, zone) else []
        old = [entry for entry in entries if days[entry.id] < first_kept]
        if old:
            pruned = UsageDaily.objects.using(alias).filter(day__lt=first_kept).order_by("-day")
            last_pruned = pruned.values_list("day", flat=True).first()
            found += [entry for entry in old if last_pruned is not None and days[entry.id] <= last_pruned]
    except (Error, ImproperlyConfigured) as error:
        raise Unavailable(str(error)) from error
    return found


def has_lost_records(day: date, zone: Days) -> bool:
    """Whether the rollups of a day count more than it has records: it is being pruned, or that was interrupted."""
    # In this order: what is written in between makes no day look pruned.
    counted = sum(UsageDaily.objects.using(database()).filter(day=day).values_list("requests", flat=True))
    return bool(counted > records_of(day, zone).count())


def records_of(day: date, zone: Days) -> Any:
    """Give the records of a day."""
    span = {"started_at__gte": begin_of(day, zone), "started_at__lt": begin_of(day + timedelta(days=1), zone)}
    return UsageRecord.objects.using(database()).filter(**span).order_by()


def _day_of(entry: Entry, zone: Days) -> date:
    """Tell the day of an entry. One of a clock that was beside itself has none: the database refuses it later."""
    try:
        return zone.of(entry.started_at)
    except (ValueError, OverflowError, OSError):
        return date.max


def _insert(entries: Sequence[Entry], plan: Plan, alias: str) -> None:
    if not entries:
        return
    with transaction.atomic(using=alias):
        plan.insert(entries)
        # Last, so that rows which many processes want to change are locked for as short as can be.
        plan.add(roll_up(map(row_of, entries), plan.days))
        if labelled := labels.roll_up(entries, plan.days, bound):
            plan.add_labels(labelled)


class Plan:
    """How entries are written over one connection."""

    def __init__(self, alias: str) -> None:
        self.days = Days(settings.TIME_ZONE)
        self.add = adder(alias)
        self.add_labels = adder(alias, LABELS)
        self.insert = as_json(alias) if connections[alias].vendor == "postgresql" else as_rows(alias)


Insert = Callable[[Sequence[Entry]], None]
"""Inserts entries."""


def as_rows(alias: str) -> Insert:
    """Give what inserts entries as rows of parameters, into any database.

    Every parameter is converted and bound. So of an entry with nothing rare only the others are, and what is rare
    stands in the statement: such a row costs two thirds.
    """
    whole, plain = _Rows(alias, FIELDS), _Rows(alias, [name for name in FIELDS if name not in RARE], NOTHING_RARE)
    rare_of, nothing_rare = attrgetter(*NOTHING_RARE), tuple(NOTHING_RARE.values())

    def insert(entries: Sequence[Entry]) -> None:
        found: tuple[list[Entry], list[Entry]] = [], []
        for entry in entries:
            found[rare_of(entry) == nothing_rare].append(entry)
        for rows, members in zip((whole, plain), found, strict=True):
            if members:
                rows.insert(members)

    return insert


class _Rows:
    """Inserts entries with parameters for these fields, and constants for some others."""

    def __init__(self, alias: str, names: Sequence[str], constants: Mapping[str, Any] = NO_CONSTANTS) -> None:
        self._insert = inserter(UsageRecord, names, alias, constants)
        self._values = attrgetter(*names)
        conversions = (conversion(COLUMNS[name], alias) for name in names)
        self._conversions = [(place, convert) for place, convert in enumerate(conversions) if convert is not None]

    def insert(self, entries: Sequence[Entry]) -> None:
        """Insert entries."""
        self._insert([self._of(entry) for entry in entries])

    def _of(self, entry: Entry) -> list[Any]:
        """Give the parameters of an entry."""
        row = list(self._values(entry))
        for place, convert in self._conversions:
            if row[place] is not None:
                row[place] = convert(row[place])
        return row


def as_json(alias: str) -> Insert:
    """Give what inserts entries as one value of JSON, which PostgreSQL takes apart itself: its drivers would spend many
    times as long on the parameters of a batch, of which there are 25 000."""
    connection = connections[alias]
    quote = connection.ops.quote_name
    columns = {name: quote(str(COLUMNS[name].column)) for name in FIELDS}
    types = {name: COLUMNS[name].db_type(connection) for name in FIELDS} | {"started_at": "double precision"}
    found = {name: quote(name) for name in FIELDS} | {"started_at": f"to_timestamp({quote('started_at')})"}
    sql = (
        f"INSERT INTO {quote(UsageRecord._meta.db_table)} ({', '.join(columns.values())}) "
        f"SELECT {', '.join(found.values())} "
        f"FROM json_to_recordset(%s::json) AS entry({', '.join(f'{quote(name)} {types[name]}' for name in FIELDS)})"
    )

    def insert(entries: Sequence[Entry]) -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute(sql, [msgspec.json.encode(entries).decode()])

    return insert


class _Plans(threading.local):
    """The plans of a thread: conversions may ask the connection, and that belongs to its thread."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], Plan] = {}


_plans = _Plans()


def plan_of(alias: str) -> Plan:
    """Give the plan of this thread for a database, made when it is first asked for."""
    key = alias, settings.TIME_ZONE
    found = _plans.known.get(key)
    if found is None:
        found = _plans.known[key] = Plan(alias)
    return found
