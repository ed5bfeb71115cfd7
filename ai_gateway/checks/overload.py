"""Checks of what a process has to stand under load, with `check --deploy`."""

from __future__ import annotations

from django.core.checks import CheckMessage, Warning, register

from ai_gateway import open_files
from ai_gateway.checks.settings import TAG, is_sound
from ai_gateway.conf import settings


@register(TAG, deploy=True)
def check_open_files(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that the system lets a process open the sockets of its calls."""
    if not is_sound("MAX_CALLS") or open_files.are_enough_for(settings.MAX_CALLS):
        return []
    needed = open_files.needed_for(settings.MAX_CALLS)
    return [
        Warning(
            f"MAX_CALLS of AI_GATEWAY is {settings.MAX_CALLS}, and the system does not let a process open the files "
            f"for that, about {needed}. Out of them, it would not even answer health checks.",
            hint=f"Raise the hard limit (systemd: LimitNOFILE={needed}; Docker: --ulimit nofile={needed}), or write a "
            'lower "MAX_CALLS".',
            id="ai_gateway.W112",
        )
    ]
