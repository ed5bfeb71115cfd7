"""Django's SECRET_KEY for whoever did not set one."""

from __future__ import annotations

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key


def read_or_create(path: Path) -> str:
    """Keep a random key in a file that only its owner can read, so that sessions survive a restart.

    Several workers may start at once: the file is written whole under another name and linked into place, which only
    the first one manages.
    """
    try:
        if not path.exists():
            create(path)
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"Set SECRET_KEY: a random one cannot be kept in {path} ({error.strerror})."
        ) from error


def create(path: Path) -> None:
    """Write a new key to a file that does not exist yet; if somebody else was faster, theirs stays."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(get_random_secret_key())
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
