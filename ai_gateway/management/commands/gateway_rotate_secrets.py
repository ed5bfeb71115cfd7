"""`manage.py gateway_rotate_secrets`: encrypt everything with the first encryption key, while calls go on.

1. Put a new key in front of the old one: `AI_GATEWAY_ENCRYPTION_KEYS=new,old`, and restart the workers.
2. Run this.
3. Take the old key away.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Model, QuerySet

from ai_gateway.crypto import CryptoError, Keyring, generate_key, key_id_of
from ai_gateway.fields import EncryptedField, Sealed, context
from ai_gateway.keyring import keyring
from ai_gateway.management.progress import Progress

BATCH = 500
"""Rows that are read at a time."""


class Command(BaseCommand):
    """Encrypt anew what was encrypted with another key than the first. Can be run again at any time."""

    help = "Encrypt the secrets in the database with the first encryption key. Safe while the gateway runs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("--generate", action="store_true", help="print a new encryption key, and do nothing else")
        parser.add_argument("--dry-run", action="store_true", help="count, and change nothing")

    def handle(self, *args: Any, generate: bool, dry_run: bool, verbosity: int, **options: Any) -> None:
        """Run the command."""
        if generate:
            self.stdout.write(generate_key())
            return
        try:
            keys = keyring()
        except CryptoError as error:
            raise CommandError(str(error)) from error
        failed = 0
        for field in encrypted_fields():
            with Progress(self, verbosity=verbosity) as progress:
                done, current, failures = self.rotate(field, keys, progress, dry_run=dry_run)
            failed += failures
            verb = "to be encrypted anew" if dry_run else "encrypted anew"
            name = f"{field.model._meta.label_lower}.{field.name}"
            self.stdout.write(f"{name}: {done} {verb}, {current} up to date, {failures} failed")
        if failed:
            sys.exit(1)

    def rotate(
        self, field: EncryptedField, keys: Keyring, progress: Progress, *, dry_run: bool
    ) -> tuple[int, int, int]:
        """Encrypt the values of a field anew. Tells how many were, were not to be, and could not be."""
        done = current = failed = 0
        progress.begin(f"{field.model._meta.label_lower}.{field.name}", encrypted(field).count())
        for row in rows(field):
            progress.add()
            sealed: Sealed = getattr(row, field.attname)
            try:
                if key_id_of(sealed.ciphertext) == keys.current:
                    current += 1
                    continue
                purpose = context(row, field.attname)
                fresh = Sealed(keys.encrypt(keys.decrypt(sealed.ciphertext, purpose), purpose))
            except (CryptoError, ValueError, TypeError, ImportError, OSError) as error:
                failed += 1
                progress.hide()
                self.stderr.write(f"{row._meta.label_lower} {row.pk}: {error}")
                continue
            # Only if it is still the same: what somebody entered in the meantime is newer, and stays.
            if not dry_run:
                type(row)._default_manager.filter(pk=row.pk, **{field.attname: sealed}).update(**{field.attname: fresh})
            done += 1
        return done, current, failed


def encrypted_fields() -> Iterator[EncryptedField]:
    """Find the encrypted fields of all models, the site's own included."""
    for model in apps.get_models():
        for field in model._meta.local_fields:
            if isinstance(field, EncryptedField):
                yield field


def encrypted(field: EncryptedField) -> QuerySet[Model]:
    """Give the rows that have a value."""
    return field.model._default_manager.exclude(**{field.attname: ""})


def rows(field: EncryptedField) -> Iterator[Model]:
    """Read the rows that have a value, a batch at a time, so that no transaction and no cursor stays open."""
    last: Any = None
    found = encrypted(field).order_by("pk")
    while batch := list((found if last is None else found.filter(pk__gt=last))[:BATCH]):
        yield from batch
        last = batch[-1].pk
