"""The counters' rows, and what is done to them: each function is one short transaction.

A charge is taken by one UPDATE that says itself whether there is room, so nothing comes between the look and the
charge, at any level of isolation. Counters are locked in the order of their names and after reservations, by whoever
locks several: nobody waits in a circle. A first statement that writes also keeps SQLite from refusing at once to wait,
which it does to those who have read before.

What is done here may be done again after it failed. Two failures are not the database's last word and are retried:
that others were in the way, and that the connection was lost since it was last used.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, connections, transaction
from django.db.models import F, Q

from ai_gateway.charges import Algorithm, Charges, Counter, State, Verdict
from ai_gateway.limits import gcra
from ai_gateway.models import LimitCounter, Reservation

RATE, QUOTA, CONCURRENCY = Algorithm.RATE, Algorithm.QUOTA, Algorithm.CONCURRENCY

LONGEST_NAME = 255

ATTEMPTS = 8
"""How often a transaction is tried that others are in the way of."""

SLACK = 2 * 3600
"""Seconds for which the counter of a period is kept after it, for the calls that outlive it."""

KEPT = 24 * 3600
"""Seconds for which it is remembered that a reservation expired, and for which an idle counter is kept."""

MANY = 500
"""Rows that are named in one statement."""

NEVER_LATE = 2**63 - 1
"""More than any counter has."""

TAKE_RATE = f"""
    UPDATE {LimitCounter._meta.db_table}
    SET arrival_at = CASE WHEN arrival_at > %s THEN arrival_at ELSE %s END + %s
    WHERE name = %s AND arrival_at <= %s
"""
TAKE = f"""
    UPDATE {LimitCounter._meta.db_table} SET reserved = reserved + %s, arrival_at = %s
    WHERE name = %s AND spent + reserved <= %s
