"""What a response tells while it passes. A stream repeats the whole response in its last event, with the usage; what is
charged apart is in the events of its items before that, for a stream may be cut.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ai_gateway.bodies import Reading, members_of
from ai_gateway.protocols.openai_responses.usage import TOOLS, is_charged, read_units, read_usage
from ai_gateway.protocols.passing import Passing, believed, decoded

UNDER_WAY = ("queued", "in_progress")
"""How a response stands that is made in the background."""


class _Content(msgspec.Struct):
    text: str | None = None
    refusal: str | None = None


class _Action(msgspec.Struct):
    type: Any = None


class _Item(msgspec.Struct):
    id: Any = None
    type: str | None = None
    action: _Action | list[Any] | str | float | bool | None = None


class _Spoken(_Item):
    content: list[_Content] | None = None
    summary: list[_Content] | None = None
    arguments: str | None = None
    input: str | None = None


class _Response(msgspec.Struct):
    id: Any = None
    model: Any = None
    service_tier: Any = None
    status: Any = None
    usage: Any = None
    output: list[_Item] | None = None


class _Event(msgspec.Struct):
    type: str = ""
    delta: Any = None
    output_index: Any = None
    item: _Item | None = None
    response: _Response | None = None


class _Whole(msgspec.Struct):
    output: list[_Spoken] | None = None


_response = msgspec.json.Decoder(_Response)
_event = msgspec.json.Decoder(_Event)
_whole = msgspec.json.Decoder(_Whole)


def is_in_background(body: bytes, reading: Reading | None = None) -> bool:
    """Whether a request wants its response made in the background, and told when somebody asks for it."""
    members = members_of(body, reading)
    return members is not None and bool(members.background) and bool(msgspec.json.decode(members.background))


class ResponsePassing(Passing):
    """Reads one answer."""

    __slots__ = ("_uses",)

    marker = b'"output_tokens"'
    apart = listed = b'_search_call"'

    def __init__(self) -> None:
        super().__init__()
        self._uses: dict[str, set[str]] = {}
        """The uses of tools that are over, by what prices call them: their ids, or their places. An event may be read
        more than once."""

    def event(self, data: bytes) -> None:
        """See Passing.event()."""
        event = decoded(_event, data)
        if event is None:
            return
        if event.response is not None:
            self._head(event.response)
        elif event.item is not None and event.type == "response.output_item.done":
            self._end_of(event.item, event.output_index)
        elif event.delta and isinstance(event.delta, str) and "audio.delta" not in event.type:
            if "reasoning" in event.type:
                self.add_reasoning(event.delta)
            else:
                self.add_text(event.delta)

    def answer(self, body: bytes) -> None:
        """See Passing.answer()."""
        response = decoded(_response, body)
        if response is not None:
            self._head(response)
            self.is_under_way = response.status in UNDER_WAY
        if self.usage is None:
            whole = decoded(_whole, body)
            for item in (whole.output if whole is not None else None) or ():
                self._item(item)

    def _head(self, response: _Response) -> None:
        self.name(response.id, response.model, response.service_tier)
        usage = believed(read_usage(response.usage))
        if usage is not None:
            self.usage, self.is_final = usage, True
            items = response.output or ()
            kinds = [item.type or "" for item in items if is_charged(item.type, item.action)]
            self.units = read_units(response.usage, kinds, told=self.units)

    def _end_of(self, item: _Item, place: Any) -> None:
        if is_charged(item.type, item.action):
            self._uses.setdefault(TOOLS[item.type or ""], set()).add(str(item.id or place))
            self.units = {unit: len(uses) for unit, uses in self._uses.items()}

    def _item(self, item: _Spoken) -> None:
        for content in item.content or ():
            self.add_text(content.text or content.refusal or "")
        for content in item.summary or ():
            self.add_reasoning(content.text or "")
        if item.arguments or item.input:
            self.add_text(item.arguments or item.input or "")
