"""Putting the calls of a stream together: which call a piece belongs to, and when a call may be shown.

OpenAI numbers the calls, gives id and name with the first piece and only arguments after it. Others leave the number
out (Mistral), or make it -1 or 0 for all; give no id (Google) or a new one with every call; give the name late or with
every piece (Kimi, OpenRouter). The rules here, from the strongest:

- A new id, not empty, begins a new call, whatever the number says; but not in the middle of the arguments of the call
  with that number, if no name comes with it: some make a new id for every piece.
- Without an id the number tells; without both the piece belongs to the last call.
- Without an id a name begins a new call if the one at hand has another name, or has whole arguments and these begin
  anew, or was named in this very delta.

A call is shown once its name is known, and its id if that comes with the first piece of the arguments.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.conversation import ToolCall
from ai_gateway.protocols.events import Closed, Event, Grown, Opened, Signed
from ai_gateway.protocols.jsontext import dumps_text
from ai_gateway.protocols.openai_chat.states import google_state
from ai_gateway.protocols.tool_ids import made_id

FUNCTION_INDEX = 0
"""The number of the one call that the older `function_call` can be."""


class _Call:
    """One call, as far as it has come."""

    __slots__ = ("held", "id", "is_custom", "key", "last", "name", "state")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.is_custom = False
        self.key = -1
        self.held: list[str] = []
        """Arguments that came before the call could be shown."""
        self.last = ""
        """The last character of the arguments that is no blank."""
        self.state: Any = None


class CallReader:
    """Reads the calls of one stream."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}
        self._ids: set[str] = set()

    @property
    def has_calls(self) -> bool:
        """Whether a call with a name has come."""
        return any(call.name for call in self._calls)

    def read_function(self, function: dict[str, Any], answer_id: str, next_key: int) -> list[Event]:
        """Take a piece of the older `function_call`."""
        return self.read([{"index": FUNCTION_INDEX, "function": function}], answer_id, next_key)

    def read(self, entries: list[Any], answer_id: str, next_key: int) -> list[Event]:
        """Take the pieces of one delta; give the events, whose new parts are numbered from `next_key`."""
        events: list[Event] = []
        named: set[int] = set()
        for entry in entries:
            if not isinstance(entry, dict):
                continue
            function = _function(entry)
            arguments = _arguments(function)
            call = self._call_of(entry, function, arguments, named)
            if function.get("name"):
                named.add(id(call))
            state = google_state(entry) if "extra_content" in entry else None
            next_key += self._grow(call, arguments, state, answer_id, next_key, events)
        return events

    def end(self, answer_id: str, next_key: int) -> list[Event]:
        """No more comes: show what has a name and was not shown yet, and close all calls in order."""
        events: list[Event] = []
        for call in self._calls:
            if call.key < 0 and call.name:
                next_key += self._open(call, answer_id, next_key, events)
            if call.key >= 0:
                events.append(Closed(key=call.key))
        return events

    def _call_of(self, entry: dict[str, Any], function: dict[str, Any], arguments: str, named: set[int]) -> _Call:
        """Find the call that a piece belongs to, or begin one."""
        index, given = entry.get("index"), entry.get("id")
        number = index if isinstance(index, int) and index >= 0 else None
        is_numbered = number is not None
        last = self._calls[-1] if self._calls else None
        call = last if number is None else self._by_index.get(number)
        name = function.get("name")
        if isinstance(given, str) and given:
            if call is None or call.id != given:
                call = self._by_id_of(given, call, is_numbered, bool(name))
        elif call is not None and name and call.name:
            is_anew = call.last == "}" and arguments.lstrip().startswith("{")
            if name != call.name or is_anew or id(call) in named:
                call = None
        if call is None:
            call = _Call()
            self._calls.append(call)
        self._note(call, number, given, name)
        call.is_custom = call.is_custom or "custom" in entry
        return call

    def _by_id_of(self, given: str, call: _Call | None, is_numbered: bool, has_name: bool) -> _Call | None:
        """Find the call of an id that the call at hand does not have; None for a new call."""
        if is_numbered and call is None:
            # A new number is a new call, even if its id is known.
            return None
        known = self._by_id.get(given)
        if known is not None or call is None:
            return known
        is_late = not call.id and (is_numbered or call.key < 0)
        is_amid = is_numbered and not has_name and bool(call.name) and call.last != "}"
        return call if is_late or is_amid else None

    def _note(self, call: _Call, index: Any, given: Any, name: Any) -> None:
        if index is not None:
            self._by_index[index] = call
        if isinstance(given, str) and given and not call.id:
            call.id = given
            self._by_id.setdefault(given, call)
        if isinstance(name, str) and name and not call.name:
            call.name = name

    def _grow(self, call: _Call, arguments: str, state: Any, answer_id: str, key: int, events: list[Event]) -> int:
        """Take what a piece adds to its call; give how many parts were opened by it."""
        if arguments:
            call.last = arguments.rstrip()[-1:] or call.last
        if call.key < 0:
            call.state = state or call.state
            call.held += [arguments] if arguments else []
            if call.name and (call.id or call.held):
                return self._open(call, answer_id, key, events)
            return 0
        if arguments:
            events.append(Grown(key=call.key, text=arguments))
        if state is not None:
            events.append(Signed(key=call.key, state=state))
        return 0

    def _open(self, call: _Call, answer_id: str, key: int, events: list[Event]) -> int:
        call.key = key
        shown = call.id
        if not shown or shown in self._ids:
            shown = made_id("call_", answer_id, self._calls.index(call))
        self._ids.add(shown)
        part = ToolCall(
            id=shown, name=call.name, arguments="".join(call.held), is_custom=call.is_custom, state=call.state
        )
        call.held = []
        events.append(Opened(key=key, part=part))
        return 1


def _function(entry: dict[str, Any]) -> dict[str, Any]:
    """Give the object that holds the name and the arguments."""
    for member in ("function", "custom"):
        value = entry.get(member)
        if isinstance(value, dict):
            return value
    return {}


def _arguments(function: dict[str, Any]) -> str:
    value = function.get("arguments")
    if value is None:
        value = function.get("input")
    if isinstance(value, dict | list):
        return dumps_text(value)
    return value if isinstance(value, str) else ""
