"""The thread in which alerts are written and sent: nothing that happens there holds up a call, or whoever found out.

What hangs, a mail server or a webhook, holds up the alerts behind it, and no more than that: each step has a time, each
letter a few attempts, and the queue an end.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from uuid import uuid4

from django.db import Error, connections

from ai_gateway.alerts import register
from ai_gateway.alerts.base import TEST, Channel, Letter, News, Undelivered
from ai_gateway.daemons import Daemon
from ai_gateway.stored import has_database

logger = logging.getLogger("ai_gateway")

MOST_WAITING = 1000
ATTEMPTS = 3
PAUSE = 1.0
"""Seconds before the second attempt; four times as many before the third."""

LULL = 60.0
"""Seconds in which the same is not looked at again: what goes wrong does so with every call."""

DAY = 24 * 3600.0
FIRST_LOOK = 60.0
"""Seconds after the start until the first look at what time brings; then one a day."""

LAST = 2.0
"""Seconds for which a stopping process waits for the thread."""


class Desk:
    """The thread of this process. `look` tells what time alone brings; it is called in the thread, once a day."""

    def __init__(
        self, channels: Sequence[Channel], every: float, look: Callable[[], Sequence[News]], first: float = FIRST_LOOK
    ) -> None:
        self._channels = channels
        self._every = every
        self._look = look
        self._look_at = time.monotonic() + first
        self._waiting: queue.Queue[News | None] = queue.Queue(MOST_WAITING)
        self._seen: dict[tuple[str, str, bool], float] = {}
        self._told: dict[tuple[str, str], float] = {}
        """When this process told of what goes on: for when no database can say what all of them did."""
        self._ended = threading.Event()
        self._daemon = Daemon("ai-gateway-alerts", self._go_on, self._wake, connections.close_all)

    def start(self) -> None:
        """Start the thread, if it does not run yet."""
        if not self._ended.is_set():
            self._daemon.start()

    def stop(self) -> None:
        """End the thread, with what it has in hand."""
        self._ended.set()
        self._daemon.end(LAST)

    def _wake(self) -> None:
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            logger.warning("Alerts that were not sent yet are lost: the process ends.")

    def tell(self, news: News) -> None:
        """Have something told, unless it was a moment ago. Returns at once; from any thread."""
        if not self._is_due(news):
            return
        self.start()
        try:
            self._waiting.put_nowait(news)
        except queue.Full:
            logger.warning("An alert is dropped, for %d wait to be sent: %s", MOST_WAITING, ascii(news.text))

    def _is_due(self, news: News) -> bool:
        name, now = (news.kind, news.subject, news.is_over), time.monotonic()
        if now - self._seen.get(name, -LULL) < LULL:
            return False
        if len(self._seen) >= MOST_WAITING:
            self._seen.clear()
        self._seen[name] = now
        # What comes back after it was over is news, however soon.
        self._seen.pop((news.kind, news.subject, not news.is_over), None)
        return True

    def _go_on(self) -> None:
        try:
            news = self._waiting.get(timeout=max(0.0, self._look_at - time.monotonic()))
        except queue.Empty:
            self._look_round()
            return
        if news is not None:
            self._work(lambda: self._handle(news))

    def _look_round(self) -> None:
        self._look_at = time.monotonic() + DAY
        self._work(self._handle_all)

    def _handle_all(self) -> None:
        for news in self._look():
            self._handle(news)

    def _work(self, do: Callable[[], object]) -> None:
        """Do something, and outlive whatever happens."""
        try:
            do()
        except Exception:
            logger.exception("An alert failed")
        finally:
            if self._waiting.empty():
                connections.close_all()

    def _handle(self, news: News) -> None:
        if not self._is_ours(news):
            return
        logger.warning("Alert: %s", ascii(news.text))
        problems = send(self._channels, news, self._ended)
        if problems and has_database() and not news.is_over:
            register.note_problem(news, "\n".join(problems))

    def _is_ours(self, news: News) -> bool:
        """Whether this process is to tell of it. If the database cannot say, it does of what is news here: better twice
        than never."""
        is_news = self._is_news(news)
        is_ours = is_news
        if has_database():
            try:
                is_ours = register.claim(news, self._every)
            except Error as error:
                logger.warning("The database does not take an alert, so other processes may send it too: %s", error)
        if is_ours and not news.is_over:
            self._told[news.kind, news.subject] = time.monotonic()
        return is_ours

    def _is_news(self, news: News) -> bool:
        """Whether this process has not told of it. That something is over is news if it has told of that."""
        name, now = (news.kind, news.subject), time.monotonic()
        if news.is_over:
            return self._told.pop(name, None) is not None
        if len(self._told) >= MOST_WAITING:
            self._told.clear()
        told_at = self._told.get(name)
        return told_at is None or (news.repeats and now - told_at >= self._every)


def send(channels: Sequence[Channel], news: News, ended: threading.Event | None = None) -> list[str]:
    """Send a letter by all channels, with a few attempts each, and say where it did not arrive."""
    letter = Letter(f"msg_{uuid4().hex}", time.time(), news)
    problems = []
    for channel in channels:
        problem = _send(channel, letter, ended or threading.Event())
        if problem:
            problems.append(f"{channel.name}: {problem}")
            logger.error("An alert did not arrive by %s: %s", channel.name, problem)
    return problems


def _send(channel: Channel, letter: Letter, ended: threading.Event) -> str:
    attempts = 1 if letter.news.kind == TEST else ATTEMPTS
    for number in range(1, attempts + 1):
        try:
            channel.deliver(letter)
        except Undelivered as error:
            if number == attempts or not error.may_help or ended.wait(PAUSE * 4 ** (number - 1)):
                return str(error)
        except Exception as error:
            # A bug, or what nobody thought of. It must keep nothing from the other channels.
            logger.exception("An alert failed by %s", channel.name)
            return type(error).__name__
        else:
            return ""
    raise AssertionError
