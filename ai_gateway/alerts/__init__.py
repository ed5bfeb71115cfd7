"""Alerts: what people want to hear of without looking, by e-mail and by webhook (`ALERTS`).

base          what is worth an alert, and what a channel is
email         a channel: the site's mail server
webhook       a channel: a signed POST
sources       what is found out, from the signals of the gateway and from the clock
error_rates   whether a provider fails more often than before
register      which of all processes tells of it: rows of the table `Alert`
desk          the thread in which all of that is done

Without `ALERTS` nothing listens, and there is no thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from ai_gateway.alerts import sources
from ai_gateway.alerts.base import KINDS, TEST, Channel, News
from ai_gateway.alerts.desk import Desk, send
from ai_gateway.alerts.email import Email
from ai_gateway.alerts.webhook import Webhook
from ai_gateway.conf import settings

EVERY = 3600.0
"""Seconds after which what goes on is told again."""


def connect(*, setting: str = "AI_GATEWAY", **_: object) -> None:
    """Listen to what the settings want to hear of, and to nothing else. Receives Django's `setting_changed`."""
    if setting == "AI_GATEWAY":
        stop()
        sources.connect(wanted() if given() else (), tell)


def given() -> Mapping[str, Any]:
    """Give the setting, or nothing if it is none: what is wrong with it the checks say, which run later."""
    try:
        found = settings.ALERTS
    except AttributeError:
        return {}
    return found if isinstance(found, Mapping) else {}


def wanted() -> tuple[str, ...]:
    """Name the kinds of alerts that are wanted."""
    return tuple(given().get("events") or KINDS)


def channels() -> Iterator[Channel]:
    """Give the ways by which alerts go out."""
    addresses = given().get("email", ())
    if addresses:
        yield Email(addresses)
    for entry in given().get("webhooks", ()):
        yield Webhook(entry["url"], entry.get("secret", ""))


def start() -> None:
    """Start the thread, for what nobody finds out but the clock, if alerts are wanted at all."""
    if given():
        _desk().start()


def stop() -> None:
    """End the thread."""
    if _desk.cache_info().currsize:
        desk = _desk()
        _desk.cache_clear()
        desk.stop()


def tell(news: News) -> None:
    """Have something told. Returns at once."""
    _desk().tell(news)


def test() -> list[str]:
    """Send an alert about nothing by every channel, now, and say where it did not arrive."""
    text = "This is a test of the gateway's alerts."
    return send(list(channels()), News(TEST, "test", text, {}))


@lru_cache(maxsize=1)
def _desk() -> Desk:
    look = sources.expiring_keys if "key_expiring" in wanted() else tuple
    return Desk(list(channels()), given().get("every", EVERY), look)


os.register_at_fork(after_in_child=_desk.cache_clear)  # A forked process has none of its parent's threads.

__all__ = ["KINDS", "channels", "connect", "start", "stop", "tell", "test"]
