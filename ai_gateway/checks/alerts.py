"""Checks of alerts: would they arrive, and could they be believed?"""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Error, Tags, Warning, register

from ai_gateway.alerts.base import Undelivered
from ai_gateway.alerts.webhook import Webhook
from ai_gateway.checks.settings import TAG, is_sound
from ai_gateway.conf import settings


@register(TAG)
def check_secrets(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that every webhook can be signed."""
    return list(_secrets_that_cannot_be_used()) if is_sound("ALERTS") else []


def _secrets_that_cannot_be_used() -> Iterator[CheckMessage]:
    for number, entry in enumerate(settings.ALERTS.get("webhooks", ())):
        try:
            Webhook(entry["url"], entry.get("secret", "")).check()
        except Undelivered as error:
            yield Error(
                f'The webhook AI_GATEWAY["ALERTS"]["webhooks"][{number}] cannot be signed: {error}.',
                hint='Write "secret": "env:NAME", and set that variable to what the receiver gave you.',
                id="ai_gateway.E138",
            )


@register(TAG, Tags.security, deploy=True)
def check_trust(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that a receiver can tell who sent an alert, and that nobody else reads it."""
    if not is_sound("ALERTS"):
        return []
    return [
        Warning(
            f'The webhook AI_GATEWAY["ALERTS"]["webhooks"][{number}] is not signed, or not encrypted on its way.',
            hint='Give it an https:// address and a "secret".',
            id="ai_gateway.W139",
        )
        for number, entry in enumerate(settings.ALERTS.get("webhooks", ()))
        if not entry.get("secret") or not entry["url"].startswith("https://")
    ]
