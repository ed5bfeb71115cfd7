"""`manage.py gateway_export`: write the configuration of the database as JSON or YAML."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from ai_gateway import interchange
from ai_gateway.management.commands.gateway_import import require_yaml
from ai_gateway.management.progress import Progress


class Command(BaseCommand):
    """Print the document."""

    help = (
        "Write providers, routes, limits and entered prices of the database as a document. Encrypted secrets are not "
        "in it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the option."""
        parser.add_argument("--format", choices=("json", "yaml"), default="json")

    def handle(self, *args: Any, format: str, verbosity: int, **options: Any) -> None:
        """Run the command."""
        with Progress(self, verbosity=verbosity) as progress:
            document = interchange.export(progress.over)
        if format == "yaml":
            self.stdout.write(require_yaml().safe_dump(document, sort_keys=False, allow_unicode=True), ending="")
        else:
            self.stdout.write(interchange.dump(document), ending="")
