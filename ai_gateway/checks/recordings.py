"""Checks of body logging: can what is kept be encrypted, is it deleted some day, and can the hook be found?"""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Warning, register
from django.utils.module_loading import import_string

from ai_gateway.checks.settings import TAG, is_sound
from ai_gateway.conf import settings
from ai_gateway.keyring import has_key
from ai_gateway.recording_policy import RecordingPolicy


@register(TAG)
def check_body_logging(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check what `BODY_LOGGING` leads to."""
    policy = settings.BODY_LOGGING if is_sound("BODY_LOGGING") else None
    return [] if policy is None else [*_problems(policy)]


def _problems(policy: RecordingPolicy) -> Iterator[CheckMessage]:
    if policy.retention_days is None:
        yield Warning(
            'AI_GATEWAY["BODY_LOGGING"] keeps what people write for ever.',
            hint='Write "retention_days": 30, and have manage.py gateway_prune_usage --recordings run every day.',
            id="ai_gateway.W135",
        )
    for reason, hint in _reasons(policy):
        yield Warning(f'AI_GATEWAY["BODY_LOGGING"] keeps nothing: {reason}', hint=hint, id="ai_gateway.W136")


def _reasons(policy: RecordingPolicy) -> Iterator[tuple[str, str]]:
    """Say why nothing is kept, and what helps."""
    if not has_key():
        make = "manage.py gateway_rotate_secrets --generate"
        yield "there is no key to encrypt it with.", f"Make one with {make}, and set AI_GATEWAY_ENCRYPTION_KEYS."
    if policy.redact and not _is_function(policy.redact):
        hint = 'Write the dotted path of a function of one argument: "redact": "site.redaction.redact".'
        yield f'its "redact" is no function that can be imported ({policy.redact}).', hint
    if not settings.USAGE:
        yield 'AI_GATEWAY["USAGE"] is False.', 'Write "USAGE": True: bodies are kept beside the usage records.'


def _is_function(path: str) -> bool:
    try:
        return callable(import_string(path))
    except ImportError:
        return False
