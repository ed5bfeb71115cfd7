"""Servers of `rungateway` in a thread of the test's process, for tests of the protocol alone."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from ai_gateway import server
from ai_gateway.server import DrainingSocket, GatheringProtocol, Server


class Serving:
    """A server in a thread. Its application answers, and waits before the end of an answer until it may go on."""

    def __init__(self, application: Any = None, **others: Any) -> None:
        self.goes_on = threading.Event()
        options: dict[str, Any] = {"loop": "uvloop", "lifespan": "off", "interface": "asgi3", "log_config": None}
        options |= {"http": GatheringProtocol, "ws": DrainingSocket, "timeout_keep_alive": 75, **others}
        self.server = Server(uvicorn.Config(application or self._application, port=0, **options))
        self._thread = threading.Thread(target=self.server.run)
        self._thread.start()
        while not self.server.started:
            assert self._thread.is_alive()
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await asyncio.to_thread(self.goes_on.wait, 10)
        await send({"type": "http.response.body", "body": b"last"})

    def stop(self) -> None:
        """Tell it to stop, and wait until the port is closed."""
        self.server.should_exit = True
        while any(server.sockets for server in self.server.servers):
            assert self._thread.is_alive()

    def join(self) -> None:
        self.goes_on.set()
        self.server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()


async def tell(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what the application got."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    headers = sorted(f"{name.decode()}: {value.decode()}" for name, value in scope["headers"])
    told = json.dumps([scope["method"], scope["path"], headers, body.decode()]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(told))]})
    await send({"type": "http.response.body", "body": told})


@pytest.fixture
def telling() -> Iterator[Serving]:
    """A server that answers with what it got."""
    serving = Serving(tell)
    yield serving
    serving.join()


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    """A server that waits before the end of an answer, and not for long when it stops."""
    monkeypatch.setattr(server, "LINGER", 0.3)
    serving = Serving()
    yield serving
    serving.join()
