"""Start and drain, by ASGI's lifespan protocol and the signals that end a process.

A server tells its application of the shutdown when the last connection is closed. That is too late to end streams, and
a server that loses patience cancels them without a word. So the gateway listens to SIGTERM and SIGINT itself, beside
the server:

1. At the signal, `/health/ready` says 503.
2. DRAIN_DELAY seconds later the server gets the signal, and takes no more connections: whoever balances the load has
   had the time to notice. What still comes on a connection that is there is served, for its sender knows no better.
3. Calls may finish for DRAIN_TIMEOUT seconds. Then each gets an error in its dialect and ends.
4. A second signal ends them at once. The worker of a supervisor (`--workers`, `--reload`) needs one more: Ctrl-C and
   systemd signal every process, and then the supervisor passes on to its workers what it got.

A worker whose supervisor is gone without a word (`kill -9`, the OOM killer) stops as at a SIGTERM: it would hold the
port against the next gateway for ever, and nobody would tell it of new code or settings.

The server's own patience (uvicorn: `--timeout-graceful-shutdown`) must be a little longer than DRAIN_TIMEOUT.

SIGHUP has the configuration read again, and the files that it refers to. A server that has its own use for that signal
keeps it, and so does a terminal, which tells by it that it is closed.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

from ai_gateway import gateway, health, ledger, open_files, peers, prober, recorder, refresher, thread_pools
from ai_gateway.conf import settings
from ai_gateway.guard import Watch
from ai_gateway.signals import process_ends

logger = logging.getLogger("ai_gateway")

LOOP = "ai_gateway.loop"
TRANSPORT = "ai_gateway.transport"
WATCH = "ai_gateway.watch"
"""Where the lifespan state, of which every request's scope has a copy, holds the event loop, its transport and its
watch. To ask asyncio for the loop costs a system call on Python 3.11."""

SIGNALS = (signal.SIGTERM, signal.SIGINT)

on_start: list[Callable[[], None]] = []
on_end: list[Callable[[], None]] = []
"""What is begun and ended with the gateway beside all this. The app's `ready()` puts here what needs the models."""


class Lifespan:
    """The gateway's life in one server process."""

    def __init__(self, state: dict[str, Any]) -> None:
        """`state` is what ASGI's lifespan gives to the application: every request's scope gets a copy."""
        self._loop = asyncio.get_running_loop()
        self._state = state
        self._server_handlers: dict[int, Any] = {}
        self._signals = 0
        self._patience = 1 if multiprocessing.parent_process() is None else 2
        """How many signals are one wish to stop."""

    async def run(self, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        """Answer the server's lifespan messages."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self._prober.stop()
                await gateway.close(self._loop)
                await self._loop.run_in_executor(None, _end)
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _start(self) -> None:
        open_files.allow_as_many_as_possible()
        await gateway.begin()
        if ledger.ledger is not None:
            ledger.ledger.start()
        for start in on_start:
            start()
        self._state[LOOP] = self._loop
        self._watch = self._state[WATCH] = Watch(self._loop)
        transport = self._state[TRANSPORT] = gateway.transport_of(self._loop)
        self._prober = prober.start(transport)
        # What is loaded by now lives as long as the process: the garbage collector need not look through it again.
        gc.collect()
        gc.freeze()
        # Signals belong to the main thread; a server in another one (in tests) is stopped by other means.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._server_handlers[number] = signal.signal(number, self._receive_signal)
            if _hangup_is_free():
                signal.signal(signal.SIGHUP, self._receive_hangup)
            _watch_supervisor()

    def _receive_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        is_final = self._signals > self._patience
        self._loop.call_soon_threadsafe(self._end_calls if is_final else self._drain, number)
        if is_final or not settings.DRAIN_DELAY:
            self._tell_server(number)

    def _tell_server(self, number: int) -> None:
        handler = self._server_handlers[number]
        if callable(handler):
            handler(number, None)

    def _drain(self, number: int) -> None:
        if health.is_draining():
            return
        logger.info("Draining: calls under way have %g seconds to finish.", settings.DRAIN_TIMEOUT)
        health.start_draining()
        delay = settings.DRAIN_DELAY
        if delay:
            self._loop.call_later(delay, self._tell_server, number)
        self._loop.call_later(delay + settings.DRAIN_TIMEOUT, self._end_calls, number)

    def _receive_hangup(self, number: int, frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(refresher.reload)

    def _end_calls(self, _: int) -> None:
        health.stop()
        gateway.end_calls(self._loop)
        self._watch.end_calls(gateway.stopping())


def _hangup_is_free() -> bool:
    """Whether SIGHUP means nothing yet: neither to the server, nor to somebody who sits at a terminal."""
    is_taken = callable(signal.getsignal(signal.SIGHUP))
    return not is_taken and not (sys.stdin is not None and sys.stdin.isatty())


def _watch_supervisor() -> None:
    """Have this process stop if it is a worker and whoever started it is gone."""
    supervisor = multiprocessing.parent_process()
    if supervisor is None:
        return

    def watch() -> None:
        supervisor.join()
        logger.error("The process that started this worker is gone, so it stops, too.")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="ai-gateway-supervisor", daemon=True).start()


def _end() -> None:
    """End the threads, after they have written down what they know, and what they have to tell has been told."""
    if ledger.ledger is not None:
        ledger.ledger.stop()
    if recorder.recorder is not None:
        recorder.recorder.stop()
    process_ends.send_robust(None)
    refresher.end()
    peers.stop()
    for end in on_end:
        end()
    thread_pools.finish()
