"""`manage.py gateway_alerts`: what people were alerted to, and whether alerts arrive."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ai_gateway import alerts
from ai_gateway.models import Alert


class Command(BaseCommand):
    """List what goes on, or send a test."""

    help = "List what people were alerted to and is not over yet; with --test send an alert about nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments."""
        parser.add_argument("--test", action="store_true", help="Send one by every channel, and say what came of it.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the command."""
        if options["test"]:
            self._test()
            return
        rows = Alert.objects.filter(resolved_at=None).order_by("-last_at")[:100]
        for row in rows:
            undelivered = f" NOT DELIVERED: {row.problem}" if row.problem else ""
            self.stdout.write(f"{row.last_at:%Y-%m-%d %H:%M} {row.kind} x{row.count}: {row.text}{undelivered}")
        if not rows:
            self.stdout.write("Nothing to tell.")

    def _test(self) -> None:
        names = [channel.name for channel in alerts.channels()]
        if not names:
            raise CommandError('Nobody is to be alerted. Write for example: "ALERTS": {"email": ["ops@example.com"]}')
        problems = alerts.test()
        if problems:
            raise CommandError("It did not arrive.\n" + "\n".join(problems))
        self.stdout.write(f"It was taken by: {', '.join(names)}.")
