"""Where answers are kept: in one of the site's `CACHES`, and those that were asked for lately in this process.

Django's caches block, and most of their asynchronous methods are threads, one for each call. So threads of our own ask,
a few of them, and a call waits for `timeout` seconds at most. A cache that fails is let alone for a moment and calls go
on without; the log says so once. What is kept in memory saves the way for whoever asks the same again and again.

Everything in the cache is bytes: an answer (`kept_answers.py`), which may be encrypted, or a mark. Marks are random:
there is one for everything, one for each owner of answers, and one for each route. An answer is good as long as the
marks are those that it was kept with, so that to forget is to put a new mark in place of an old one, however many
answers there are. A mark that the cache has lost is made anew, and what was kept under it is as good as lost.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from django.core.cache import caches
from django.db import close_old_connections

from ai_gateway.cache_policy import CachePolicy
from ai_gateway.conf import settings
from ai_gateway.crypto import CryptoError
from ai_gateway.kept_answers import Kept, now, pack, unpack
from ai_gateway.keyring import keyring
from ai_gateway.thread_pools import Ended, Full, ThreadPool

logger = logging.getLogger("ai_gateway")

T = TypeVar("T")

PREFIX = "ai_gateway.answer.1:"
MARK_PREFIX = "ai_gateway.mark:"
"""How the names begin in the cache, which the site has other things in. The number is that of the form of answers."""

EVERYTHING = "everything"

THREADS = 4
"""For looking, and as many for keeping: a call that looks waits for none that was answered."""

MOST_WAITING = 64
"""Answers that are being kept, or wait for it. More than that are not."""

FRESH = 2.0
"""Seconds for which an answer in memory is good without a look at the marks."""

RETRY = 5.0
"""Seconds for which a cache that failed is let alone."""


class Unavailable(Exception):
    """The cache does not answer."""


class Found(NamedTuple):
    """What the cache holds for a name: the answer, if there is one, and how the marks stand. `epoch` is the memory's
    of that time."""

    kept: Kept | None
    tokens: tuple[str, ...]
    epoch: int


class Memory:
    """The answers that this process asked for lately, the one that was not asked for longest first. For any thread."""

    def __init__(self, room: int) -> None:
        self.epoch = 0
        """How often all were let go of. What was known before that is not taken any more."""
        self._room = room
        self._size = 0
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, tuple[Kept, float]] = OrderedDict()

    def get(self, name: str) -> Kept | None:
        """Give an answer that is fresh."""
        with self._lock:
            found = self._answers.get(name)
            if found is None or time.monotonic() - found[1] > FRESH or found[0].until <= now():
                return None
            self._answers.move_to_end(name)
            return found[0]

    def put(self, name: str, kept: Kept, epoch: int) -> None:
        """Take an answer of this epoch, and let go of others if there is no room."""
        with self._lock:
            if epoch != self.epoch:
                return
            self._drop(name)
            if kept.size > self._room:
                return
            self._answers[name] = kept, time.monotonic()
            self._size += kept.size
            while self._size > self._room:
                _, (oldest, _) = self._answers.popitem(last=False)
                self._size -= oldest.size

    def _drop(self, name: str) -> None:
        found = self._answers.pop(name, None)
        if found is not None:
            self._size -= found[0].size

    def clear(self) -> None:
        """Let go of all, and of those that are on their way."""
        with self._lock:
            self._answers.clear()
            self._size = 0
            self.epoch += 1


class AnswerStore:
    """Keeps answers, for the calls of one process."""

    def __init__(self, policy: CachePolicy) -> None:
        self._policy = policy
        self._memory = Memory(policy.memory)
        self._looking = ThreadPool("ai-gateway-cache", size=THREADS)
        self._keeping = ThreadPool("ai-gateway-cache-keep", size=THREADS, most=MOST_WAITING)
        self._is_failing = False
        self._retry_at = 0.0

    # For calls, on the event loop.

    def in_memory(self, name: str) -> Kept | None:
        """Give an answer that this process holds."""
        return self._memory.get(name)

    async def find(self, name: str, marks: Sequence[str]) -> Found:
        """Look for an answer under these marks. Raises Unavailable."""
        epoch = self._memory.epoch
        found = await self._ask(lambda: self._find(name, marks, epoch))
        if found.kept is not None:
            self._memory.put(name, found.kept, epoch)
        return found

    def keep(self, name: str, kept: Kept, epoch: int) -> None:
        """Keep an answer, beside the calls. `epoch` is that of what was found when it was asked for."""
        self._memory.put(name, kept, epoch)
        if self._rests:
            return
        with suppress(Full):
            self._keeping.submit(self._in_thread, lambda: self._keep(name, kept)).add_done_callback(self._kept)

    async def _ask(self, work: Callable[[], T]) -> T:
        if self._rests:
            raise Unavailable
        try:
            async with asyncio.timeout(self._policy.timeout):
                result = await asyncio.wrap_future(self._looking.submit(self._in_thread, work))
        except TimeoutError:
            self._fail(f"no answer within {self._policy.timeout:g} s")
            raise Unavailable from None
        except Exception as error:
            # Whatever a backend raises: it may be anybody's.
            self._fail(f"{type(error).__name__}: {error}")
            raise Unavailable from error
        if self._is_failing:
            self._is_failing = False
            logger.warning("The cache of answers works again.")
        return result

    @property
    def _rests(self) -> bool:
        return self._is_failing and time.monotonic() < self._retry_at

    def _fail(self, reason: str) -> None:
        if not self._is_failing:
            logger.error("The cache of answers fails, calls go on without: %s", reason)
        self._is_failing = True
        self._retry_at = time.monotonic() + RETRY

    def _kept(self, done: Future[None]) -> None:
        error = done.exception()
        if error is not None and not isinstance(error, Ended) and not self._is_failing:
            logger.error("An answer is not kept: %s: %s", type(error).__name__, error)

    # In a thread.

    def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return work()
        finally:
            close_old_connections()  # A cache may be a table of the database.

    def _find(self, name: str, marks: Sequence[str], epoch: int) -> Found:
        names = [MARK_PREFIX + mark for mark in marks]
        found = self._cache.get_many([PREFIX + name, *names])
        tokens = tuple(self._token(each, found.get(each)) for each in names)
        data = found.get(PREFIX + name)
        kept = self._opened(name, data) if isinstance(data, bytes) else None
        is_good = kept is not None and kept.tokens == tokens and kept.until > now()
        return Found(kept if is_good else None, tokens, epoch)

    def _token(self, name: str, value: Any) -> str:
        """Give the token of a mark, of a new one if the cache has none."""
        if isinstance(value, str):
            return value
        self._cache.add(name, secrets.token_hex(8), timeout=None)
        return str(self._cache.get(name, ""))  # Another process may have been faster.

    def _keep(self, name: str, kept: Kept) -> None:
        data = pack(kept)
        if self._policy.encrypt:
            data = keyring().seal(data, PREFIX + name)
        self._cache.set(PREFIX + name, data, timeout=max(1, round(kept.until - now())))

    def _opened(self, name: str, data: bytes) -> Kept | None:
        if self._policy.encrypt:
            try:
                data = keyring().unseal(data, PREFIX + name)
            except CryptoError:
                return None  # Kept before answers were encrypted, or with a key that is gone.
        return unpack(data)

    @property
    def _cache(self) -> Any:
        return caches[self._policy.alias]

    # For whoever wants answers forgotten, in any thread but the event loop's.

    def forget(self, marks: Sequence[str]) -> None:
        """Forget all answers under any of these marks: here at once, in other processes within FRESH seconds. Raises
        what the cache raises."""
        try:
            for mark in marks:
                self._cache.set(MARK_PREFIX + mark, secrets.token_hex(8), timeout=None)
        finally:
            self._memory.clear()  # Not before: who looks meanwhile still finds what is to be forgotten.


@lru_cache(maxsize=1)
def store() -> AnswerStore:
    """Give the store of this process, made as the settings say when it is first asked for."""
    return AnswerStore(settings.RESPONSE_CACHE or CachePolicy())


# A forked process has none of its parent's threads, which may hold the lock of the memory.
os.register_at_fork(after_in_child=store.cache_clear)


def forget(*, setting: str = "AI_GATEWAY", **_: object) -> None:
    """Drop the store, so that it is made anew. Receives Django's `setting_changed`."""
    if setting in ("AI_GATEWAY", "CACHES"):
        store.cache_clear()


def marks(owner: str, route: str) -> list[str]:
    """Name the marks that an answer is kept under."""
    return [EVERYTHING, mark_of("owner", owner), mark_of("route", route)]


def mark_of(kind: str, name: str) -> str:
    """Name the mark of an owner's answers, or of a route's. Caches take no blanks in a name, and no long ones."""
    return f"{kind}:{hashlib.blake2b(name.encode(), digest_size=12).hexdigest()}"
