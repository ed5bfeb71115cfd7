"""Reading `input`: a string, or items, which become the turns of a conversation.

What the model said is one turn as long as nothing of the caller's stands in between; so are the results of several
calls. Source: "Input items" in OpenAI's API reference for Responses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ai_gateway.errors import BadRequest, NotFound, Unsupported
from ai_gateway.protocols import members
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Message, Part, Role, State, Text, Thinking, ToolCall, ToolResult
from ai_gateway.protocols.jsontext import dumps_text
from ai_gateway.protocols.openai_responses import states
from ai_gateway.protocols.openai_responses.content_reader import read_content
from ai_gateway.protocols.openai_responses.namespaces import SEARCH, CallerNames

ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}

SILENT = ("additional_tools",)
"""Items that are read elsewhere."""


class _Turn:
    """A turn that is being read."""

    def __init__(self, role: Role, at: str, holds_results: bool = False) -> None:
        self.role = role
        self.at = at
        self.parts: list[Part] = []
        self.holds_results = holds_results


class InputReader:
    """Reads the items of one request. `left_out` are those that no other format has a place for, by their path."""

    def __init__(self, names: CallerNames, carrier: Carrier) -> None:
        self._names = names
        self._carrier = carrier
        self._turns: list[_Turn] = []
        self._calls: set[str] = set()
        self._waiting: dict[str, str] = {}
        self._call_states: dict[str, State] = {}
        self.left_out: dict[str, Any] = {}

    def read(self, body: dict[str, Any]) -> list[Message]:
        """Read the instructions and the input of a request."""
        instructions = members.text(body, "instructions")
        if instructions:
            self._turn("system", "instructions").parts.append(Text(text=instructions, at="instructions"))
        given = members.required(body.get("input"), "input")
        if isinstance(given, str):
            self._turn("user", "input").parts.append(Text(text=given, at="input"))
        else:
            for at, item in members.entries(members.sequence(body, "input"), "input"):
                self._item(item, at)
        self._insist_on_results()
        return [self._message(turn) for turn in self._turns if turn.parts]

    def _item(self, item: dict[str, Any], at: str) -> None:
        kind = members.text(item, "type", at) or "message"
        read = _READERS.get(kind)
        if read is not None:
            read(self, item, at)
        elif kind not in SILENT:
            self.left_out[at] = item

    def _turn(self, role: Role, at: str, holds_results: bool = False) -> _Turn:
        """Give the turn that something belongs to: the last one if it goes on, else a new one."""
        last = self._turns[-1] if self._turns else None
        goes_on = role == "assistant" or holds_results
        if last is None or not goes_on or (last.role, last.holds_results) != (role, holds_results):
            last = _Turn(role, at, holds_results)
            self._turns.append(last)
        return last

    def _message_item(self, item: dict[str, Any], at: str) -> None:
        word = members.present_text(item, "role", at)
        role = ROLES.get(word)
        if role is None:
            known = "'assistant', 'system', 'developer', and 'user'"
            raise BadRequest(f"Invalid value: '{word}'. Supported values are: {known}.", param=f"{at}.role")
        parts = read_content(item, "content", at)
        phase = members.text(item, "phase", at)
        if phase is not None:
            parts = [msgspec.structs.replace(part, phase=phase) if isinstance(part, Text) else part for part in parts]
        self._turn(role, at).parts.extend(parts)

    def _reasoning(self, item: dict[str, Any], at: str) -> None:
        state = self._carrier.open(members.text(item, "encrypted_content", at) or "")
        if state is not None and states.call_of(state):
            self._call_states[states.call_of(state)] = state
        elif state is not None and states.is_of_text(state):
            self._sign_text(state)
        else:
            self._think(item, state, at)

    def _think(self, item: dict[str, Any], state: State | None, at: str) -> None:
        """Keep reasoning: a provider's own encrypted content is nothing that another one could read."""
        text = reasoning_text(item)
        if state is not None and state.kind == states.UNSIGNED:
            state = None
        if text or state is not None:
            is_redacted = state is not None and state.kind == "redacted"
            thinking = Thinking(text=text, state=state, is_redacted=is_redacted, at=at)
            self._turn("assistant", at).parts.append(thinking)

    def _sign_text(self, state: State) -> None:
        """Give a state to the text before it."""
        parts = self._turns[-1].parts if self._turns else []
        for index in range(len(parts) - 1, -1, -1):
            part = parts[index]
            if isinstance(part, Text):
                parts[index] = msgspec.structs.replace(part, state=state)
                return

    def _function_call(self, item: dict[str, Any], at: str) -> None:
        name = self._names.joined(item.get("namespace"), members.present_text(item, "name", at))
        self._call(item, name, members.text(item, "arguments", at) or "", False, at)

    def _custom_call(self, item: dict[str, Any], at: str) -> None:
        name = self._names.joined(item.get("namespace"), members.present_text(item, "name", at))
        self._call(item, name, members.text(item, "input", at) or "", True, at)

    def _search_call(self, item: dict[str, Any], at: str) -> None:
        """Read a search: one that the provider ran is over and done with."""
        if item.get("execution") == "client" and self._names.has_own_search:
            self._call(item, SEARCH, dumps_text(item.get("arguments") or {}), False, at)

    def _call(self, item: dict[str, Any], name: str, arguments: str, is_custom: bool, at: str) -> None:
        call_id = members.present_text(item, "call_id", at)
        self._calls.add(call_id)
        self._waiting[call_id] = at
        call = ToolCall(id=call_id, name=name, arguments=arguments, is_custom=is_custom, at=at)
        self._turn("assistant", at).parts.append(call)

    def _function_output(self, item: dict[str, Any], at: str) -> None:
        self._result(item, read_content(item, "output", at), False, at)

    def _custom_output(self, item: dict[str, Any], at: str) -> None:
        self._result(item, read_content(item, "output", at), True, at)

    def _search_output(self, item: dict[str, Any], at: str) -> None:
        if item.get("execution") == "client" and self._names.has_own_search:
            found = dumps_text({"tools": item.get("tools") or []})
            self._result(item, [Text(text=found, at=f"{at}.tools")], False, at)

    def _result(self, item: dict[str, Any], parts: list[Part], is_custom: bool, at: str) -> None:
        call_id = members.present_text(item, "call_id", at)
        if call_id not in self._calls:
            raise BadRequest(f"No tool call found for function call output with call_id {call_id}.", param="input")
        self._waiting.pop(call_id, None)
        result = ToolResult(call_id=call_id, parts=parts, is_custom=is_custom, at=at)
        self._turn("user", at, holds_results=True).parts.append(result)

    def _insist_on_results(self) -> None:
        """Refuse a history in which a call has no result, in OpenAI's own words."""
        for call_id in self._waiting:
            raise BadRequest(f"No tool output found for function call {call_id}.", param="input")

    def _refuse_reference(self, item: dict[str, Any], at: str) -> None:
        raise NotFound(
            f"Item with id '{item.get('id')}' not found. Items are not persisted when `store` is set to false. "
            "Try again with `store` set to true, or remove this item from your input.",
            param="input",
        )

    def _refuse_compaction(self, item: dict[str, Any], at: str) -> None:
        raise Unsupported("A compacted history can only be read by the provider that made it.", param=f"{at}.type")

    def _message(self, turn: _Turn) -> Message:
        parts = [self._signed(part) if isinstance(part, ToolCall) else part for part in turn.parts]
        return Message(role=turn.role, parts=parts, at=turn.at)

    def _signed(self, call: ToolCall) -> Part:
        state = self._call_states.get(call.id)
        return call if state is None else msgspec.structs.replace(call, state=state)


def reasoning_text(item: dict[str, Any]) -> str:
    """Give what of a reasoning item may be shown: its summary, or where there is none, the reasoning itself."""
    for name in ("summary", "content"):
        parts = item.get(name)
        texts = [part.get("text") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        text = "\n\n".join(text for text in texts if isinstance(text, str) and text)
        if text:
            return text
    return ""


_READERS: dict[str, Callable[[InputReader, dict[str, Any], str], None]] = {
    "message": InputReader._message_item,
    "reasoning": InputReader._reasoning,
    "function_call": InputReader._function_call,
    "function_call_output": InputReader._function_output,
    "custom_tool_call": InputReader._custom_call,
    "custom_tool_call_output": InputReader._custom_output,
    "tool_search_call": InputReader._search_call,
    "tool_search_output": InputReader._search_output,
    "item_reference": InputReader._refuse_reference,
    "compaction": InputReader._refuse_compaction,
    "compaction_summary": InputReader._refuse_compaction,
}
"""What reads an item, by its type."""
