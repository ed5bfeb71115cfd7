"""A scripted model behind an HTTP API: it reads a request, lets its brain decide, and writes the answer."""

from __future__ import annotations

import json
from typing import Any, Protocol

from tests.clients.models.turns import BadRequest, Brain, Call, Json, Seen, Turn
from tests.upstream import End, Exchange, Request, event_stream, json_answer

COUNT = 1234
"""What a scripted model takes for the length of every prompt."""


class Format(Protocol):
    """How one provider's API is spoken, from the provider's side."""

    def accepts(self, request: Request) -> bool:
        """Whether a request is one for an answer of the model."""

    def count(self, request: Request) -> Json | None:
        """Answer a request to count tokens; None for any other request."""

    def read(self, request: Request) -> Seen:
        """Read a request. Raises BadRequest."""

    def events(self, turn: Turn, seen: Seen, number: int) -> list[bytes]:
        """Write an answer as a stream. `number` makes its ids unique."""

    def whole(self, turn: Turn, seen: Seen, number: int) -> Json:
        """Write an answer as JSON."""

    def call_id(self, number: int, index: int) -> str:
        """The id of the call at this place of the answer of this number."""

    def state(self, number: int, thinking: str) -> str:
        """What stands for the reasoning of an answer, and must come back."""

    def error(self, message: str) -> Json:
        """Write the error of a bad request."""


class Model:
    """The script of an `Upstream`: `upstream.answer(Model(format, brain))` answers all requests."""

    def __init__(self, format: Format, brain: Brain) -> None:
        self.seen: list[Seen] = []
        self.said: list[Turn] = []
        self.counted = 0
        """How many times it was asked to count tokens."""
        self.complaints: list[str] = []
        """What the provider refused. Empty after a test where all went well."""
        self.breaks_after: int | None = None
        """How many events of a stream are sent before the connection is cut; None for all."""
        self.breaks_once = False
        """Whether only the first stream is cut."""
        self.stalls_after: int | None = None
        """How many events of a stream are sent before nothing more comes, until the other side hangs up."""
        self._format = format
        self._brain = brain

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.read_body()
        if counted := self._format.count(exchange.request):
            self.counted += 1
            await json_answer(counted)(exchange)
            return
        try:
            seen = self._read(exchange.request)
        except (BadRequest, KeyError, TypeError, ValueError) as error:
            self.complaints.append(f"{exchange.request.target}: {error!r} in {bytes(exchange.request.body)[:3000]!r}")
            await json_answer(self._format.error(str(error)), 400)(exchange)
            return
        self.seen.append(seen)
        number = len(self.seen)
        turn = self._brain(seen)
        self.said.append(turn)
        if not seen.streams:
            await json_answer(self._format.whole(turn, seen, number))(exchange)
            return
        events = self._format.events(turn, seen, number)
        if self.breaks_after is not None and not (self.breaks_once and number > 1):
            await event_stream(*events[: self.breaks_after], 0.1, End.RESET, ends=False)(exchange)
        elif self.stalls_after is not None:
            await event_stream(*events[: self.stalls_after], End.STALL, ends=False)(exchange)
        else:
            await event_stream(*events)(exchange)

    def _read(self, request: Request) -> Seen:
        if not self._format.accepts(request):
            raise BadRequest(f"nothing is served at {request.method} {request.target}")
        seen = self._format.read(request)
        seen.check()
        return seen

    @property
    def calls(self) -> list[Call]:
        """All calls that it made."""
        return [call for turn in self.said for call in turn.calls]

    @property
    def call_ids(self) -> list[str]:
        """Their ids."""
        return [
            self._format.call_id(number, index)
            for number, turn in enumerate(self.said, start=1)
            for index, _ in enumerate(turn.calls)
        ]

    @property
    def states(self) -> list[str]:
        """The states of all its reasoning."""
        return [self._format.state(number, turn.thinking) for number, turn in enumerate(self.said, 1) if turn.thinking]

    @property
    def only(self) -> Seen:
        """The only request that came."""
        (seen,) = self.seen
        return seen

    @property
    def last(self) -> Seen:
        """The last request of the conversation with tools: agents ask for titles and the like besides."""
        return [seen for seen in self.seen if seen.tools][-1]


def named_event(name: str, data: Any) -> bytes:
    """Write an event of a stream whose events have names."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def plain_event(data: Any) -> bytes:
    """Write an event of a stream whose events have none."""
    return f"data: {json.dumps(data)}\n\n".encode()
