"""What a gateway tells the systems that watch it: log lines, metrics and traces, a module for each.

Telemetry only listens. It hears of a call by `signals.call_finished`, in the ledger's thread, when the call is written
down: so what it tells and what the usage records say is the same, and the path of a call knows nothing of it. What is
not written down is not told either: calls of strangers that led nowhere, and all calls of a site without `USAGE`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from ai_gateway.conf import settings
from ai_gateway.telemetry import logs


def connect() -> None:
    """Have those listen that are switched on. What needs a package is imported only then, and only if that is there:
    the checks say so if it is not."""
    logs.connect()
    if settings.METRICS and find_spec("prometheus_client") is not None:
        import_module("ai_gateway.telemetry.prometheus").connect()
