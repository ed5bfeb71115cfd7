"""`manage.py gateway_sync_prices`: bring the prices of the models that this site uses into the database."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ai_gateway import registry
from ai_gateway.litellm_prices import LiteLLMPrices
from ai_gateway.management.commands.gateway_import import load
from ai_gateway.management.progress import Progress
from ai_gateway.price_catalogue import INSTALL, GenAIPrices
from ai_gateway.price_sync import CatalogueSource, Change, FileSource, Source, Sync, all_models, used_models

MARKS = {"added": "+", "changed": "~", "removed": "-"}


class Command(BaseCommand):
    """Synchronise, and print what changed."""

    help = (
        "Bring the prices of the models that this site's routes lead to, or that were called lately, into the "
        "database. Prints what changes; a second time nothing does. Prices that people entered are left alone."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("--from", dest="origin", metavar="FILE", help="LiteLLM's JSON of prices, not genai-prices")
        parser.add_argument("--provider", help="this provider's only, by its alias")
        parser.add_argument("--all", action="store_true", help="every model that is known of the configured providers")
        parser.add_argument("--dry-run", action="store_true", help="print the changes and make none")
        parser.add_argument("--format", choices=("text", "json"), default="text", help="how to print them")

    def handle(
        self,
        *args: Any,
        origin: str | None,
        provider: str | None,
        all: bool,
        dry_run: bool,
        format: str,
        verbosity: int,
        **options: Any,
    ) -> None:
        """Run the command."""
        snapshot, now = registry.refresh(), timezone.now()
        alias = provider.lower() if provider else None
        if alias is not None and alias not in snapshot.providers:
            raise CommandError(f"There is no provider {provider!r}.")
        source: Source = file_source(origin) if origin else CatalogueSource(installed_catalogue(), now)
        models = all_models(snapshot, source) if all else used_models(snapshot)
        with Progress(self, verbosity=verbosity) as progress:
            changes = Sync(source, snapshot).run(models, provider=alias, is_dry=dry_run, watch=progress.over)
        if format == "json":
            self.stdout.write(json.dumps([as_json(change) for change in changes], indent=2))
        else:
            for line in (line for change in changes for line in as_lines(change)):
                self.stdout.write(line)
        self.stderr.write(summary(changes))
        if dry_run:
            self.stderr.write("This was a dry run: nothing was changed.")


def installed_catalogue() -> GenAIPrices:
    """Give the catalogue. Raises CommandError if the package is not installed."""
    catalogue = GenAIPrices()
    if catalogue.is_missing:
        raise CommandError(f"There is no catalogue of prices. Run: {INSTALL}, or give a file with --from.")
    return catalogue


def file_source(file: str) -> FileSource:
    """Read a file. Raises CommandError."""
    try:
        return FileSource(LiteLLMPrices(load(file)))
    except ValueError as error:
        raise CommandError(f"{file} cannot be used. {error}") from error


def as_lines(change: Change) -> list[str]:
    """Write a change: a line for the model, and one for each of its prices that differs."""
    lines = [f"{MARKS[change.kind]} {change.provider}/{change.model}"]
    for name, (old, new) in change.differences().items():
        before, after = written(old), written(new)
        lines.append(
            f"    {name}: {after if old is None else before if change.new is None else f'{before} -> {after}'}"
        )
    return lines


def written(value: Any) -> str:
    """Write a price."""
    if value is None:
        return "none"
    return json.dumps(value) if isinstance(value, dict | list) else f"${value:.12f}".rstrip("0").rstrip(".")


def as_json(change: Change) -> dict[str, Any]:
    """Write a change as JSON."""
    return {
        "change": change.kind,
        "provider": change.provider,
        "model": change.model,
        "prices": {name: {"old": old, "new": new} for name, (old, new) in change.differences().items()},
    }


def summary(changes: Sequence[Change]) -> str:
    """Count the changes."""
    counts = Counter(change.kind for change in changes)
    return ", ".join(f"{counts[kind]} {kind}" for kind in MARKS) + "." if changes else "No changes."
