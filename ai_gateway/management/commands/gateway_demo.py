"""`manage.py gateway_demo`: fill the database with weeks of made-up calls, to look at; `--remove` takes them away."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ai_gateway import ledger_store
from ai_gateway.conf import settings
from ai_gateway.crypto import CryptoError
from ai_gateway.demo import stage
from ai_gateway.demo.calls import Calls, Holder, incidents, outage
from ai_gateway.demo.hours import hours
from ai_gateway.ledger_writer import Refused, Unavailable
from ai_gateway.management.progress import Progress

BATCH = 1000
"""Calls that one transaction writes."""


class Command(BaseCommand):
    """Set the demo up, or remove it."""

    help = (
        "Fill the database with people, keys, providers, routes, prices, limits and calls that are made up, to look at "
        "and to measure with. All of it is marked, calls nobody, and goes with --remove."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("--days", type=int, default=30, help="how far back the calls reach, default: 30")
        parser.add_argument("--calls", type=int, default=20_000, help="how many there are, default: 20000")
        parser.add_argument("--seed", type=int, default=7, help="the same seed makes the same calls, default: 7")
        parser.add_argument("--force", action="store_true", help="although real calls are written down here")
        parser.add_argument("--remove", action="store_true", help="take all of it away again, and nothing else")

    def handle(self, *args: Any, remove: bool, **options: Any) -> None:
        """Run the command."""
        if remove:
            self.remove(options["verbosity"])
        else:
            self.set_up(**options)

    def set_up(self, *, days: int, calls: int, seed: int, force: bool, verbosity: int, **options: Any) -> None:
        """Put the demo into the database."""
        if days < 1 or calls < 1:
            raise CommandError("--days and --calls are numbers, 1 or more.")
        check(force=force)
        now = timezone.now()
        if timezone.is_naive(now):
            now = timezone.make_aware(now)
        try:
            holders = stage.set_up(now - timedelta(days=days))
        except CryptoError as error:
            raise CommandError(str(error)) from error
        try:
            with Progress(self, "calls written", calls, verbosity=verbosity) as progress:
                write(holders, days=days, calls=calls, seed=seed, now=now, progress=progress)
        except (Unavailable, Refused) as error:
            raise CommandError(f"The database does not take it: {error}. --remove takes away what is there.") from error
        stage.write_down(incidents(outage(now, ZoneInfo(settings.TIME_ZONE)), Random(seed)), now.timestamp())
        stage.set_limits(now)
        if verbosity:
            self.stdout.write(f"{calls:,} calls of {days} days are made up. `gateway_demo --remove` takes them away.")

    def remove(self, verbosity: int) -> None:
        """Take the demo away."""
        removed = 0
        with Progress(self, "records deleted", stage.count_records(), verbosity=verbosity) as progress:
            for count in stage.remove_usage():
                removed += count
                progress.add(count)
        stage.remove_the_rest()
        if verbosity:
            self.stdout.write(f"The demo is gone, with {removed:,} records.")


def check(*, force: bool) -> None:
    """See that the demo takes nobody's name and is not taken for what is real. Raises CommandError."""
    if stage.is_set():
        raise CommandError("The demo is there already. `gateway_demo --remove` takes it away.")
    taken = stage.taken()
    if taken:
        raise CommandError(f"There is something by the name of {taken[0]} already, which is not the demo's.")
    if not force and stage.has_usage():
        raise CommandError("Real calls are written down here, and sums would be wrong. --force does it all the same.")


def write(holders: Sequence[Holder], *, days: int, calls: int, seed: int, now: datetime, progress: Progress) -> None:
    """Make calls up and write them as the ledger does. Nobody is told of them. Raises Unavailable and Refused."""
    zone = ZoneInfo(settings.TIME_ZONE)
    keys = [holder.key for holder in holders]
    made = Calls(holders, Random(seed), outage(now, zone), now.timestamp()).of(
        hours(keys, days=days, calls=calls, now=now, zone=zone)
    )
    while batch := list(islice(made, BATCH)):
        ledger_store.write(batch)
        progress.add(len(batch))
