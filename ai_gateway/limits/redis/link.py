"""Batches over one connection, each within its time: Redis's time is known, and so is when a batch is of no use more.

A Redis that was stopped goes on with what it was sent before. Whoever sent that has given up by then, so every batch
says until when its answer is waited for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import msgspec

from ai_gateway.limits.base import StoreUnavailable
from ai_gateway.limits.redis.batches import MICROS, Answer, Answers, Settled, Wanted, Writer, decode
from ai_gateway.limits.redis.client import Client, ScriptFailed, Unanswered, Unwritable

logger = logging.getLogger("ai_gateway")


class Stale(Exception):
    """The connection had served, and does not any more: Redis closed it, was restarted or is no master now."""


class Link:
    """A connection that batches are sent over. `tag` is what all keys begin with, `unwritten` for how many seconds a
    call that ended may not be written down; `clock` replaces Redis's."""

    def __init__(
        self,
        client: Client,
        *,
        tag: str,
        timeout: float,
        seed: int,
        unwritten: float,
        clock: Callable[[], float] | None,
    ) -> None:
        self._client = client
        self._unwritten = round(unwritten * MICROS)
        self._writer = Writer(tag, seed, self._unwritten)
        self._timeout = round(timeout * MICROS)
        self._clock = clock
        self._ahead = 0
        """How far Redis's clock is ahead of the monotonic one, in microseconds."""
        self.answered_at = 0
        """When Redis last answered, in microseconds by its clock; 0 if it never did."""
        self.has_forgotten = False
        """Whether Redis has lost its data since somebody last took note of that."""
        self._since = 0
        self._has_served = False

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, as far as anybody knows."""
        return self._client.is_open

    def now(self) -> int:
        """Tell the time by Redis's clock, in microseconds since 1970; 0 if it never answered. It is behind by the time
        that an answer took to come."""
        return _micros() + self._ahead if self.answered_at else 0

    def written_until(self) -> int:
        """Tell before when, by Redis's clock, calls ended that were written down when Redis last answered."""
        return self.answered_at - self._unwritten

    def at(self, moment: float) -> int:
        """Tell when it was by Redis's clock, as `now` does, at a moment of `time.monotonic()`."""
        return round(moment * MICROS) + self._ahead

    async def open(self) -> None:
        """Connect, and learn Redis's time. Raises StoreUnavailable."""
        self._has_served = False
        await self._run((), (), 0)

    async def send(self, settled: Sequence[Settled], wanted: Sequence[Wanted]) -> list[Answer]:
        """Have a batch done. It does no harm if it was done before.

        Raises StoreUnavailable, ScriptFailed among it, after which nobody knows what was done; Stale if it is worth
        while to open the connection and to send the same again.
        """
        for _ in range(2):
            deadline = _micros() + self._ahead + self._timeout
            try:
                answers = await self._run(settled, wanted, deadline)
            except (Unanswered, ScriptFailed):
                raise
            except StoreUnavailable as error:
                if self._has_served:
                    raise Stale from error
                raise
            if not answers.is_late:
                self._has_served = True
                return answers.answers
            # It was answered in time and yet it was late: one of the clocks was set. Now it is known how far.
        raise StoreUnavailable("Redis: its clock is not the same twice")

    async def aclose(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def _run(self, settled: Sequence[Settled], wanted: Sequence[Wanted], deadline: int) -> Answers:
        time_given = round(self._clock() * MICROS) if self._clock is not None else 0
        try:
            keys, argument = self._writer.write(settled, wanted, deadline=deadline, time=time_given)
        except Exception as error:
            raise Unwritable(f"What Redis is to do cannot be written: {error}") from error
        answer = await self._client.run(keys, argument)
        try:
            answers = decode(answer)
        except msgspec.DecodeError as error:
            raise ScriptFailed(f"Redis: what it answers is not understood: {error}") from error
        self._ahead, self.answered_at = answers.time - _micros(), answers.time
        if answers.since and answers.since != self._since:
            self.has_forgotten, self._since = self.has_forgotten or self._since > 0, answers.since
        for message in answers.broken:
            logger.error("A counter in Redis cannot be used, others can. %s", message)
        return answers


def _micros() -> int:
    return time.monotonic_ns() // 1000
