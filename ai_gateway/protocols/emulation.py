"""Undoing in the answer what a writer of requests did in place of what its format cannot say (see `Emulation`).

- A tool that was there to get JSON out of the model becomes the text that the caller asked for, and what the model says
  beside it is left out: a client parses the text as a whole.
- A function that stands for a tool with free text becomes a call of that tool.
- A tool whose name had to be changed gets its name back.
- A text in which one of the caller's stop sequences comes ends before it (`stopping.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ai_gateway.protocols.conversation import Answer, CustomTool, Part, Stop, Text, ToolCall
from ai_gateway.protocols.events import Cited, Closed, Event, Finished, Grown, Opened, Signed
from ai_gateway.protocols.jsontext import arguments_object
from ai_gateway.protocols.protocol import Emulation
from ai_gateway.protocols.stopping import Stopping, stopped

FREE_TEXT: dict[str, Any] = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}
"""The schema of a function that stands for a tool with free text."""


def described(tool: CustomTool) -> str:
    """Describe a tool with free text to a model that cannot be held to its grammar."""
    grammar = tool.grammar or {}
    definition = grammar.get("definition")
    if not definition:
        return tool.description
    syntax = grammar.get("syntax") or "lark"
    words = f"The input must be a text that follows this grammar ({syntax}):\n{definition}"
    return f"{tool.description}\n\n{words}" if tool.description else words


def undo(answer: Answer, emulation: Emulation) -> Answer:
    """Give the answer as if the format could say everything."""
    given = _without_asides(answer.parts, emulation.json_tool) if emulation.json_tool else answer.parts
    parts = [_part(part, emulation) for part in given]
    undone = msgspec.structs.replace(answer, parts=parts, stop=_stop(answer.stop, parts))
    return stopped(undone, emulation.stop) if emulation.stop else undone


def _without_asides(parts: list[Part], json_tool: str) -> list[Part]:
    """Leave out what is said beside the first call of the tool for JSON, and further calls of it. Text before a call of
    the caller's own stays: it speaks of that."""
    calls = [(index, part.name == json_tool) for index, part in enumerate(parts) if isinstance(part, ToolCall)]
    first = next((index for index, is_json in calls if is_json), None)
    if first is None:
        return parts
    since = max((index for index, _ in calls if index < first), default=-1)
    asides = {index for index, is_json in calls if is_json and index > first}
    asides |= {index for index, part in enumerate(parts) if isinstance(part, Text) and index > since}
    return [part for index, part in enumerate(parts) if index not in asides]


def _part(part: Part, emulation: Emulation) -> Part:
    if not isinstance(part, ToolCall):
        return part
    if part.name == emulation.json_tool:
        return Text(text=part.arguments or "{}")
    call = msgspec.structs.replace(part, name=emulation.names.get(part.name, part.name))
    if part.name in emulation.custom_tools:
        return msgspec.structs.replace(call, is_custom=True, arguments=free_text(part.arguments))
    return call


def _stop(stop: Stop, parts: Iterable[Part]) -> Stop:
    is_calling = any(isinstance(part, ToolCall) for part in parts)
    return Stop.END if stop is Stop.TOOL_USE and not is_calling else stop


def free_text(arguments: str) -> str:
    """Take the free text out of the arguments of the function that stands for a tool with free text."""
    text = arguments_object(arguments).get("input")
    return text if isinstance(text, str) else arguments


class _Asides:
    """Leaves the same out of a stream. Text is held back until it is known whether the tool for JSON is called behind
    it, and with it, as the order is data, what comes in the meantime."""

    def __init__(self, json_tool: str) -> None:
        self._json_tool = json_tool
        self._held: list[Opened | Grown | Signed | Cited | Closed] = []
        self._left_out: set[int] = set()
        self._is_found = False

    def feed(self, event: Event) -> Iterable[Event]:
        """Take an event; give what may pass now."""
        if isinstance(event, Opened):
            return self._called(event, event.part) if isinstance(event.part, ToolCall) else self._said(event)
        if not isinstance(event, Grown | Signed | Cited | Closed):
            return self._released(event)
        if event.key in self._left_out:
            return ()
        if not self._held:
            return (event,)
        self._held.append(event)
        return ()

    def _said(self, event: Opened) -> Iterable[Event]:
        is_text = isinstance(event.part, Text)
        if is_text and self._is_found:
            self._left_out.add(event.key)
        elif is_text or self._held:
            self._held.append(event)
        else:
            return (event,)
        return ()

    def _called(self, event: Opened, call: ToolCall) -> Iterable[Event]:
        if call.name != self._json_tool:
            return self._released(event)
        if self._is_found:
            self._left_out.add(event.key)
            return ()
        self._is_found = True
        self._left_out = {each.key for each in self._held if isinstance(each, Opened) and isinstance(each.part, Text)}
        return [each for each in self._released(event) if each is event or each.key not in self._left_out]

    def _released(self, event: Event) -> list[Any]:
        """Give what is held back, and the event behind it."""
        held, self._held = self._held, []
        return [*held, event]


class Undoing:
    """Does the same to the events of one stream."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self._asides = _Asides(emulation.json_tool) if emulation.json_tool else None
        self._json: dict[int, bool] = {}
        """The texts that are JSON, and whether anything has come of them."""
        self._custom: dict[int, list[str]] = {}
        self._is_calling = False
        self._stopping = Stopping(emulation.stop) if emulation.stop else None

    def feed(self, event: Event) -> Iterable[Event]:
        """Take an event; give what it is to the caller."""
        asides, stopping = self._asides, self._stopping
        passing = (event,) if asides is None else asides.feed(event)
        undone = [each for passed in passing for each in self._undone(passed)]
        return undone if stopping is None else [passed for each in undone for passed in stopping.feed(each)]

    def _undone(self, event: Event) -> Iterable[Event]:
        if isinstance(event, Opened) and isinstance(event.part, ToolCall):
            return self._opened(event, event.part)
        if isinstance(event, Grown) and event.key in self._custom:
            self._custom[event.key].append(event.text)
            return ()
        if isinstance(event, Grown | Signed | Closed) and event.key in self._json:
            return self._written(event)
        if isinstance(event, Closed) and event.key in self._custom:
            text = free_text("".join(self._custom.pop(event.key)))
            return (Grown(key=event.key, text=text), event) if text else (event,)
        if isinstance(event, Finished) and event.stop is Stop.TOOL_USE and not self._is_calling:
            return (msgspec.structs.replace(event, stop=Stop.END),)
        return (event,)

    def _written(self, event: Grown | Signed | Closed) -> Iterable[Event]:
        """Give more of a text that is JSON. Of a call without arguments nothing comes: it is an empty object."""
        if isinstance(event, Signed):
            return ()
        has_begun = self._json[event.key]
        self._json[event.key] = True
        return (event,) if has_begun or isinstance(event, Grown) else (Grown(key=event.key, text="{}"), event)

    def _opened(self, event: Opened, call: ToolCall) -> Iterable[Event]:
        if call.name == self._emulation.json_tool:
            self._json[event.key] = bool(call.arguments)
            return (Opened(key=event.key, part=Text(text=call.arguments)),)
        self._is_calling = True
        name = self._emulation.names.get(call.name, call.name)
        if call.name not in self._emulation.custom_tools:
            return (msgspec.structs.replace(event, part=msgspec.structs.replace(call, name=name)),)
        self._custom[event.key] = [call.arguments]
        changed = msgspec.structs.replace(call, name=name, is_custom=True, arguments="")
        return (msgspec.structs.replace(event, part=changed),)
