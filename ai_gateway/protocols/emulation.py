"""Undoing in the answer what a writer of requests did in place of what its format cannot say (see `Emulation`).

- A tool that was there to get JSON out of the model becomes the text that the caller asked for.
- A function that stands for a tool with free text becomes a call of that tool.
- A tool whose name had to be changed gets its name back.
- A text in which one of the caller's stop sequences comes ends before it (`stopping.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ai_gateway.protocols.conversation import Answer, CustomTool, Part, Stop, Text, ToolCall
from ai_gateway.protocols.events import Closed, Event, Finished, Grown, Opened, Signed
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
    parts = [_part(part, emulation) for part in answer.parts]
    undone = msgspec.structs.replace(answer, parts=parts, stop=_stop(answer.stop, parts))
    return stopped(undone, emulation.stop) if emulation.stop else undone


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


class Undoing:
    """Does the same to the events of one stream."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self._json: set[int] = set()
        self._custom: dict[int, list[str]] = {}
        self._is_calling = False
        self._stopping = Stopping(emulation.stop) if emulation.stop else None

    def feed(self, event: Event) -> Iterable[Event]:
        """Take an event; give what it is to the caller."""
        undone = self._undone(event)
        stopping = self._stopping
        return undone if stopping is None else [passed for each in undone for passed in stopping.feed(each)]

    def _undone(self, event: Event) -> Iterable[Event]:
        if isinstance(event, Opened) and isinstance(event.part, ToolCall):
            return self._opened(event, event.part)
        if isinstance(event, Grown) and event.key in self._custom:
            self._custom[event.key].append(event.text)
            return ()
        if isinstance(event, Signed) and event.key in self._json:
            return ()
        if isinstance(event, Closed) and event.key in self._custom:
            text = free_text("".join(self._custom.pop(event.key)))
            return (Grown(key=event.key, text=text), event) if text else (event,)
        if isinstance(event, Finished) and event.stop is Stop.TOOL_USE and not self._is_calling:
            return (msgspec.structs.replace(event, stop=Stop.END),)
        return (event,)

    def _opened(self, event: Opened, call: ToolCall) -> Iterable[Event]:
        if call.name == self._emulation.json_tool:
            self._json.add(event.key)
            return (Opened(key=event.key, part=Text(text=call.arguments)),)
        self._is_calling = True
        name = self._emulation.names.get(call.name, call.name)
        if call.name not in self._emulation.custom_tools:
            return (msgspec.structs.replace(event, part=msgspec.structs.replace(call, name=name)),)
        self._custom[event.key] = [call.arguments]
        changed = msgspec.structs.replace(call, name=name, is_custom=True, arguments="")
        return (msgspec.structs.replace(event, part=changed),)
