"""What is worth an alert, and what alerts go by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import Any, NamedTuple

KINDS = ("budget", "provider_down", "error_rate", "unknown_price", "key_expiring")
"""What alerts are about. `ALERTS["events"]` names those that are wanted."""

TEST = "test"
"""The kind of an alert that somebody sends to see whether it arrives."""

TIMEOUT = 10.0
"""Seconds that a mail server or a webhook has for each step."""


class News(NamedTuple):
    """Something that people want to know. `subject` tells what it is about, and is the same for what is the same.

    What `repeats` is told again as long as it goes on, `every` seconds apart; what does not is told once. `is_over`
    says that it has passed.
    """

    kind: str
    subject: str
    text: str
    details: dict[str, Any]
    repeats: bool = True
    is_over: bool = False


class Letter(NamedTuple):
    """An alert on its way. `id` stays the same however often it is sent."""

    id: str
    at: float
    news: News

    @property
    def moment(self) -> str:
        """When it was written, in ISO 8601."""
        return datetime.fromtimestamp(self.at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class Undelivered(Exception):
    """A letter was not taken. `may_help` says whether to send it again is of any use."""

    def __init__(self, reason: str, *, may_help: bool = True) -> None:
        super().__init__(reason)
        self.may_help = may_help


class Channel(ABC):
    """One way for letters to arrive. `name` is shown to people, and holds no secret."""

    name: str

    @abstractmethod
    def deliver(self, letter: Letter) -> None:
        """Send a letter. Raises Undelivered; never waits much longer than TIMEOUT."""
