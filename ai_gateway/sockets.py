"""What stands between the server and the caller of one websocket: as `guard.py` for requests.

A caller that is refused gets the refusal as an HTTP answer, if the server can send one in place of the handshake's
(`websocket.http.response` of ASGI), else a closed door. One that hangs up while its session is being opened is noticed,
and so is one that takes nothing of what it is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from ai_gateway.calls import Headers, Message, Reply
from ai_gateway.errors import BodyTooLarge, ClientDisconnected, GatewayError, SocketClosed
from ai_gateway.guard import Receive, Send, Watched
from ai_gateway.overload import Entrant

HTTP_ANSWER = "websocket.http.response"
"""The extension of ASGI by which a server answers a handshake with something else."""

POLICY_VIOLATION = 1008
NO_STATUS = 1005
"""A websocket was closed without saying why, or is gone. No code that may be sent."""

LONGEST_REASON = 123
"""Bytes of the reason that goes with a code (RFC 6455, 5.5)."""

DRAINS = "ai_gateway.drains"
"""Where the ASGI scope says that the gateway ends this websocket itself when the server stops (`server.py`)."""


async def turn_down(receive: Receive, send: Send, reason: str) -> None:
    """Refuse a websocket before it is open, where there is none. Servers answer 403 and keep the reason to themselves:
    an answer of one's own, plain uvicorn takes for a fault of the application, and logs it."""
    await receive()
    await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": reason})


class CallerSocket(Watched, Entrant):
    """The caller's end of a websocket. Made in the task that serves it."""

    def __init__(
        self, scope: Mapping[str, Any], receive: Receive, send: Send, loop: asyncio.AbstractEventLoop, timeout: float
    ) -> None:
        """`timeout` is after how many seconds a caller is dropped that takes nothing."""
        self._can_answer = HTTP_ANSWER in scope.get("extensions", {})
        self._receive = receive
        self._send = send
        self._loop = loop
        self._timeout = timeout
        self._task = asyncio.current_task(loop)
        self._listening: asyncio.Task[None] | None = None
        self._sending_since: float | None = None
        self._is_accepted = False
        self.has_place = False
        self.ended_by: GatewayError | None = None
        self.is_gone = False
        self.gone: asyncio.Future[None] = loop.create_future()
        """Done when the caller has taken nothing for too long."""

    @contextmanager
    def waiting(self, fields: Mapping[bytes, bytes]) -> Iterator[None]:
        """See Entrant.waiting(). That the caller hangs up is listened for anyway."""
        yield

    # The handshake.

    async def begin(self) -> None:
        """Take the request for a websocket, and listen for its caller's hanging up from now on."""
        await self._receive()
        self._listening = self._loop.create_task(self._listen())

    async def _listen(self) -> None:
        await self._receive()  # Before the socket is open there is nothing else that could come.
        self.is_gone = True
        self._break_off()

    async def accept(self, subprotocol: str | None, headers: Headers) -> None:
        """Open the socket. Raises ClientDisconnected."""
        self._stop_listening()
        self._is_accepted = True
        try:
            await self._send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers})
        except OSError as error:
            raise ClientDisconnected from error

    async def refuse(self, reply: Reply) -> None:
        """Answer with a reply that opens no socket."""
        self._stop_listening()
        assert isinstance(reply.body, bytes)
        with suppress(OSError):  # By which servers tell that the caller is gone.
            if self._can_answer:
                start = {"type": "websocket.http.response.start", "status": reply.status, "headers": reply.headers}
                await self._send(start)
                await self._send({"type": "websocket.http.response.body", "body": reply.body})
            else:
                await self._send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": ""})

    def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None

    # The messages.

    async def receive(self, limit: int) -> Message:
        """Give the next message. Raises SocketClosed, or BodyTooLarge above so many bytes."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self.is_gone = True
            raise SocketClosed(message.get("code") or NO_STATUS, message.get("reason") or "")
        text: str | None = message.get("text")
        content: Message = text if text is not None else message["bytes"]
        if len(content) > limit or size_of(content) > limit:
            raise BodyTooLarge(f"The message is longer than {limit} bytes.")
        return content

    async def send(self, message: Message) -> None:
        """Send a message, noting since when, so that a caller that takes nothing is noticed. Raises SocketClosed."""
        self._sending_since = self._loop.time()
        kind = "text" if isinstance(message, str) else "bytes"
        try:
            await self._send({"type": "websocket.send", kind: message})
        except OSError as error:
            self.is_gone = True
            raise SocketClosed(NO_STATUS) from error
        self._sending_since = None

    async def close(self, code: int, reason: str) -> None:
        """Say that it is over, and why, unless the caller is gone."""
        if not self.is_gone:
            self.is_gone = True
            with suppress(OSError):
                await self._send({"type": "websocket.close", "code": code, "reason": shortened(reason)})

    # The watch.

    def look(self, now: float) -> None:
        """See Watched.look()."""
        if self._sending_since is not None and now - self._sending_since > self._timeout and not self.is_gone:
            self.is_gone = True
            self._break_off()

    def end(self, error: GatewayError) -> None:
        """See Watched.end()."""
        self.ended_by = error
        if not self._is_accepted:
            self._break_off()

    def unwatched(self) -> None:
        """See Watched.unwatched()."""
        self._stop_listening()

    def _break_off(self) -> None:
        if self._is_accepted:
            if not self.gone.done():
                self.gone.set_result(None)
        elif self._task is not None:
            self._task.cancel()


def size_of(message: Message) -> int:
    """Tell how many bytes a message has. Most are ASCII, of which none has to be written to be counted."""
    if isinstance(message, bytes) or message.isascii():
        return len(message)
    return len(message.encode("utf-8", "surrogatepass"))


def shortened(reason: str) -> str:
    """Cut a reason to what may be sent."""
    return reason.encode("utf-8", "replace")[:LONGEST_REASON].decode("utf-8", "ignore")
