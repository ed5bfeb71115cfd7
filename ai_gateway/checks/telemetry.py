"""Checks of what the gateway tells the systems that watch it: is there what it needs, and can it hear of calls?"""

from __future__ import annotations

import os

from django.core.checks import CheckMessage, Warning, register

from ai_gateway import telemetry
from ai_gateway.checks.settings import TAG, is_sound
from ai_gateway.conf import settings

NOT_INSTALLED = "ai_gateway.W132"


@register(TAG)
def check_metrics(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that metrics can be collected, if that is wanted."""
    if not is_sound("METRICS") or not settings.METRICS:
        return []
    if not telemetry.has_prometheus():
        return [
            Warning(
                "METRICS of AI_GATEWAY is set, and the package that collects them is not installed: there are none.",
                hint='pip install "django-ai-gateway[prometheus]", or remove "METRICS".',
                id=NOT_INSTALLED,
            )
        ]
    return _hears_of_calls("METRICS of AI_GATEWAY is set")


@register(TAG)
def check_opentelemetry(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that what the variables of OpenTelemetry want can be sent."""
    signals = telemetry.otlp_signals()
    if not signals:
        return []
    what = f"The environment has OpenTelemetry send {' and '.join(signals)}"
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "").strip()
    if telemetry.has_opentelemetry() and protocol in ("", "http/protobuf"):
        return _hears_of_calls(what)
    reason = f"by {protocol}" if telemetry.has_opentelemetry() else "and its packages are not installed"
    return [
        Warning(
            f"{what}, {reason}: the gateway sends OTLP over HTTP, with the extra otel.",
            hint='pip install "django-ai-gateway[otel]", and OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf.',
            id=NOT_INSTALLED,
        )
    ]


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
