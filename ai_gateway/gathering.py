"""A transport that writes the head of an answer and the first of its body together.

uvicorn writes them one after the other, and uvloop sends each at once: two system calls and two packets where one would
do. For a small answer that is an eighth of the gateway's whole cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

PATIENCE = 60.0
"""Seconds in which a caller must take something of what is left when its connection is being closed."""


class GatheringTransport:
    """A transport that holds back the head of an answer until the next write, or the end of this turn of the loop.

    `write` is the transport's own as soon as the head is out: the chunks of a stream pass with nothing in between.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        patience: Callable[[], float] = lambda: PATIENCE,
    ) -> None:
        """`patience` tells the seconds in which a caller must take something when its connection is being closed."""
        self._transport = transport
        self._loop = loop
        self._patience = patience
        self._head: bytes | None = None
        self.write: Callable[[bytes], None] = self.gather

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def expect_head(self) -> None:
        """Look out for the head of another answer."""
        self.write = self.gather

    def gather(self, data: bytes) -> None:
        """Write bytes, but hold back a head; uvicorn gives it as one piece of its own."""
        head = self._head
        if head is not None:
            self._head = None
            self.write = self._transport.write
            self._transport.write(head + data)
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._loop.call_soon(self.flush)
        else:
            self._transport.write(data)

    def write_with_head(self, data: bytes) -> None:
        """Write a head together with what follows it, behind what is still held back."""
        head, self._head = self._head, None
        self.write = self._transport.write
        self._transport.write(data if head is None else head + data)

    def writelines(self, pieces: Iterable[bytes]) -> None:
        """Write several pieces, behind a head that is still held back."""
        self.flush()
        self._transport.writelines(pieces)

    def flush(self) -> None:
        """Write a head that is still held back."""
        head, self._head = self._head, None
        if head is not None and not self._transport.is_closing():
            self._transport.write(head)

    def is_closing(self) -> bool:
        """Whether the transport is closed or about to be."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close the transport when everything is written, or nothing more of it is taken."""
        self.flush()
        self._transport.close()
        left = self._transport.get_write_buffer_size()
        if left:
            self._loop.call_later(self._patience(), self._insist, left)

    def _insist(self, before: int) -> None:
        """Cut the connection if the caller took nothing since the last look."""
        left = self._transport.get_write_buffer_size()
        if left == before:
            self._transport.abort()
        elif left:
            self._loop.call_later(self._patience(), self._insist, left)
