"""`manage.py gateway_reconcile_usage`: are the rollups the sum of the records?"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_date

from ai_gateway import reconciliation
from ai_gateway.conf import settings
from ai_gateway.management.progress import Progress
from ai_gateway.reconciliation import Busy, Drift, Pruned
from ai_gateway.rollups import WHO, Days


class Command(BaseCommand):
    """Compare every day that has records, and print each column that differs."""

    help = "Recompute the rollups from the records. Prints what differs, and exits with 1 if it was not put right."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("--since", help="the first day, for example 2030-01-31; default: the oldest with records")
        parser.add_argument("--fix", action="store_true", help="put right what differs; safe while calls are served")

    def handle(self, *args: Any, since: str | None, fix: bool, verbosity: int, **options: Any) -> None:
        """Run the command."""
        first = read_day(since) if since else None
        zone = Days(settings.TIME_ZONE)
        days = reconciliation.days_with_records(zone, first)
        compare = reconciliation.fix if fix else reconciliation.drifts
        wrong = busy = pruned = 0
        with Progress(self, verbosity=verbosity) as progress:
            for day in progress.over(days, "days compared"):
                try:
                    found = compare(day, zone)
                except Pruned:
                    pruned += 1
                    progress.hide()
                    self.stderr.write(f"{day} is left out: some of its records are pruned.")
                    continue
                except Busy as error:
                    busy += 1
                    progress.hide()
                    self.stderr.write(self.style.ERROR(f"{error}. Try again."))
                    continue
                wrong += len(found)
                if found:
                    progress.hide()
                for drift in found:
                    self.report(drift)
        state = "put right" if fix else "wrong"
        self.stdout.write(f"Days compared: {len(days) - busy - pruned}. Rows of rollups that were {state}: {wrong}.")
        if busy or (wrong and not fix):
            sys.exit(1)

    def report(self, drift: Drift) -> None:
        """Print a row that is wrong."""
        who = " ".join(f"{name}={value}" for name, value in zip(WHO, drift.who, strict=True) if value not in ("", None))
        for column, written, found in drift.columns():
            self.stdout.write(f"{drift.day}  {who}  {column}: {written} -> {found}")


def read_day(text: str) -> date:
    """Read a day. Raises CommandError."""
    try:
        found = parse_date(text)
    except ValueError:
        found = None  # The 31st of February.
    if found is None:
        raise CommandError(f"{text!r} is not a date (2030-01-31).")
    return found
