"""`manage.py gateway_usage`: what was used, in sums (`report`) and call by call (`export`)."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ai_gateway import exports, reports
from ai_gateway.conf import settings
from ai_gateway.crypto import public_id_of
from ai_gateway.management.commands.gateway_key import find_group, find_user
from ai_gateway.management.progress import Progress
from ai_gateway.models import UsageDaily, UsageRecord, VirtualKey
from ai_gateway.models.usage_queries import beginning
from ai_gateway.timespans import EXAMPLES, Span, read_moment

FILTERS = {
    "key": "a key: the public id of a virtual one, or the name of one of the settings",
    "user": "a user, by name",
    "group": "a group, by name",
    "provider": "a provider, by its alias",
    "model": "a model, as its provider calls it, or provider/model",
    "route": "a route",
}


class Command(BaseCommand):
    """Report and export what was used."""

    help = "Report what was used, or export the single calls. Days begin in the time zone of accounting."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add an action each for report and export."""
        actions = parser.add_subparsers(dest="action", required=True)
        report = actions.add_parser("report", help="print sums")
        report.add_argument("--by", choices=list(reports.BY), default="model", help="default: model")
        report.add_argument("--format", choices=["table", "csv", "json"], default="table", help="default: table")
        report.add_argument("--top", type=int, metavar="N", help="the first N rows; the total is that of all")
        export = actions.add_parser("export", help="print single calls, the oldest first")
        export.add_argument("--format", choices=list(exports.FORMATS), default="csv", help="default: csv")
        for each in (report, export):
            each.add_argument("--since", default="30d", help=f"default: 30d, today included; or {EXAMPLES}")
            each.add_argument("--until", help="until just before that, written alike; default: now")
            for name, what in FILTERS.items():
                each.add_argument(f"--{name}", help=f"only of {what}")

    def handle(self, *args: Any, action: str, since: str, until: str | None, **options: Any) -> None:
        """Run the action."""
        try:
            span = Span(
                read_moment(since, settings.TIME_ZONE), read_moment(until, settings.TIME_ZONE) if until else None
            )
        except ValueError as error:
            raise CommandError(f"{error}.") from error
        check_span(span)
        filters = [(f"by_{name}", self.find(name, options[name])) for name in FILTERS if options[name]]
        run: Any = {"report": self.report, "export": self.export}[action]
        run(span, filters, **options)

    def report(self, span: Span, filters: Any, *, by: str, format: str, top: int | None, **options: Any) -> None:
        """Print sums."""
        if top is not None and top < 1:
            raise CommandError("--top is a number of rows, 1 or more.")
        report = reports.make_report(by, span, filters, top)
        if format == "csv":
            self.stdout.write(reports.as_csv(report))
        elif format == "json":
            self.stdout.write(reports.as_json(report, settings.TIME_ZONE))
        else:
            until = f" until {span.until}" if span.until else ""
            self.stdout.write(f"Since {span.since}{until}, {settings.TIME_ZONE}\n\n{reports.as_table(report)}")

    def export(self, span: Span, filters: Any, *, format: str, verbosity: int, **options: Any) -> None:
        """Print single calls."""
        rows = UsageRecord.objects.between(*span)
        for method, value in filters:
            rows = getattr(rows, method)(value)
        # On a terminal that shows the calls, a bar would only be in their way.
        quiet = 0 if self.stdout.isatty() else verbosity
        with Progress(self, "calls written", rows.count, verbosity=quiet) as progress:
            for piece in exports.stream(rows, format, progress.add):
                self.stdout.write(piece, ending="")

    def find(self, name: str, text: str) -> Any:
        """Find what an option names. Raises CommandError."""
        if name == "user":
            return find_user(text)
        if name == "group":
            return find_group(text)
        if name == "key":
            return find_spender(text)
        return text


def check_span(span: Span) -> None:
    """Raise CommandError for a span that ends before it begins."""
    if span.since is None or span.until is None:
        return
    if beginning(span.until, settings.TIME_ZONE) <= beginning(span.since, settings.TIME_ZONE):
        raise CommandError(f"--until {span.until} is not after --since {span.since}.")


def find_spender(text: str) -> VirtualKey | str:
    """Find a virtual key by its public id or by itself, or one of the settings by its name. Raises CommandError."""
    found = VirtualKey.objects.filter(public_id=public_id_of(text.encode()) or text).first()
    if found is not None:
        return found
    if text not in settings.KEYS and not UsageDaily.objects.by_key(text).exists():
        raise CommandError("There is no such key, in the settings or by its public id, and none that used anything.")
    return text
