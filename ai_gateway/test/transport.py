"""In the network's place: a transport whose providers answer by a script, and keep to the gateway's time limits."""

from __future__ import annotations

import asyncio
from typing import Protocol

from django.utils.module_loading import import_string

from ai_gateway.calls import Timeouts, UpstreamRequest, UpstreamResponse
from ai_gateway.errors import GatewayError, UpstreamClosed, UpstreamTimeout
from ai_gateway.test.answers import Written
from ai_gateway.test.sent import Sent, read
from ai_gateway.transports import Transport


class Script(Protocol):
    """What knows the answers."""

    def answer_to(self, sent: Sent) -> Written:
        """Answer a request. Called in the thread of the event loop that asks."""


class ScriptedTransport(Transport):
    """A transport for tests. The settings can name it, with a script or the dotted path of one as its option:
    `{"BACKEND": "ai_gateway.test.transport.ScriptedTransport", "OPTIONS": {"script": "shop.tests.script"}}`."""

    def __init__(self, script: Script | str) -> None:
        self._script: Script = import_string(script) if isinstance(script, str) else script
        self._under_way: set[ScriptedResponse] = set()

    async def send(self, request: UpstreamRequest, timeouts: Timeouts) -> UpstreamResponse:
        """See Transport.send()."""
        sent = await read(request)
        written = self._script.answer_to(sent)
        if written.error is not None:
            raise written.error
        response = ScriptedResponse(written, sent, timeouts, self._under_way)
        self._under_way.add(response)
        try:
            await response.begin()
        except BaseException:
            await response.aclose()
            raise
        return response

    def interrupt(self, error: GatewayError) -> None:
        """See Transport.interrupt()."""
        for response in list(self._under_way):
            response.interrupt(error)

    async def aclose(self) -> None:
        """See Transport.aclose()."""
        for response in list(self._under_way):
            await response.aclose()


class ScriptedResponse(UpstreamResponse):
    """An answer by a script."""

    def __init__(self, written: Written, sent: Sent, timeouts: Timeouts, under_way: set[ScriptedResponse]) -> None:
        self.status = written.status
        self.headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in written.headers.items()]
        self._steps = list(written.steps)
        self._after = written.after
        self._sent = sent
        self._timeouts = timeouts
        self._under_way = under_way
        self._waited = 0.0
        self._error: GatewayError | None = None
        self._interrupted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_closed = False

    def take_rest(self) -> bytes | None:
        """See UpstreamResponse.take_rest(). What comes in one piece is there at once."""
        if len(self._steps) == 1 and isinstance(self._steps[0], bytes):
            return self._steps.pop()  # type: ignore[return-value]
        return None

    async def begin(self) -> None:
        """Wait for the head. Raises UpstreamTimeout."""
        if not self._after:
            return
        await self._wait(min(self._after, self._timeouts.first_byte))
        if self._after > self._timeouts.first_byte:
            raise UpstreamTimeout("The provider did not answer in time.")

    async def read(self, patience: float | None = None) -> bytes | None:
        """See UpstreamResponse.read()."""
        while self._steps:
            if self._error is not None:
                raise self._error
            if self._is_closed:
                raise UpstreamClosed("The answer was closed before it was read to its end.")
            step = self._steps[0]
            if isinstance(step, GatewayError):
                raise step
            if isinstance(step, bytes):
                del self._steps[0]
                self._waited = 0.0
                if step:
                    return step
            elif not await self._has_passed(step, patience):
                return None
            else:
                del self._steps[0]
        return b""

    async def _has_passed(self, pause: float, patience: float | None) -> bool:
        """Wait for the end of a pause, no longer than anybody has patience, and tell whether it has come."""
        left = min(pause, self._timeouts.idle) - self._waited
        seconds = left if patience is None else min(left, patience)
        await self._wait(seconds)
        self._waited += seconds
        if seconds < left:
            return False
        if pause > self._timeouts.idle:
            raise UpstreamTimeout("The provider stopped sending in the middle of its answer.")
        return True

    async def _wait(self, seconds: float) -> None:
        await asyncio.wait([self._interrupted], timeout=seconds)
        if self._error is not None:
            raise self._error

    def interrupt(self, error: GatewayError) -> None:
        """See UpstreamResponse.interrupt()."""
        self._error = error
        if not self._interrupted.done():
            self._interrupted.set_result(None)

    async def aclose(self) -> None:
        """See UpstreamResponse.aclose()."""
        if not self._is_closed:
            self._is_closed = True
            self._sent.was_closed_early = bool(self._steps)
            self._under_way.discard(self)
