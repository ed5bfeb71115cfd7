"""`manage.py gateway_import FILE`: read providers, routes, limits and prices into the database, from a document of
`gateway_export` or from LiteLLM's configuration."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import router, transaction

from ai_gateway import interchange, litellm
from ai_gateway.management.progress import Progress
from ai_gateway.models import Provider

PRUNE = (
    "delete what the document does not mention: providers and their credentials, routes, limits and entered prices. A "
    "part that it has no member for is left alone"
)


class Command(BaseCommand):
    """Read a document, and print what it changed."""

    help = (
        "Read providers, routes, limits and entered prices into the database. Prints the changes as a diff; a second "
        "time there are none."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("file", help="JSON or YAML; - for the standard input")
        parser.add_argument("--from", dest="origin", choices=("litellm",), help="a configuration of another gateway")
        parser.add_argument("--dry-run", action="store_true", help="print the changes and make none")
        parser.add_argument("--prune", action="store_true", help=PRUNE)

    def handle(self, *args: Any, file: str, origin: str | None, dry_run: bool, prune: bool, **options: Any) -> None:
        """Run the command."""
        document, notes = load(file), list[str]()
        if origin == "litellm":
            done = litellm.convert(document)
            document, notes = done.document, done.notes
        before, using = interchange.export(), router.db_for_write(Provider)
        try:
            with Progress(self, verbosity=options["verbosity"]) as progress, transaction.atomic(using):
                notes += interchange.read(document, prune=prune, watch=progress.over)
                after = interchange.export()
                transaction.set_rollback(dry_run, using)
        except interchange.InvalidDocument as error:
            raise CommandError(f"{error} Nothing was changed.") from error
        self.stdout.write(interchange.difference(before, after) or "No changes.\n", ending="")
        for note in notes:
            self.stderr.write(note)
        if dry_run:
            self.stderr.write("This was a dry run: nothing was changed.")


def load(file: str) -> Any:
    """Read a file of JSON, or of YAML if that can be read here. Raises CommandError."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read: {error}") from error
    try:
        document = json.loads(text)
    except ValueError as error:
        if file.endswith(".json"):
            raise CommandError(f"{file} is not JSON: {error}") from error
        document = load_yaml(file, text)
    if not isinstance(document, dict):
        raise CommandError(f"{file} holds no object.")
    return document


def load_yaml(file: str, text: str) -> Any:
    """Read YAML. Raises CommandError."""
    yaml = require_yaml()
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CommandError(f"{file} is neither JSON nor YAML: {error}") from error


def require_yaml() -> Any:
    """Give the module that reads YAML, which is an extra. Raises CommandError."""
    try:
        import yaml
    except ImportError as error:
        raise CommandError("YAML needs PyYAML. Run: pip install 'django-ai-gateway[yaml]'") from error
    return yaml
