"""`manage.py gateway_reload`: have every running process of the gateway read its configuration again."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from ai_gateway import changes
from ai_gateway.conf import settings
from ai_gateway.stored import has_database


class Command(BaseCommand):
    """Count a change of everything. The processes look for changes: they need not be known here, nor be on this
    host."""

    help = (
        "Have every running process of the gateway, on whatever host, read its configuration again: the database and "
        "the files that secrets are kept in. Calls under way are not touched."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the command."""
        if not has_database():
            raise CommandError("This site has no database to pass it on. Send SIGHUP to the processes of the gateway.")
        try:
            changes.note("configuration", "keys")
        except DatabaseError as error:
            raise CommandError(f"The database does not answer: {error}") from error
        self.stdout.write(f"Every process reads its configuration again within {settings.POLL:g} seconds.")
