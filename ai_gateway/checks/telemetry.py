"""Checks of what the gateway tells the systems that watch it: is there what it needs, and can it hear of calls?"""

from __future__ import annotations

from importlib.util import find_spec

from django.core.checks import CheckMessage, Warning, register

from ai_gateway.checks.settings import TAG, is_sound
from ai_gateway.conf import settings


@register(TAG)
def check_metrics(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that metrics can be collected, if that is wanted."""
    if not is_sound("METRICS") or not settings.METRICS:
        return []
    if find_spec("prometheus_client") is None:
        return [
            Warning(
                "METRICS of AI_GATEWAY is set, and the package that collects them is not installed: there are none.",
                hint='pip install "django-ai-gateway[prometheus]", or remove "METRICS".',
                id="ai_gateway.W131",
            )
        ]
    return _hears_of_calls("METRICS of AI_GATEWAY is set")


def _hears_of_calls(what: str) -> list[CheckMessage]:
    if not is_sound("USAGE") or settings.USAGE:
        return []
    return [
        Warning(
            f"{what}, and USAGE is off: telemetry tells of the calls that are written down, so of none.",
            hint='Remove "USAGE": False.',
            id="ai_gateway.W133",
        )
    ]
