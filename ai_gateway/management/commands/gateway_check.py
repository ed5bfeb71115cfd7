"""`manage.py gateway_check`: ask every provider with every credential whether it works, and see where routes lead."""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ai_gateway import gateway, registry
from ai_gateway.conf import settings
from ai_gateway.models import Provider
from ai_gateway.probe import Finding, probe, variants
from ai_gateway.registry import Snapshot

Row = tuple[str, str, Finding]

OPEN = Finding(True, "no credential: open to callers with their own only")


class Command(BaseCommand):
    """Print a table, and exit with 1 if something does not work."""

    help = "Check providers, their credentials, and routes. Exits with 1 if something does not work."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("--offline", action="store_true", help="ask no provider anything")
        parser.add_argument("--provider", help="this one only")

    def handle(self, *args: Any, offline: bool, provider: str | None, **options: Any) -> None:
        """Run the command."""
        snapshot = registry.refresh()
        if provider is not None and provider.lower() not in {*snapshot.providers, *snapshot.broken}:
            raise CommandError(f"There is no provider {provider!r}.")
        asked = asyncio.run(ask(snapshot, offline=offline))
        rows = [*broken(snapshot), *asked, *without_credential(snapshot), *routes(snapshot)]
        if provider is not None:
            rows = [row for row in rows if row[0] == provider.lower()] or [(provider.lower(), "", OPEN)]
        for problem in registry.problems():
            rows.append(("configuration", "", Finding(False, problem)))
        for name, part, finding in rows:
            verdict = self.style.SUCCESS("ok  ") if finding.ok else self.style.ERROR("FAIL")
            took = f"{finding.seconds * 1000:6.0f} ms" if finding.seconds else " " * 9
            self.stdout.write(f"{verdict} {name:24} {part:20} {took}  {finding.what}".rstrip())
        if not all(finding.ok for _, _, finding in rows):
            sys.exit(1)


def broken(snapshot: Snapshot) -> Iterator[Row]:
    """Give the providers that cannot be called."""
    for alias, reason in snapshot.broken.items():
        yield alias, "", Finding(False, reason)


def without_credential(snapshot: Snapshot) -> Iterator[Row]:
    """Give the providers that somebody configured without a credential, which may be meant."""
    stored = Provider.objects.values_list("alias", flat=True)
    for alias in sorted({*map(str.lower, settings.PROVIDERS), *stored} & set(snapshot.providers)):
        if alias not in snapshot.configured:
            yield alias, "", OPEN


async def ask(snapshot: Snapshot, *, offline: bool) -> list[Row]:
    """Ask the providers, all at once."""
    each = [
        (alias, credential, variant)
        for alias, provider in snapshot.configured.items()
        for credential, variant in variants(provider)
    ]
    if offline:
        return [(alias, credential, Finding(True, "not asked")) for alias, credential, _ in each]
    loop = asyncio.get_running_loop()
    transport = gateway.transport_of(loop)
    try:
        findings = await asyncio.gather(*(probe(variant, snapshot, transport) for _, _, variant in each))
    finally:
        await gateway.close(loop)
    return [(alias, credential, finding) for (alias, credential, _), finding in zip(each, findings, strict=True)]


def routes(snapshot: Snapshot) -> Iterator[Row]:
    """Tell of every target of a route whether it could be asked."""
    for name, targets in snapshot.routes.items():
        for target in targets:
            provider = snapshot.providers.get(target.provider)
            if provider is None:
                what = "the provider is broken" if target.provider in snapshot.broken else "there is no such provider"
                yield f"route {name}", f"{target.provider}/{target.model}", Finding(False, what)
            elif not provider.is_configured:
                yield f"route {name}", f"{target.provider}/{target.model}", Finding(False, "no credential")
            else:
                yield f"route {name}", f"{target.provider}/{target.model}", Finding(True, "can be asked")
