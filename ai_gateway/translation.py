"""A provider's stream on its way to a caller of another format: bytes, events of the wire, meaning, and back.

One `Translation` per stream holds all there is of state; nothing is shared. A stream ends well only if the provider's
format proved it; anything else becomes an error event of the caller's format, never an invented end.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from time import perf_counter

import msgspec

from ai_gateway.calls import Call, ReplyBody, UpstreamResponse
from ai_gateway.errors import GatewayError
from ai_gateway.listeners import MeaningListener
from ai_gateway.meter import Meter, Outcome
from ai_gateway.protocols.emulation import Undoing
from ai_gateway.protocols.events import Event, Failed, Finished, Started
from ai_gateway.protocols.protocol import Emulation, Splitter, StreamReader, StreamWriter

logger = logging.getLogger("ai_gateway")

PATIENCE_AT_END = 0.5
"""Seconds to wait, after the last event, for the end of the provider's body: the connection can then be used again."""


class Translation:
    """The machinery of one stream. `model` is told to the caller where the provider does not name it.

    `listener` hears what it means before anything of it is changed for the caller.
    """

    __slots__ = ("_listener", "_model", "_reader", "_splitter", "_undoing", "failure", "is_over", "writer")

    def __init__(
        self,
        *,
        splitter: Splitter,
        reader: StreamReader,
        writer: StreamWriter,
        emulation: Emulation | None,
        model: str,
        listener: MeaningListener,
    ) -> None:
        self._model = model
        self._listener = listener
        self._splitter = splitter
        self._reader = listener.reader = reader
        self.writer = writer
        self._undoing = Undoing(emulation) if emulation is not None else None
        self.is_over = False
        self.failure: GatewayError | None = None

    def read(self, chunk: bytes) -> list[Event]:
        """Take bytes of the provider's body (b"": its end); give what they mean. Nothing after the last event."""
        if self.is_over:
            return []
        events: list[Event] = []
        try:
            for name, data in self._splitter.feed(chunk) if chunk else self._splitter.flush():
                events += self._reader.read(name, data)
        except GatewayError as error:
            events.append(Failed(error=error))
        if not chunk and not any(isinstance(event, Failed) for event in events):
            events += self._reader.end()
        events = self._up_to_the_last(events)
        self._listener.take(events)
        return events

    def _up_to_the_last(self, events: list[Event]) -> list[Event]:
        for number, event in enumerate(events):
            if isinstance(event, Finished | Failed):
                self.is_over = True
                return events[: number + 1]
        return events

    def write(self, events: Iterable[Event], request_id: str) -> bytes:
        """Write events for the caller."""
        written = []
        for event in events:
            if isinstance(event, Started) and not event.model:
                event = msgspec.structs.replace(event, model=self._model)
            if isinstance(event, Failed):
                self.failure = event.error
                written.append(self.writer.fail(event.error, request_id))
            elif self._undoing is not None:
                written += [self.writer.write(undone) for undone in self._undoing.feed(event)]
            else:
                written.append(self.writer.write(event))
        return b"".join(written)

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """End the caller's stream with an error of the gateway's own."""
        self.is_over = True
        self.failure = error
        return self.writer.fail(error, request_id)

    def keep_alive(self) -> bytes:
        """Write a sign of life."""
        return self.writer.keep_alive()


class TranslatedStream(ReplyBody):
    """A reply's body: the provider's stream in the caller's format."""

    __slots__ = ("_call", "_interval", "_is_noted", "_meter", "_ready", "_response", "_translation", "is_broken")

    def __init__(
        self,
        call: Call,
        response: UpstreamResponse,
        translation: Translation,
        meter: Meter,
        *,
        ready: bytes,
        interval: float | None,
    ) -> None:
        """`ready` is what was written already, of events that were read to judge the answer."""
        self._call = call
        self._response = response
        self._translation = translation
        self._meter = meter
        self._ready = ready
        self._interval = interval
        self._is_noted = False
        self.is_broken = False

    @property
    def writer(self) -> StreamWriter:
        """What writes it."""
        return self._translation.writer

    async def __anext__(self) -> bytes:
        if self._ready:
            ready, self._ready = self._ready, b""
            return self._passed(ready)
        translation = self._translation
        while not translation.is_over:
            try:
                chunk = await self._response.read(self._interval)
            except GatewayError as error:
                return self._passed(translation.fail(error, self._call.request_id))
            if chunk is None:
                sign = translation.keep_alive()
                if sign:
                    return sign
                continue
            written = translation.write(translation.read(chunk), self._call.request_id)
            if written:
                return self._passed(written)
        await self._end()
        raise StopAsyncIteration

    def _passed(self, written: bytes) -> bytes:
        meter, translation = self._meter, self._translation
        if meter.first_token_at is None and (meter.listener is None or meter.listener.has_content):
            meter.first_token_at = perf_counter()
        meter.bytes_out += len(written)
        if translation.is_over:
            if translation.failure is not None:
                meter.fail(translation.failure)
            else:
                meter.outcome = Outcome.ANSWERED
        return written

    async def _end(self) -> None:
        """Note a failure, and read what is left of a whole answer, so that its connection can be used again."""
        failure = self._translation.failure
        if failure is not None:
            if not self._is_noted:
                self._is_noted = True
                logger.warning("%s: stream broken: %s %s", self._call.request_id, failure.message, failure.detail or "")
            return
        try:
            while await self._response.read(PATIENCE_AT_END):
                pass
        except GatewayError:
            return  # The answer was whole; that the connection is not is of no interest to the caller.

    async def aclose(self) -> None:
        """Close the upstream's answer."""
        await self._response.aclose()
