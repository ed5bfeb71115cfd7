"""One clock for all hosts: the database's. A host whose own clock is wrong would move the rates of all others."""

from __future__ import annotations

import time

from django.db import connections

from ai_gateway.limits.gcra import MICROSECONDS

TRUSTED = 60.0
"""Seconds after which the database is asked again what time it is."""

QUESTIONS = {
    "postgresql": "SELECT EXTRACT(EPOCH FROM clock_timestamp())",
    "mysql": "SELECT UNIX_TIMESTAMP(NOW(6))",
}
"""How databases that may be on another host are asked for seconds since 1970. SQLite is on this one, and so has its
clock; others than these are taken for that, too."""


class DatabaseClock:
    """Tells the database's time, of which it is asked now and then; in between, this host's monotonic clock counts."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._asked_at: float | None = None
        self._difference = 0.0

    def __call__(self) -> float:
        """Tell the time in seconds since 1970. May wait for the database. Raises DatabaseError."""
        question = QUESTIONS.get(connections[self._using].vendor)
        if question is None:
            return time.time()
        now = time.monotonic()
        if self._asked_at is None or now - self._asked_at > TRUSTED:
            self._ask(question)
        return time.monotonic() + self._difference

    def _ask(self, question: str) -> None:
        connection = connections[self._using]
        connection.ensure_connection()  # Not to take the time that it needs for the way there.
        began = time.monotonic()
        with connection.cursor() as cursor:
            cursor.execute(question)
            (answer,) = cursor.fetchone()
        ended = time.monotonic()
        self._difference = float(answer) - (began + ended) / 2
        self._asked_at = ended


def microseconds(seconds: float) -> int:
    """Round seconds to whole microseconds."""
    return round(seconds * MICROSECONDS)
