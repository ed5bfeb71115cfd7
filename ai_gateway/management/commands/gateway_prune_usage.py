"""`manage.py gateway_prune_usage --older-than 90d`: delete old usage records. What they sum up to is kept.

Recorded bodies go after the days that `BODY_LOGGING` says, and with their records at the latest; with `--recordings`
alone nothing else goes. What happened to breakers goes with the records, beside which it is looked at.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from django.core.management.base import BaseCommand, CommandError
from django.db import router
from django.utils import timezone
from django.utils.dateparse import parse_date

from ai_gateway import recorded
from ai_gateway.conf import settings
from ai_gateway.ledger_store import begin_of, database
from ai_gateway.management.progress import Progress
from ai_gateway.models import BreakerEvent, UsageLabelDaily, UsageRecord
from ai_gateway.rollups import Days

BATCH = 500
"""Records that one transaction deletes: it is short, so that nobody who writes has to wait."""


class Work(NamedTuple):
    """What is deleted: everything of a kind from before the first day that is kept, which begins at a moment.

    `old` gives the rows from before a moment; `delete_some` deletes a batch of them, and gives their number.
    """

    what: str
    first: date
    begin: datetime
    old: Callable[[datetime], Any]
    delete_some: Callable[[datetime], int]


class Command(BaseCommand):
    """Delete records in batches, the oldest first."""

    help = (
        "Delete the usage records of whole days that are past, or recorded bodies. The rollups, so all sums, are kept."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("--older-than", help="days to keep (90d), or the first day to keep")
        parser.add_argument("--recordings", action="store_true", help="delete recorded bodies whose time is over")
        parser.add_argument("--dry-run", action="store_true", help="count the records, and delete none")

    def handle(
        self,
        *args: Any,
        older_than: str | None,
        recordings: bool,
        dry_run: bool,
        verbosity: int,
        **options: Any,
    ) -> None:
        """Run the command."""
        if older_than is None and not recordings:
            raise CommandError("Say what is to go: --older-than 90d, or --recordings.")
        zone = Days(settings.TIME_ZONE)
        today = zone.of(timezone.now().timestamp())
        work = []
        first = first_kept(older_than, today) if older_than is not None else None
        if first is not None:
            begin = begin_of(first, zone)
            work.append(Work("records", first, begin, old_records, delete_some))
            if old_events(begin).exists():
                work.append(Work("breaker events", first, begin, old_events, delete_some_events))
            if not dry_run:
                # Labels name sessions and people, and are many: they go with the records that they are of.
                UsageLabelDaily.objects.using(database()).filter(day__lt=first).delete()
        days = recorded.retention()
        ends = [first] if first is not None else []
        ends += [today - timedelta(days=days)] if days is not None else []
        if ends and recorded.is_any():
            last = max(ends)
            work.append(Work("recorded bodies", last, begin_of(last, zone), recorded.old, recorded.delete_some))
        for each in work:
            self.prune(each, dry_run=dry_run, verbosity=verbosity)

    def prune(self, work: Work, *, dry_run: bool, verbosity: int) -> None:
        """Delete what is from before a day, a batch at a time."""
        total = work.old(work.begin).count()
        if dry_run:
            self.stdout.write(f"{total} {work.what} from before {work.first} would be deleted.")
            return
        deleted = 0
        with Progress(self, f"{work.what} deleted", total, verbosity=verbosity) as progress:
            while count := work.delete_some(work.begin):
                deleted += count
                progress.add(count)
        self.stdout.write(f"{deleted} {work.what} from before {work.first} are deleted.")


def first_kept(text: str, today: date) -> date:
    """Read the first day that is kept. Whole days go, so that each has all of its records or is without. Raises
    CommandError."""
    span = re.fullmatch(r"([0-9]{1,6})d", text)
    try:
        found = today - timedelta(days=min(int(span[1]), today.toordinal() - 1)) if span else parse_date(text)
    except ValueError:
        found = None  # The 31st of February.
    if found is None:
        raise CommandError(f"{text!r} is neither a number of days (90d) nor a date (2030-01-31).")
    if found > today:
        raise CommandError(f"{found} is yet to come: the records of today would go.")
    return found


def old_records(begin: datetime) -> Any:
    """Give the records from before a point in time."""
    return UsageRecord.objects.using(database()).filter(started_at__lt=begin)


def delete_some(begin: datetime) -> int:
    """Delete the oldest records from before a point in time, a batch of them; give their number."""
    ids = list(old_records(begin).order_by("started_at").values_list("pk", flat=True)[:BATCH])
    if not ids:
        return 0
    count: int = UsageRecord.objects.using(database()).filter(pk__in=ids).delete()[0]
    return count


def old_events(begin: datetime) -> Any:
    """Give what happened to breakers before a point in time."""
    return BreakerEvent.objects.using(router.db_for_write(BreakerEvent) or "default").filter(at__lt=begin)


def delete_some_events(begin: datetime) -> int:
    """Delete all of it: there is little."""
    count: int = old_events(begin).delete()[0]
    return count
