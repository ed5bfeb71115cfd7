"""A cable between a gateway and a store: a small TCP proxy that can be cut, be slow, and be mended.

Cut means that nothing passes any more and nobody is told, as when packets are lost on the way. Unplugged means that
connections are reset, and new ones refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any

PATIENCE = 20.0


class Link:
    """Listens on a port of its own, and passes on what comes to `port`, in a thread with a loop of its own."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._delay = 0.0
        self._loop = asyncio.new_event_loop()
        self._whole = asyncio.Event()
        self._whole.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="link", daemon=True)
        self._thread.start()
        self.port = 0
        self._do(self._plug_in())

    def cut(self) -> None:
        """Let nothing pass, from now on."""
        self._loop.call_soon_threadsafe(self._whole.clear)

    def slow(self, seconds: float) -> None:
        """Let everything take so long, in each direction."""
        self._delay = seconds

    def unplug(self) -> None:
        """Reset every connection, and refuse new ones."""
        self._do(self._unplug())

    def mend(self) -> None:
        """Let everything pass again, at once. What was held back while it was cut arrives now."""
        self._delay = 0.0
        self._loop.call_soon_threadsafe(self._whole.set)
        if self._server is None:
            self._do(self._plug_in())

    def close(self) -> None:
        """End it."""
        if self._server is not None:
            self._do(self._unplug())
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _plug_in(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port, reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _unplug(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            linger = struct.pack("ii", 1, 0)
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    async def _end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._whole.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.add(far_writer)
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass  # One end is gone, and so is the other.
        finally:
            writer.close()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await self._whole.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()
            self._writers.discard(writer)