"""
"""What every admission does, in words that all databases have: Django takes longer to write it than they to do it."""

_PLAIN = re.compile(r"[0-9a-z:._/@+-]+")

_IN_THE_WAY = {"40001", "40P01", "55P03", 1020, 1205, 1213}
"""PostgreSQL: serialization failure, deadlock, lock not available. MySQL: a row that has changed since the transaction
began (MariaDB's isolation of snapshots), lock wait timeout, deadlock."""

Result = TypeVar("Result")


class Used(NamedTuple):
    """A reservation that is over, and what was used in its place. For rates, by how much the arrival time is moved."""

    call: str
    counter: str
    algorithm: Algorithm
    amount: int


class Refused(Exception):
    """There is no room for the charge of this place. Takes back what was taken before it."""

    def __init__(self, place: int) -> None:
        self.place = place


def name_of(counter: Counter) -> str:
    """Name a counter's row: how it counts, and the counter's name. With a digest where a database may take two names
    for one, or refuse a name: some ignore case, or accents, or spaces at the end."""
    name = f"{counter.algorithm.value}:{counter.name}"
    if len(name) <= LONGEST_NAME and _PLAIN.fullmatch(name):
        return name
    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    readable = name[:160].replace("\x00", "").encode("ascii", "replace").decode("ascii")
    return f"{readable}~{mark}"


def steadily(using: str, work: Callable[[], Result], *, reconnects: bool = True) -> Result:
    """Do something, and do it again a few times if it fails for no fault of its own. Raises DatabaseError.

    Who loses the connection does not know whether it was done, and may say that it should not be done again.
    """
    for attempt in range(ATTEMPTS):
        try:
            return work()
        except (OperationalError, InterfaceError) as error:
            connection = connections[using]
            was_open = connection.connection is not None
            connection.close_if_unusable_or_obsolete()
            was_lost = was_open and connection.connection is None
            if attempt == ATTEMPTS - 1 or not (is_in_the_way(error) or (reconnects and was_lost and attempt == 0)):
                raise
        time.sleep(random.uniform(0.002, 0.02) * (attempt + 1))
    raise AssertionError("the last attempt returns or raises")


def is_in_the_way(error: DatabaseError | InterfaceError) -> bool:
    """Whether a statement failed only because of others at the same time."""
    cause = error.__cause__
    if isinstance(cause, sqlite3.OperationalError):
        return cause.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
    code = getattr(cause, "sqlstate", None) or (error.args[0] if error.args else None)
    return code in _IN_THE_WAY


def admit(using: str, charges: Charges, now: int, expires_at: int) -> tuple[Verdict, list[int]]:
    """Take all charges, or none. Gives the verdict, and for each charge of a rate the arrival time after it.

    `now` is in microseconds, `expires_at` in seconds since 1970. Raises DatabaseError.
    """
    counters = charges.counters
    names = [name_of(counter) for counter in counters]
    is_swept = False
    for _ in range(ATTEMPTS):
        try:
            rows = _take(using, charges, names, now, expires_at)
        except Refused as refused:
            place = refused.place
        else:
            return Verdict(True, _states(counters, names, rows, now)), [rows[name].arrival_at for name in names]
        rows = _read(using, names)
        if len(rows) < len(set(names)):
            _create(using, [(name, counter) for name, counter in zip(names, counters, strict=True) if name not in rows])
            continue
        if _has_room(counters[place], charges.amounts[place], rows[names[place]], now):
            continue  # Somebody began the counter, or gave something back, between the charge and this look.
        if counters[place].algorithm is CONCURRENCY and not is_swept:
            is_swept = True
            if sweep(using, now, counter=names[place]):
                continue
        break
    wait = _retry_after(counters[place], charges.amounts[place], rows.get(names[place]), now)
    return Verdict(False, _states(counters, names, rows, now), place, wait), []


def _take(using: str, charges: Charges, names: Sequence[str], now: int, expires_at: int) -> Mapping[str, LimitCounter]:
    """Take all charges, or raise Refused."""
    with transaction.atomic(using=using):
        for place in sorted(range(len(names)), key=names.__getitem__):
            if not _take_one(using, names[place], charges.counters[place], charges.amounts[place], now):
                raise Refused(place)
        Reservation.objects.using(using).bulk_create(
            Reservation(call=charges.call, counter=name, amount=amount, expires_at=expires_at)
            for name, counter, amount in zip(names, charges.counters, charges.amounts, strict=True)
            if counter.algorithm is not RATE
        )
        return _read(using, names)


def _take_one(using: str, name: str, counter: Counter, amount: int, now: int) -> bool:
    """Take a charge if there is room for it, in one statement. Not so either if there is no such row yet."""
    if counter.algorithm is RATE:
        latest = NEVER_LATE if counter.is_soft else gcra.latest(counter, amount, now)
        return _execute(using, TAKE_RATE, now, now, gcra.cost(counter, amount), name, latest)
    most = NEVER_LATE if counter.is_soft else counter.ceiling - amount
    return _execute(using, TAKE, amount, now, name, most)


def _execute(using: str, statement: str, *parameters: int | str) -> bool:
    """Whether a statement changed its row."""
    with connections[using].cursor() as cursor:
        cursor.execute(statement, parameters)
        return bool(cursor.rowcount)


def _has_room(counter: Counter, amount: int, row: LimitCounter, now: int) -> bool:
    """Whether so much would be taken of a counter that stands so."""
    if counter.is_soft:
        return True
    if counter.algorithm is RATE:
        return row.arrival_at <= gcra.latest(counter, amount, now)
    return row.spent + row.reserved + amount <= counter.ceiling


def _read(using: str, names: Sequence[str]) -> Mapping[str, LimitCounter]:
    return {row.name: row for row in LimitCounter.objects.using(using).filter(name__in=names)}


def _create(using: str, missing: Sequence[tuple[str, Counter]]) -> None:
    """Begin counters, those that nobody else begins at the same moment."""
    LimitCounter.objects.using(using).bulk_create(
        [LimitCounter(name=name, ends_at=math.ceil(counter.ends_at)) for name, counter in missing],
        ignore_conflicts=True,
    )


def states(using: str, counters: Sequence[Counter], now: int) -> list[State]:
    """Tell where counters stand. Raises DatabaseError."""
    names = [name_of(counter) for counter in counters]
    return _states(counters, names, _read(using, names), now)


def _states(
    counters: Sequence[Counter], names: Sequence[str], rows: Mapping[str, LimitCounter], now: int
) -> list[State]:
    return [_state(counter, rows.get(name), now) for counter, name in zip(counters, names, strict=True)]


def _state(counter: Counter, row: LimitCounter | None, now: int) -> State:
    row = row or LimitCounter()
    if counter.algorithm is RATE:
        return gcra.state(counter, row.arrival_at, now)
    used = row.spent + row.reserved
    resets_in = max(0.0, counter.ends_at - now / gcra.MICROSECONDS) if counter.ends_at else 0.0
    return State(used, max(0, counter.ceiling - used), resets_in)


def _retry_after(counter: Counter, amount: int, row: LimitCounter | None, now: int) -> float | None:
    if counter.algorithm is RATE:
        return gcra.retry_after(counter, amount, row.arrival_at if row is not None else 0, now)
    return max(0.0, counter.ends_at - now / gcra.MICROSECONDS) if counter.ends_at else None


def settle(using: str, batch: Iterable[Used]) -> None:
    """Put what was used in place of what was reserved: once, whatever is tried again. Raises DatabaseError."""
    used = {(each.call, each.counter): each for each in batch if each.algorithm is not RATE}
    with transaction.atomic(using=using):
        changes = _Changes()
        for each in batch:
            if each.algorithm is RATE:
                changes.arrival[each.counter] += each.amount
        held = _lock(using, Q(call__in={call for call, _ in used}) if used else None)
        found = [row for row in held if (row.call.hex, row.counter) in used]
        for row in found:
            changes.add(row, used[row.call.hex, row.counter].amount)
        changes.apply(using)
        _delete(using, found)


def renew(using: str, calls: Sequence[str], expires_at: int) -> None:
    """Keep the reservations of living calls from expiring. Raises DatabaseError."""
    for start in range(0, len(calls), MANY):
        rows = Reservation.objects.using(using).filter(call__in=calls[start : start + MANY], is_open=True)
        rows.update(expires_at=expires_at)


def sweep(using: str, now: int, counter: str | None = None) -> int:
    """Take the reservations of the dead, of one counter or at most MANY of all, for spent as they were reserved. Gives
    their number. Raises DatabaseError."""
    due = Q(is_open=True, expires_at__lt=now // gcra.MICROSECONDS)
    if counter is not None:
        due &= Q(counter=counter)
    keys = list(Reservation.objects.using(using).filter(due).values_list("pk", flat=True)[:MANY])
    if not keys:
        return 0
    with transaction.atomic(using=using):
        rows = _lock(using, due & Q(pk__in=keys))
        changes = _Changes()
        for row in rows:
            changes.add(row, row.amount)
        changes.apply(using)
        Reservation.objects.using(using).filter(pk__in=[row.pk for row in rows]).update(is_open=False)
    return len(rows)


def prune(using: str, now: int) -> None:
    """Delete counters that nobody will ask for, or that say what a new one would, and old memories of what expired,
    some of each. Raises DatabaseError."""
    seconds = now // gcra.MICROSECONDS
    is_over = Q(ends_at__gt=0, ends_at__lt=seconds - SLACK)
    is_idle = Q(ends_at=0, spent=0, arrival_at__lt=now - KEPT * gcra.MICROSECONDS)
    useless = Q(reserved=0) & (is_over | is_idle)
    counters = LimitCounter.objects.using(using)
    for key in counters.filter(useless).values_list("pk", flat=True)[:MANY]:
        counters.filter(useless, pk=key).delete()  # One by one, for nobody knows in which order many are locked.
    old = Reservation.objects.using(using).filter(is_open=False, expires_at__lt=seconds - KEPT)
    _delete(using, list(old.only("pk")[:MANY]))


def _lock(using: str, which: Q | None) -> list[Reservation]:
    """Lock reservations by writing them as they are, which every database understands, and read them."""
    if which is None:
        return []
    rows = Reservation.objects.using(using).filter(which)
    return list(rows) if rows.update(is_open=F("is_open")) else []


def _delete(using: str, rows: Sequence[Reservation]) -> None:
    for start in range(0, len(rows), MANY):
        keys = [row.pk for row in rows[start : start + MANY]]
        Reservation.objects.using(using).filter(pk__in=keys).delete()


class _Changes:
    """What a transaction does to counters, summed up."""

    def __init__(self) -> None:
        self.arrival: defaultdict[str, int] = defaultdict(int)
        self.spent: defaultdict[str, int] = defaultdict(int)
        self.reserved: defaultdict[str, int] = defaultdict(int)

    def add(self, row: Reservation, used: int) -> None:
        """Put what was used in place of a reservation. What had expired counts as spent, or as over."""
        if row.is_open:
            self.reserved[row.counter] -= row.amount
        if row.counter.startswith(f"{QUOTA.value}:"):
            self.spent[row.counter] += used if row.is_open else used - row.amount

    def apply(self, using: str) -> None:
        """Write it, in the order of the counters' names."""
        for name in sorted({*self.arrival, *self.spent, *self.reserved}):
            changes: dict[str, Any] = {
                column: F(column) + change[name]
                for column, change in (
                    ("arrival_at", self.arrival),
                    ("spent", self.spent),
                    ("reserved", self.reserved),
                )
                if change.get(name)
            }
            if changes:
                LimitCounter.objects.using(using).filter(name=name).update(**changes)
