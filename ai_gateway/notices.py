"""Tells the site, by signals and off the path, what it may want to know at once: of limits that are nearly used up, or
are, once for each counter; and of breakers that open or close.

A budget warns once in its period, a rate once in a minute. Each process knows only what it has told itself. Receivers
run in a thread of their own, one after the other; it is started when there is something to tell and somebody to hear.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from django.db import close_old_connections
from django.dispatch import Signal

from ai_gateway.allowances import LimitRule
from ai_gateway.breakers import CLOSED, OPENED, Breaker, Event
from ai_gateway.calls import Caller
from ai_gateway.charges import Counter, State
from ai_gateway.guardrails.base import Guardrail
from ai_gateway.signals import breaker_closed, breaker_opened, guardrail_acted, limit_reached, limit_warning
from ai_gateway.thread_pools import Full, ThreadPool

logger = logging.getLogger("ai_gateway")

AGAIN = 60.0
"""Seconds after which a counter that has no end is told of again."""

REMEMBERED = 10_000
"""Counters that were told of; when there are more the memory begins anew."""

MOST_WAITING = 1000
"""Notices that wait for receivers. What is more is not told."""

_thread = ThreadPool("ai-gateway-notices", size=1, most=MOST_WAITING)
_told: dict[tuple[int, str], float] = {}


def warn(rule: LimitRule, counter: Counter, state: State, caller: Caller) -> None:
    """Tell that a counter stands so high that its limit wants a warning."""
    if limit_warning.has_listeners(LimitRule) and _is_news(limit_warning, counter):
        _tell(limit_warning, LimitRule, rule=rule, used=state.used, caller=caller)


def refuse(rule: LimitRule, counter: Counter, caller: Caller) -> None:
    """Tell that a limit has refused a call."""
    if limit_reached.has_listeners(LimitRule) and _is_news(limit_reached, counter):
        _tell(limit_reached, LimitRule, rule=rule, caller=caller)


def tell_of_breaker(event: Event) -> None:
    """Tell that a breaker opened or closed. Listens to `breakers`."""
    signal = BREAKER_SIGNALS.get(event.what)
    if signal is not None and signal.has_listeners(Breaker):
        _tell(signal, Breaker, target=event.target, reason=event.reason, seconds=event.seconds, at=event.at)


def tell_of_guardrail(noted: Mapping[str, Any], request_id: str, caller: Caller) -> None:
    """Tell what a guardrail did."""
    if guardrail_acted.has_listeners(Guardrail):
        what = {"name": noted["guardrail"], "stage": noted["stage"], "action": noted["action"], "reason": noted["why"]}
        _tell(guardrail_acted, Guardrail, **what, request_id=request_id, caller=caller)


BREAKER_SIGNALS = {OPENED: breaker_opened, CLOSED: breaker_closed}


def _is_news(signal: Signal, counter: Counter) -> bool:
    name, now = (id(signal), counter.name), time.time()
    if _told.get(name, 0.0) > now:
        return False
    if len(_told) >= REMEMBERED:
        _told.clear()
    _told[name] = counter.ends_at or now + AGAIN
    return True


def _tell(signal: Signal, sender: type, **what: Any) -> None:
    try:
        _thread.submit(_send, signal, sender, what)
    except Full as error:
        logger.warning("A notice is dropped, for its receivers are behind: %s", error)


def _send(signal: Signal, sender: type, what: dict[str, Any]) -> None:
    try:
        signal.send_robust(sender, **what)
    finally:
        close_old_connections()


def forget() -> None:
    """Forget what was told."""
    _told.clear()
