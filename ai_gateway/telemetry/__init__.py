"""What a gateway tells the systems that watch it: log lines, metrics and traces, a module for each.

What they say of a call is in the terms of `retelling.py`, and which names become labels in `cardinality.py`.

Telemetry only listens. It hears of calls by `signals.calls_finished` and `call_finished`, in the ledger's thread, when
they are written down: so what it tells and what the usage records say is the same, and the path of a call knows nothing
of it. What is not written down is not told either: calls of strangers that led nowhere, and all calls of a site without
`USAGE`.
"""

from __future__ import annotations

import logging
import os
from importlib import import_module
from importlib.util import find_spec

from ai_gateway.conf import settings
from ai_gateway.telemetry import logs

logger = logging.getLogger("ai_gateway")

METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that says where processes which share their metrics keep them."""


def connect() -> None:
    """Have those listen that are switched on. What needs packages is imported only then, and only if they are there:
    the checks say so if they are not."""
    logs.connect()
    if settings.METRICS and has_prometheus():
        _connect_prometheus()
    signals = otlp_signals()
    if signals and has_opentelemetry():
        import_module("ai_gateway.telemetry.opentelemetry").connect(signals)


def _connect_prometheus() -> None:
    """Have metrics collected. Where there is no place for them, calls are served all the same."""
    directory = os.environ.get(METRICS_DIRECTORY)
    try:
        if directory:
            os.makedirs(directory, exist_ok=True)
        import_module("ai_gateway.telemetry.prometheus").connect()
    except OSError as error:
        logger.error("Process %d collects no metrics, they cannot be kept in %s: %s", os.getpid(), directory, error)


def has_prometheus() -> bool:
    """Whether what the extra `prometheus` brings is installed."""
    return find_spec("prometheus_client") is not None


def has_opentelemetry() -> bool:
    """Whether what the extra `otel` brings is installed."""
    try:
        return find_spec("opentelemetry.sdk") is not None and find_spec(OTLP) is not None
    except ModuleNotFoundError:  # Of a package above.
        return False


OTLP = "opentelemetry.exporter.otlp.proto.http"


def otlp_signals() -> list[str]:
    """Tell by the standard's variables what is to be sent to a collector: "traces", "metrics", both or nothing."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    return [signal for signal in ("traces", "metrics") if _is_sent(signal.upper())]


def _is_sent(signal: str) -> bool:
    exporters = os.environ.get(f"OTEL_{signal}_EXPORTER", "").strip()
    if exporters:
        return "otlp" in [each.strip() for each in exporters.split(",")]
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return any(os.environ.get(name, "").strip() for name in endpoints)
