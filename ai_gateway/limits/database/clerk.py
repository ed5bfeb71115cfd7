"""Does beside the calls what they do not wait for: settles what they used, and keeps what they hold from expiring.

One thread, as long as calls hold something or something is to be settled, with a connection only while it works. It
settles in batches, and keeps trying while the database is away. What it cannot take any more, and what it has not
settled when the process ends, expires: then it counts as spent as it was reserved.

A rate's arrival time is moved once at most: after a failure of which nobody knows how far it got, not at all. Rates
forget in a minute what quotas must not.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import islice
from typing import NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.db import InterfaceError, OperationalError, connections

from ai_gateway.charges import Algorithm, Charges, Counter
from ai_gateway.daemons import Daemon, outlived
from ai_gateway.limits import gcra
from ai_gateway.limits.database import rows
from ai_gateway.limits.database.clock import microseconds

logger = logging.getLogger("ai_gateway")

AWAY = (OperationalError, InterfaceError, ImproperlyConfigured)
"""What the database is said to be away for, and settled for later."""

BATCH = 200
"""Settlements of one transaction."""

MOST = 100_000
"""Settlements that wait while the database is away."""

PAUSE = 0.5
"""Seconds between two attempts while it is."""

IDLE = 1.0
"""Seconds without work after which the connection is given back."""


OFTEN = 600.0
"""Seconds between two looks for what is of no use any more, if nothing is to be renewed."""


class Settled(NamedTuple):
    """A charge that is over. `until` is the arrival time that it had moved a rate to."""

    call: str
    counter: Counter
    amount: int
    actual: int
    until: int

    @property
    def place(self) -> tuple[str, str]:
        """Which charge of which call."""
        return self.call, self.counter.name


class Clerk:
    """The thread, and what it knows. `now` tells the time in seconds since 1970, and may wait for the database."""

    def __init__(self, using: str, now: Callable[[], float]) -> None:
        self._using = using
        self._now = now
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        """Begin anew: a forked process has neither its parent's thread nor its calls."""
        self._ready = threading.Condition()
        self._daemon = Daemon("ai-gateway-limits-clerk", self._turn)
        self._held: dict[str, dict[str, tuple[Counter, int, int]]] = {}
        self._reserving: set[str] = set()
        self._queue: deque[Settled] = deque()
        self._settling: set[tuple[str, str]] = set()
        self._put = 0
        self._done = 0
        self._flushes: list[tuple[int, Future[None]]] = []
        self._ttl = 0.0
        self._care_at = time.monotonic()  # Soon: there may be reservations of a process that died.
        self._ended: Future[None] | None = None
        self._is_away = False
        self._is_full = False

    def hold(self, charges: Charges, until: Sequence[int], ttl: float) -> None:
        """Note what a call has taken."""
        with self._ready:
            held = self._held.setdefault(charges.call, {})
            for counter, amount, moved in zip(charges.counters, charges.amounts, until, strict=True):
                held[counter.name] = (counter, amount, moved)
            if any(counter.algorithm is not Algorithm.RATE for counter in charges.counters):
                if not self._reserving or ttl < self._ttl:
                    self._ttl = ttl
                    self._care_at = min(self._care_at, time.monotonic() + ttl / 3)
                self._reserving.add(charges.call)
            if self._reserving or self._is_care_due():
                self._wake()

    def settle(self, charges: Charges, used: Sequence[int]) -> None:
        """Take what a call used, to be settled soon. What it does not hold (any more) is left alone."""
        call = charges.call
        with self._ready:
            held = self._held.get(call)
            if held is None:
                return
            for counter, actual in zip(charges.counters, used, strict=True):
                found = held.pop(counter.name, None)
                if found is not None:
                    taken, amount, until = found
                    self._enqueue(Settled(call, taken, amount, actual, until))
            if not held:
                del self._held[call]
                self._reserving.discard(call)
            if self._queue:
                self._wake()

    def _enqueue(self, settled: Settled) -> None:
        if settled.counter.algorithm is Algorithm.RATE and settled.actual == settled.amount:
            return
        if len(self._queue) >= MOST:
            if not self._is_full:
                logger.error("Too much waits to be settled. What is added counts as spent as it was reserved.")
            self._is_full = True
            return
        self._is_full = False
        self._queue.append(settled)
        self._settling.add(settled.place)
        self._put += 1

    def is_settling(self, charges: Charges) -> bool:
        """Whether a call still has to give back something that it wants to take again."""
        settling, call = self._settling, charges.call
        return bool(settling) and any((call, counter.name) in settling for counter in charges.counters)

    def flush(self) -> Future[None]:
        """Give what is done when everything is settled that is known now."""
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()
        with self._ready:
            if self._done >= self._put:
                future.set_result(None)
            else:
                self._flushes.append((self._put, future))
                self._wake()
        return future

    @property
    def waiting(self) -> int:
        """How many charges are to be settled."""
        return len(self._queue)

    def dismiss(self) -> Future[None]:
        """End the thread when everything is settled. What is given is done when its connection is closed."""
        with self._ready:
            ended = self._ended
            if ended is None:
                ended = Future()
                ended.set_running_or_notify_cancel()
                if self._daemon.is_running:
                    self._ended = ended
                    self._ready.notify_all()
                else:
                    ended.set_result(None)
        return ended

    def _wake(self) -> None:
        if self._daemon.is_running:
            self._ready.notify_all()
        else:
            self._daemon.start()  # If that fails what is to be settled waits for the next call, which tries it again.

    def _turn(self) -> None:
        with self._ready:
            self._ready.wait_for(self._has_work, IDLE)
            batch = list(islice(self._queue, BATCH))
            is_over = self._is_over()
        if is_over:
            self._leave()
            return
        if batch:
            self._settle(batch)
        if self._is_care_due():
            self._care()
        elif not batch:
            self._rest()

    def _leave(self) -> None:
        """Close the connection, and end the thread unless there is something to do by then."""
        outlived(connections.close_all)  # Without the lock, which event loops wait for.
        with self._ready:
            if not self._is_over():
                return
            self._daemon.leave()
            ended, self._ended = self._ended, None
        if ended is not None:
            ended.set_result(None)

    def _is_over(self) -> bool:
        """Whether there is nothing more for the thread to do."""
        return not self._queue and (self._ended is not None or not (self._reserving or self._is_care_due()))

    def _rest(self) -> None:
        """Wait without a connection until there is something to settle, or to renew."""
        outlived(connections.close_all)
        with self._ready:
            pause = max(0.0, self._care_at - time.monotonic())
            self._ready.wait_for(self._has_work, pause)

    def _has_work(self) -> bool:
        return bool(self._queue) or self._ended is not None or self._is_care_due()

    def _is_care_due(self) -> bool:
        return time.monotonic() >= self._care_at

    def _settle(self, batch: Sequence[Settled]) -> None:
        try:
            self._write(batch)
        except AWAY as error:
            self._postpone(batch, error)
            return
        except Exception:
            # One of them is at fault, and must not keep the others from being settled, nor the thread from going on.
            for each in batch:
                self._settle_one(each)
        if self._is_away:
            logger.warning("The database of the limits answers again.")
        self._is_away = False
        self._finish(batch)

    def _settle_one(self, settled: Settled) -> None:
        try:
            self._write([settled])
        except Exception:
            logger.exception("%s: the limit %s cannot be settled", settled.call, settled.counter.name)

    def _write(self, batch: Sequence[Settled]) -> None:
        now = microseconds(self._now())
        used = [
            rows.Used(each.call, rows.name_of(each.counter), each.counter.algorithm, self._amount(each, now))
            for each in batch
        ]
        rows.steadily(self._using, lambda: rows.settle(self._using, used), reconnects=False)

    def _amount(self, settled: Settled, now: int) -> int:
        if settled.counter.algorithm is Algorithm.RATE:
            return gcra.correction(settled.counter, settled.amount, settled.actual, settled.until, now)
        return settled.actual

    def _postpone(self, batch: Sequence[Settled], error: Exception) -> None:
        """Keep what must be settled for later."""
        if not self._is_away:
            logger.error("What calls used cannot be settled, and is kept for later: %s", error)
        self._is_away = True
        self._finish(batch, kept=[each for each in batch if each.counter.algorithm is not Algorithm.RATE])
        time.sleep(PAUSE)

    def _finish(self, batch: Sequence[Settled], kept: Sequence[Settled] = ()) -> None:
        """Take the first of the queue out of it, but for those that are kept."""
        with self._ready:
            for each in batch:
                self._queue.popleft()
                self._settling.discard(each.place)
            self._queue.extendleft(reversed(kept))
            self._settling.update(each.place for each in kept)
            self._done += len(batch) - len(kept)
            finished = [future for number, future in self._flushes if number <= self._done]
            self._flushes = [waiting for waiting in self._flushes if waiting[0] > self._done]
        for future in finished:
            future.set_result(None)

    def _care(self) -> None:
        """Renew what living calls hold, take for spent what the dead held, and throw away what is of no use."""
        self._care_at = time.monotonic() + (self._ttl / 3 if self._reserving else OFTEN)
        try:
            self.care()
        except Exception as error:
            # It is tried again in time.
            logger.warning("The reservations of calls under way could not be renewed: %s", error)

    def care(self) -> None:
        """Do so now. Raises DatabaseError."""
        with self._ready:
            calls = list(self._reserving)
        now = self._now()
        expires_at = math.ceil(now + self._ttl)
        rows.steadily(self._using, lambda: rows.renew(self._using, calls, expires_at))
        rows.steadily(self._using, lambda: rows.sweep(self._using, microseconds(now)))
        rows.steadily(self._using, lambda: rows.prune(self._using, microseconds(now)))
