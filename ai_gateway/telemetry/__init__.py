"""What a gateway tells the systems that watch it: log lines, metrics and traces, a module for each.

Telemetry only listens. It hears of a call by `signals.call_finished`, in the ledger's thread, when the call is written
down: so what it tells and what the usage records say is the same, and the path of a call knows nothing of it. What is
not written down is not told either: calls of strangers that led nowhere, and all calls of a site without `USAGE`.
"""

from __future__ import annotations

from ai_gateway.telemetry import logs


def connect() -> None:
    """Have those listen that are switched on."""
    logs.connect()
