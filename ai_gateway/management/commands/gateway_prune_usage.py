"""`manage.py gateway_prune_usage --older-than 90d`: delete old usage records. What they sum up to is kept."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from datetime import date, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date

from ai_gateway.conf import settings
from ai_gateway.ledger_store import begin_of, database
from ai_gateway.models import UsageLabelDaily, UsageRecord
from ai_gateway.rollups import Days

BATCH = 500
"""Records that one transaction deletes: it is short, so that nobody who writes has to wait."""

PROGRESS = 20
"""Batches between two lines about the progress."""


class Command(BaseCommand):
    """Delete records in batches, the oldest first."""

    help = "Delete the usage records of whole days that are past. The rollups, and so all sums, are kept."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("--older-than", required=True, help="days to keep (90d), or the first day to keep")
        parser.add_argument("--dry-run", action="store_true", help="count the records, and delete none")

    def handle(self, *args: Any, older_than: str, dry_run: bool, **options: Any) -> None:
        """Run the command."""
        zone = Days(settings.TIME_ZONE)
        first = first_kept(older_than, zone.of(timezone.now().timestamp()))
        begin = begin_of(first, zone)
        if dry_run:
            count = old_records(begin).count()
            self.stdout.write(f"{count} records from before {first} would be deleted.")
            return
        deleted = batches = 0
        while count := delete_some(begin):
            deleted += count
            batches += 1
            if batches % PROGRESS == 0 and self.stderr.isatty():
                self.stderr.write(f"\r{deleted} records deleted", ending="")
        if batches >= PROGRESS and self.stderr.isatty():
            self.stderr.write("\r", ending="")
        # Labels name sessions and people, and are many: they go with the records that they are of.
        UsageLabelDaily.objects.using(database()).filter(day__lt=first).delete()
        self.stdout.write(f"{deleted} records from before {first} are deleted.")


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
