"""A fake provider of realtime sessions: it accepts or refuses handshakes, remembers them, and speaks by a script.

It runs in threads, so that ordinary tests can drive it. A script is a function that gets the connection; without one
it listens until the caller closes.
"""

from __future__ import annotations

import json
import queue
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

PATIENCE = 20.0

Script = Callable[[ServerConnection], None]


class Closed(Exception):
    """A connection was closed, with this code and reason."""

    def __init__(self, code: int | None, reason: str | None) -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason


class RealtimeUpstream:
    """See the module."""

    def __init__(self) -> None:
        self.handshakes: list[Request] = []
        self.messages: queue.Queue[str | bytes | Closed] = queue.Queue()
        """What came, in its order, when the script does not read it itself."""
        self._script: Script | None = None
        self._refusals: list[tuple[int, dict[str, Any], dict[str, str]]] = []
        self._server = serve(
            self._serve,
            "127.0.0.1",
            0,
            process_request=self._judge,
            subprotocols=["realtime"],  # type: ignore[list-item]
            select_subprotocol=lambda connection, offered: "realtime" if "realtime" in offered else None,  # type: ignore[arg-type, return-value]
            compression=None,
            max_size=None,
            ping_interval=None,
        )
        self.port: int = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def forget(self) -> None:
        """Forget what was, and what was to be said."""
        self.handshakes.clear()
        self._refusals.clear()
        self._script = None
        self.messages = queue.Queue()

    def speak(self, script: Script) -> None:
        """Speak by this script from now on."""
        self._script = script

    def refuse(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        """Refuse the next handshake."""
        self._refusals.append((status, body, headers or {}))

    def next(self) -> str | bytes | Closed:
        """Wait for what comes next."""
        return self.messages.get(timeout=PATIENCE)

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join(PATIENCE)

    def _judge(self, connection: ServerConnection, request: Request) -> Response | None:
        self.handshakes.append(request)
        if not self._refusals:
            return None
        status, body, headers = self._refusals.pop(0)
        response = connection.respond(status, json.dumps(body))
        del response.headers["Content-Type"]
        response.headers.update({"Content-Type": "application/json", **headers})
        return response

    def _serve(self, connection: ServerConnection) -> None:
        arrived = self.messages
        try:
            if self._script is not None:
                self._script(connection)
            for message in connection:
                arrived.put(message)
        except ConnectionClosed:
            pass
        arrived.put(Closed(connection.close_code, connection.close_reason))


def reset(connection: ServerConnection) -> None:
    """Die: close the connection with a RST."""
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.socket.close()


def event(kind: str, **members: Any) -> str:
    """Write an event."""
    return json.dumps({"type": kind, **members})


def done(id: str = "resp_1", **usage: Any) -> str:
    """Write the event at the end of an answer."""
    return event("response.done", response={"id": id, "status": "completed", "usage": usage})
