"""Watches for changes of what the database holds, in a thread of its own, and brings them into force.

Every POLL seconds it reads one row: how often the configuration, and how often keys or their owners were changed. A
changed configuration is read and becomes the new snapshot; changed keys are read again when they are next used. What is
changed in this process is looked at once. While the database does not answer it keeps trying, and what was known last
stays in force. The files that secrets were read from are looked at, too: when one was exchanged, or somebody asks for
it (`reload`), everything is read again. It also writes down, now and then, which keys were used. The catalogue of
prices, which takes a while to load, is loaded here before the first look, so that no call is served without it.

It is started with the gateway (`lifespan.py`), or by the first call where no server does that.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, Protocol

from ai_gateway import registry
from ai_gateway.conf import settings
from ai_gateway.configuration import SourceUnavailable
from ai_gateway.credentials import changed_files
from ai_gateway.daemons import Daemon
from ai_gateway.registry import Snapshot

logger = logging.getLogger("ai_gateway")

FIRST_LOOK = 5.0
"""Seconds for which a starting gateway waits for the database. After that it serves what the settings say."""

LAST_LOOK = 2.0
"""Seconds for which a stopping gateway waits for the thread, whatever the database does."""

USED_INTERVAL = 10.0
"""Seconds between two writes of which keys were used."""


class Version(Protocol):
    """How often things were changed."""

    @property
    def configuration(self) -> int:
        """How often providers, routes and what else is configured were."""

    @property
    def keys(self) -> int:
        """How often keys, and whose they are, were."""


class Refresher:
    """The thread. `release` is called in it after each look, to give its database connections back."""

    def __init__(
        self,
        read_version: Callable[[], Version],
        write_used: Callable[[Iterable[Any]], None],
        release: Callable[[], None],
    ) -> None:
        self._read_version = read_version
        self._write_used = write_used
        self._release = release
        os.register_at_fork(after_in_child=self._begin)
        self._begin()

    def _begin(self) -> None:
        """Begin with nothing; in a forked process as well, which has none of its parent's threads."""
        self._seen: Version | None = None
        self._is_current = False
        self._used_written_at = 0.0
        self._wake = threading.Event()
        self._is_asked = threading.Event()
        self._start_lock = threading.Lock()
        self._first: Future[None] = Future()
        self._daemon = Daemon("ai-gateway-refresher", self._go_on, self._wake.set, self._finish)
        self.is_settled = False
        """Whether a first look was taken, or takes too long to wait for it."""

    @property
    def is_running(self) -> bool:
        """Whether the thread lives."""
        return self._daemon.is_running

    def start(self) -> Future[None]:
        """Start the thread if it does not run yet. What is given back is done after its first look, or at once if it
        cannot be started."""
        with self._start_lock:
            if not self.is_running:
                self._first = Future()
                self._seen = None
                if not self._daemon.start():
                    self._first.set_result(None)
            return self._first

    def look(self) -> None:
        """Look at once, if the thread runs; if not, let the next call build its snapshot anew."""
        if self.is_running:
            self._wake.set()
        else:
            registry.forget()
        if registry.key_cache is not None:
            registry.key_cache.invalidate()

    def reload(self) -> None:
        """Read the whole configuration again, changed or not, and the keys."""
        self._is_asked.set()
        self.look()

    def stop(self) -> None:
        """End the thread, after it has written down what keys were used."""
        self.is_settled = False
        self._daemon.end(LAST_LOOK)

    def _go_on(self) -> None:
        if registry.price_catalogue is not None:
            registry.price_catalogue.load()
        self._look()
        if not self._first.done():
            self.is_settled = True
            self._first.set_result(None)
        self._release()
        self._wake.wait(settings.POLL)
        self._wake.clear()

    def _finish(self) -> None:
        self._write_used_keys()
        self._release()

    def _look(self) -> None:
        is_to_reload = False
        try:
            is_to_reload = self._is_to_reload()
            if is_to_reload:
                self._is_current = False
            # First the version, then what it is the version of: what changes in between is seen again next time.
            version = self._read_version()
            if self._seen is None or version.keys != self._seen.keys:
                self._invalidate_keys()
            if not self._is_current or self._seen is None or version.configuration != self._seen.configuration:
                registry.refresh()
                self._is_current = not registry.problems()
            self._seen = version
            if time.monotonic() - self._used_written_at >= USED_INTERVAL:
                self._write_used_keys()
        except SourceUnavailable:
            self._do_without(is_to_reload)
        except Exception:
            # A setting, a row or a bug: the snapshot in force stays, and the thread lives to see it put right.
            logger.exception("The configuration cannot be refreshed, and stays as it was")
            self._is_current = False

    def _is_to_reload(self) -> bool:
        """Whether everything has to be read again, though the database knows of no change."""
        is_asked = self._is_asked.is_set()
        self._is_asked.clear()  # Before anything is read: who asks from now on means what comes after.
        files = changed_files()
        if not self._first.done():
            return False  # The first look reads everything.
        if files:
            logger.info("The configuration is read again, because of %s", ", ".join(files))
        elif is_asked:
            logger.info("The configuration is read again.")
        return is_asked or bool(files)

    def _do_without(self, is_to_reload: bool) -> None:
        """Have the registry note and log that the database fails. It then serves what it knew, or the settings."""
        self._is_current = False
        if registry.problems() and not is_to_reload:
            return  # It has, and goes on trying to find the database.
        try:
            registry.refresh()
        except Exception:
            logger.exception("The configuration cannot be refreshed, and stays as it was")

    def _invalidate_keys(self) -> None:
        if registry.key_cache is not None:
            registry.key_cache.invalidate()

    def _write_used_keys(self) -> None:
        self._used_written_at = time.monotonic()
        used = registry.key_cache.take_used() if registry.key_cache is not None else set()
        try:
            if used:
                self._write_used(used)
        except Exception as error:
            # Nobody's call depends on it.
            logger.warning("Which keys were used could not be written down: %s", error)


refresher: Refresher | None = None
"""The one of this process. The app's `ready()` puts it here."""


def is_settled() -> bool:
    """Whether calls can be served at once: the configuration is being watched, or there is nothing to watch."""
    return refresher is None or refresher.is_settled


async def begin() -> Snapshot:
    """Begin to watch the configuration, and give the first snapshot: with what the database says if that can be had
    soon, else without."""
    if refresher is not None:
        try:
            async with asyncio.timeout(FIRST_LOOK):
                await asyncio.shield(asyncio.wrap_future(refresher.start()))
        except TimeoutError:
            refresher.is_settled = True
            logger.error("The database does not answer. The gateway serves what the settings say, and keeps trying.")
    return registry.snapshot()


def reload() -> None:
    """Have this process read its configuration again, beside the calls."""
    if refresher is not None:
        refresher.reload()


def end() -> None:
    """Stop watching, and looking keys up."""
    if refresher is not None:
        refresher.stop()
    if registry.key_cache is not None:
        registry.key_cache.stop()
