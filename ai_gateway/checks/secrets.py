"""Checks of the secrets: can they be read, are they long enough, do they stand in the settings for all to see?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from django.core.checks import CheckMessage, Error, Warning, register

from ai_gateway.checks.settings import TAG, is_sound
from ai_gateway.conf import settings
from ai_gateway.credentials import resolve
from ai_gateway.registry import digest

REFERENCES = ("env:", "file:")

SHORTEST_KEY = 20
"""Characters that a gateway key must have: as many as a random one of 96 bits needs, with a prefix."""

SECRET_OPTIONS = ("key", "secret", "token", "password")
"""What the name of an option ends in that holds a secret."""


def is_secret(option: str) -> bool:
    """Whether an option of this name holds a secret."""
    return option.lower().endswith(SECRET_OPTIONS)


def check_reference(where: str, value: str) -> CheckMessage | None:
    """Check that what a value refers to can be read. `where` says where it stands, as Python."""
    try:
        if resolve(value) is not None:
            return None
    except (OSError, ValueError) as error:
        return Error(
            f"{where} cannot be read: {error}",
            hint='Write "env:NAME", or "file:/path" of a file with one line of text that the gateway may read.',
            id="ai_gateway.E034",
        )
    name = value.removeprefix("env:")
    if name == value:
        return _empty(f"{where} is empty.", 'Write "env:NAME" and set that variable, or remove the entry.')
    return _empty(f"{where} is not set: there is no environment variable {name}.", f"Set it: export {name}=…")


def _empty(message: str, hint: str) -> CheckMessage:
    return Warning(message, hint=hint, id="ai_gateway.W036")


@register(TAG)
def check_keys(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check the gateway keys, each and all together."""
    if not is_sound("KEYS"):
        return []
    names: dict[bytes, str] = {}
    messages: list[CheckMessage] = []
    for name, reference in settings.KEYS.items():
        found = _check_key(f'AI_GATEWAY["KEYS"][{name!r}]', reference)
        value = None if found else digest(reference)
        if found:
            messages.append(found)
        elif value in names:
            messages.append(_same_key(name, names[value]))
        elif value is not None:
            names[value] = name
    return messages


def _check_key(where: str, reference: str) -> CheckMessage | None:
    if reference.startswith("sha256:"):
        return None if _is_digest(reference) else _no_digest(where)
    found = check_reference(where, reference)
    if found is not None:
        return found
    secret = resolve(reference)
    if secret is None or len(secret.reveal()) >= SHORTEST_KEY:
        return None
    return Error(
        f"{where} is shorter than {SHORTEST_KEY} characters, so it can be guessed.",
        hint="Make a new one: python -c \"import secrets; print('gw_' + secrets.token_urlsafe(32))\"",
        id="ai_gateway.E043",
    )


def _is_digest(reference: str) -> bool:
    try:
        digest(reference)
    except ValueError:
        return False
    return True


def _no_digest(where: str) -> CheckMessage:
    return Error(
        f"{where} is no SHA-256 digest: sha256: must be followed by 64 hexadecimal digits.",
        hint='Write the output of: printf %s "$KEY" | sha256sum',
        id="ai_gateway.E042",
    )


def _same_key(name: str, other: str) -> CheckMessage:
    return Error(
        f'AI_GATEWAY["KEYS"] has the same key twice, as {other!r} and {name!r}: nobody could tell who is calling.',
        hint="Give each caller a key of its own.",
        id="ai_gateway.E044",
    )


@register(TAG)
def check_metrics_token(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that the metrics token can be read."""
    if not is_sound("METRICS_TOKEN") or settings.METRICS_TOKEN is None:
        return []
    return list(filter(None, [check_reference('AI_GATEWAY["METRICS_TOKEN"]', settings.METRICS_TOKEN)]))


@register(TAG, deploy=True)
def check_literal_secrets(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Warn of secrets that are written into the settings. One that the settings took from the environment is none."""
    return [_literal(where) for where, value in _secrets() if _is_literal(value)]


def _literal(where: str) -> CheckMessage:
    return Warning(
        f"{where} is a secret in the settings themselves, so it is in the repository and in its history.",
        hint='Write "env:NAME" and set that variable, or "file:/run/secrets/name"; a gateway key also as "sha256:…".',
        id="ai_gateway.W047",
    )


def _secrets() -> Iterator[tuple[str, object]]:
    if is_sound("KEYS"):
        yield from ((f'AI_GATEWAY["KEYS"][{name!r}]', value) for name, value in settings.KEYS.items())
    if is_sound("ENCRYPTION_KEYS"):
        yield from ((f'AI_GATEWAY["ENCRYPTION_KEYS"][{at}]', key) for at, key in enumerate(settings.ENCRYPTION_KEYS))
    if is_sound("METRICS_TOKEN"):
        yield 'AI_GATEWAY["METRICS_TOKEN"]', settings.METRICS_TOKEN
    for alias, entry in settings.PROVIDERS.items() if is_sound("PROVIDERS") else ():
        options = entry.get("OPTIONS", {})
        for name, value in options.items() if isinstance(options, Mapping) else ():
            if is_secret(str(name)):
                yield f'AI_GATEWAY["PROVIDERS"][{alias!r}]["OPTIONS"]["{name}"]', value


def _is_literal(value: object) -> bool:
    if not isinstance(value, str) or not value.strip() or value.startswith((*REFERENCES, "sha256:")):
        return False
    return not any(value in variable for variable in os.environ.values())
