"""Checks of limits and usage: can limits be kept, by all processes together, and is nothing lost of what was used?"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from django.core.checks import CheckMessage, Error, Warning, register
from django.utils.module_loading import import_string

from ai_gateway import journal
from ai_gateway.allowances import read_limit
from ai_gateway.checks.settings import TAG, is_sound, suggestion
from ai_gateway.conf import settings
from ai_gateway.limits import BACKENDS, LimitStore


@register(TAG)
def check_limits(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that every limit of the settings can be kept."""
    if not is_sound("LIMITS") or not is_sound("TIME_ZONE"):
        return []
    return [*_limits_that_cannot_be_kept(), *_names_that_are_there_twice(), *_keys_that_are_not_there()]


def _limits_that_cannot_be_kept() -> Iterator[CheckMessage]:
    for number, entry in enumerate(settings.LIMITS):
        try:
            read_limit(entry, id="checked", zone=settings.TIME_ZONE)
        except ValueError as error:
            yield Error(
                f'AI_GATEWAY["LIMITS"][{number}] cannot be kept, and is left out: {error}.',
                hint='Write for example: {"name": "each key", "scope": "key", "measure": "requests", '
                '"window": "minute", "amount": 60}',
                id="ai_gateway.E101",
            )


def _names_that_are_there_twice() -> Iterator[CheckMessage]:
    names = Counter(str(entry["name"]) for entry in settings.LIMITS if entry.get("name"))
    for name, count in names.items():
        if count > 1:
            yield Error(
                f'AI_GATEWAY["LIMITS"] has {count} limits of the name {name!r}: they would share their counters.',
                hint="Give each a name of its own. Callers that a limit refuses are told its name.",
                id="ai_gateway.E102",
            )


def _keys_that_are_not_there() -> Iterator[CheckMessage]:
    """Names of keys that no key of the settings has; such a limit is for nobody."""
    if not is_sound("KEYS"):
        return
    for entry in settings.LIMITS:
        subject = entry.get("subject")
        if entry.get("scope") != "key" or not isinstance(subject, str) or not subject or "*" in subject:
            continue
        if subject not in settings.KEYS:
            yield Warning(
                f'AI_GATEWAY["LIMITS"] has a limit of the key {subject!r}, and AI_GATEWAY["KEYS"] has none of that '
                "name: it is for nobody.",
                hint=f"{suggestion(subject, settings.KEYS)} A virtual key is meant by its number, without quotes.",
                id="ai_gateway.W107",
            )


@register(TAG)
def check_limit_store(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that the store of limits is there, and can count with its options."""
    if not is_sound("LIMIT_STORE"):
        return []
    backend = settings.LIMIT_STORE.get("BACKEND", "memory")
    try:
        found = import_string(BACKENDS.get(backend, backend))
    except ImportError as error:
        if backend in BACKENDS:
            hint = f"Run: pip install 'django-ai-gateway[{backend}]'. Or write another one, such as \"database\"."
            return [_no_store(f"needs a package that is not installed: {error}", hint)]
        return [_no_store(f"cannot be imported: {error}", _another_store(backend))]
    if not (isinstance(found, type) and issubclass(found, LimitStore)):
        return [_no_store("is no store of limits", _another_store(backend))]
    try:
        found.check(settings.LIMIT_STORE.get("OPTIONS", {}))
    except ValueError as error:
        return [
            Error(
                f'The store of AI_GATEWAY["LIMIT_STORE"] cannot count with its OPTIONS. {error}',
                hint='Leave "prefix" out, which is "ai_gateway" then, or give it a name.',
                id="ai_gateway.E163",
            )
        ]
    return []


def _no_store(what: str, hint: str) -> CheckMessage:
    return Error(f'The BACKEND of AI_GATEWAY["LIMIT_STORE"] {what}.', hint=hint, id="ai_gateway.E103")


def _another_store(backend: str) -> str:
    return f"{suggestion(backend, BACKENDS)} Or write the dotted path of a subclass of LimitStore."


@register(TAG, deploy=True)
def check_workers(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that several workers count together."""
    if not is_sound("LIMITS") or not is_sound("LIMIT_STORE") or not settings.LIMITS:
        return []
    workers = os.environ.get("WEB_CONCURRENCY", "")
    is_alone = not workers.isdecimal() or int(workers) < 2
    if is_alone or settings.LIMIT_STORE.get("BACKEND", "memory") != "memory":
        return []
    return [
        Warning(
            f"{workers} workers (WEB_CONCURRENCY) keep the limits, each for itself: together they admit {workers} "
            "times as much.",
            hint='Write "LIMIT_STORE": {"BACKEND": "database"}, or "redis".',
            id="ai_gateway.W104",
        )
    ]


@register(TAG, deploy=True)
def check_journal(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that what the database does not take at the moment is kept."""
    if not is_sound("USAGE") or not is_sound("USAGE_JOURNAL") or not settings.USAGE:
        return []
    directory = journal_directory()
    hint = 'Write "USAGE_JOURNAL": "/var/lib/gateway/usage_journal", a directory that the gateway may write to.'
    if is_temporary(directory):
        return [
            Warning(
                f"The journal of usage is among temporary files ({directory}): what it holds while the database is "
                "away is lost when the machine is restarted.",
                hint=hint,
                id="ai_gateway.W105",
            )
        ]
    if not can_write(directory):
        return [
            Warning(
                f"The journal of usage cannot be written ({directory}): while the database is away, usage is lost.",
                hint=hint,
                id="ai_gateway.W106",
            )
        ]
    return []


def is_temporary(directory: Path) -> bool:
    """Tell whether a directory is among temporary files, though the site is not: a site that is, is on trial."""
    temporary = Path(tempfile.gettempdir()).resolve()
    base = settings.base_directory()
    site = None if base is None else Path(base).resolve()
    if site is not None and site.is_relative_to(temporary) and directory.is_relative_to(site):
        return False
    return directory.is_relative_to(temporary)


def journal_directory() -> Path:
    """Give the directory of the journal, without links: it is compared with others. It need not exist."""
    return journal.directory().resolve()


def can_write(directory: Path) -> bool:
    """Whether a directory can be written to, or made."""
    existing = next((each for each in (directory, *directory.parents) if each.exists()), directory)
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
