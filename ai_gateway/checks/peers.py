"""Checks of what the processes of one gateway talk over."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error, register

from ai_gateway import peers
from ai_gateway.checks.settings import TAG, is_sound
from ai_gateway.conf import settings


@register(TAG)
def check_peers(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that the other processes could be reached: Redis itself is not asked."""
    if not is_sound("PEERS") or not is_sound("LIMIT_STORE") or not settings.PEERS.get("URL"):
        return []
    try:
        peers.new_wire("check")
    except ImportError:
        return [
            Error(
                "The processes are to talk over Redis, and the package redis is not installed.",
                hint="Run: pip install 'django-ai-gateway[redis]'. Or write \"PEERS\": {}.",
                id="ai_gateway.E123",
            )
        ]
    except (TypeError, ValueError):
        # What went wrong may quote the password.
        return [
            Error(
                'The URL or an option of AI_GATEWAY["PEERS"] (or of LIMIT_STORE, if that is Redis) cannot be used.',
                hint='Write for example: "PEERS": {"URL": "redis://localhost:6379/0"}',
                id="ai_gateway.E122",
            )
        ]
    return []
