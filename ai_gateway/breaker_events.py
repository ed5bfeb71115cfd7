"""Writes down when breakers opened and closed, for people who look at it later. Listens to the signals, off the path.

Only the process that found out does so, not those that it told of it.
"""

from __future__ import annotations

import logging
from typing import Any

from django.db import Error
from django.dispatch import Signal

from ai_gateway.breakers import CLOSED, OPENED
from ai_gateway.calls import Target
from ai_gateway.models import BreakerEvent
from ai_gateway.models.base import stored_at
from ai_gateway.models.usage import NAME
from ai_gateway.signals import breaker_closed, breaker_opened
from ai_gateway.stored import has_database

logger = logging.getLogger("ai_gateway")


def connect() -> None:
    """Begin to listen."""
    breaker_opened.connect(write, dispatch_uid="ai_gateway.breaker_events")
    breaker_closed.connect(write, dispatch_uid="ai_gateway.breaker_events")


def write(signal: Signal, target: Target, reason: str, seconds: float, at: float, **_: Any) -> None:
    """Write down what happened. Receives both signals."""
    if not has_database():
        return
    event = BreakerEvent(
        at=stored_at(at),
        provider=target.provider[:NAME],
        model=(target.model or "")[:NAME],
        event=OPENED if signal is breaker_opened else CLOSED,
        reason=reason[:NAME],
        seconds=seconds,
    )
    try:
        event.save(force_insert=True)
    except Error as error:
        # Nobody's call depends on it, and the log has it too.
        logger.warning("That the breaker of %s was %s is not written down: %s", target.provider, event.event, error)
