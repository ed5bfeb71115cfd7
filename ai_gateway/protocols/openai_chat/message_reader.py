"""Reading the messages of a caller's request.

Source: the message types of OpenAI's chat completions reference; for reasoning see `states.py`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ai_gateway.errors import BadRequest
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import (
    CacheMark,
    Message,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from ai_gateway.protocols.jsontext import dumps_text
from ai_gateway.protocols.members import boolean, entry, mapping, path, required_mapping, required_text, sequence, text
from ai_gateway.protocols.openai_chat.content_reader import offset, read_content, read_mark, read_thinking_parts
from ai_gateway.protocols.openai_chat.states import (
    ENCRYPTED,
    FORMAT,
    TEXT_MEMBERS,
    detail_text,
    google_signature,
    opened_state,
    plain_text,
)
from ai_gateway.protocols.tool_ids import made_id


class MessageReader:
    """Reads the messages of one request, in order.

    It remembers the calls of the assistant's last turn: every one must be answered before anything else is said, and
    a result must answer one of them.
    """

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._unanswered: dict[str, int] = {}
        self._custom: set[str] = set()
        self._functions: dict[str, str] = {}
        self._turn = ""

    def read(self, value: dict[str, Any], at: str) -> Message:
        """Read one message."""
        role = required_text(value, "role", at)
        if role in ("tool", "function"):
            return self._result(value, role, at)
        self.finish()
        if role == "assistant":
            return self._assistant(value, at)
        if role in ("system", "developer"):
            return Message(role="system", parts=_marked(read_content(value, at), read_mark(value, at)), at=at)
        if role == "user":
            return Message(role="user", parts=_marked(read_content(value, at), read_mark(value, at)), at=at)
        raise BadRequest(
            f"Invalid value: '{role}'. Supported values are: 'system', 'developer', 'assistant', 'user', 'tool' and "
            "'function'.",
            param=path(at, "role"),
        )

    def finish(self) -> None:
        """Nothing answers the calls any more. Raises BadRequest if one of them has no answer."""
        missing = [call for call, number in self._unanswered.items() if number]
        if missing:
            raise BadRequest(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                "'tool_call_id'. The following tool_call_ids did not have response messages: " + ", ".join(missing),
                param=self._turn,
            )
        self._unanswered = {}

    def _result(self, value: dict[str, Any], role: str, at: str) -> Message:
        name = text(value, "name", at) or ""
        call_id = self._functions.get(name, "") if role == "function" else self._call_id(value, at)
        if not self._unanswered.get(call_id):
            raise BadRequest(
                f"Invalid parameter: messages with role '{role}' must be a response to a preceding message with "
                "'tool_calls'.",
                param=path(at, "role"),
            )
        self._unanswered[call_id] -= 1
        result = ToolResult(
            call_id=call_id,
            name=name,
            parts=read_content(value, at),
            is_error=boolean(value, "is_error", at),
            is_custom=call_id in self._custom,
            cache=read_mark(value, at),
            at=at,
        )
        return Message(role="user", parts=[result], at=at)

    def _call_id(self, value: dict[str, Any], at: str) -> str:
        call_id = text(value, "tool_call_id", at)
        if call_id is None:
            raise BadRequest(f"Missing required parameter: '{at}.tool_call_id'.", param=path(at, "tool_call_id"))
        return call_id

    def _assistant(self, value: dict[str, Any], at: str) -> Message:
        self._turn = at
        spoken = self._spoken(value, at)
        calls = self._calls(value, at)
        parts = arranged(self._reasoning(value, at), spoken, calls)
        return Message(role="assistant", parts=_marked(parts, read_mark(value, at)), at=at)

    def _spoken(self, value: dict[str, Any], at: str) -> list[Part]:
        parts = read_content(value, at)
        refusal = text(value, "refusal", at)
        if refusal:
            parts.append(Refusal(text=refusal, at=path(at, "refusal")))
        audio = mapping(value, "audio", at)
        if audio:
            parts.append(Opaque(format=FORMAT, value={"audio": audio}, at=path(at, "audio")))
        phase, state = text(value, "phase", at), opened_state(google_signature(value), self._carrier)
        for place in reversed(range(len(parts))):
            part = parts[place]
            if isinstance(part, Text):
                parts[place] = msgspec.structs.replace(part, phase=phase, state=state)
                break
        return parts

    def _calls(self, value: dict[str, Any], at: str) -> list[ToolCall]:
        calls: list[ToolCall] = []
        for place, given in enumerate(sequence(value, "tool_calls", at)):
            where = f"{at}.tool_calls[{place}]"
            calls.append(self._call(entry(given, where), where))
        function = mapping(value, "function_call", at)
        if function is not None:
            where = path(at, "function_call")
            name = required_text(function, "name", where)
            self._functions[name] = made_id("call_", at, name)
            calls.append(ToolCall(id=self._functions[name], name=name, arguments=_arguments(function, where), at=where))
        for call in calls:
            self._unanswered[call.id] = self._unanswered.get(call.id, 0) + 1
        return calls

    def _call(self, value: dict[str, Any], at: str) -> ToolCall:
        is_custom = value.get("type") == "custom"
        member = "custom" if is_custom else "function"
        where = path(at, member)
        function = required_mapping(value, member, at)
        call_id = text(value, "id", at) or ""
        if is_custom:
            self._custom.add(call_id)
        return ToolCall(
            id=call_id,
            name=required_text(function, "name", where),
            arguments=text(function, "input", where) or "" if is_custom else _arguments(function, where),
            is_custom=is_custom,
            state=opened_state(google_signature(value), self._carrier),
            cache=read_mark(value, at),
            at=at,
        )

    def _reasoning(self, value: dict[str, Any], at: str) -> list[tuple[tuple[int, int], Thinking]]:
        """Read the blocks of reasoning, each with where it stood."""
        blocks: list[tuple[tuple[int, int], Thinking]] = []
        for where, detail in merged_details(sequence(value, "reasoning_details", at), at):
            is_redacted = detail.get("type") == ENCRYPTED
            state = opened_state(detail.get("data" if is_redacted else "signature"), self._carrier)
            words = detail_text(detail)
            if words or state is not None:
                thinking = Thinking(text=words, state=state, is_redacted=is_redacted, at=where)
                blocks.append((offset(detail, where), thinking))
        words = plain_text(value) or read_thinking_parts(value, at)
        if words and not any(block.text for _, block in blocks):
            blocks.insert(0, ((0, 0), Thinking(text=words, at=path(at, "reasoning_content"))))
        return blocks


def merged_details(details: list[Any], at: str) -> list[tuple[str, dict[str, Any]]]:
    """Put the pieces of each block of reasoning together, which some clients keep as they came: pieces with the same
    index and type, one behind the other. Each block comes with where it begins."""
    merged: list[tuple[str, dict[str, Any]]] = []
    pieces: list[list[str]] = []  # Put together at the end, so that time is linear.
    for place, given in enumerate(details):
        where = f"{at}.reasoning_details[{place}]"
        detail = entry(given, where)
        last = merged[-1][1] if merged else {}
        is_same = all(detail.get(name) is not None and detail[name] == last.get(name) for name in ("index", "type"))
        if is_same:
            last.update((name, each) for name, each in detail.items() if each is not None and name not in TEXT_MEMBERS)
            pieces[-1].append(detail_text(detail))
        else:
            merged.append((where, {**detail}))
            pieces.append([detail_text(detail)])
    for (_, detail), texts in zip(merged, pieces, strict=True):
        if len(texts) > 1:
            detail["text"] = "".join(texts)
    return merged


def arranged(
    reasoning: list[tuple[tuple[int, int], Thinking]], spoken: list[Part], calls: list[ToolCall]
) -> list[Part]:
    """Put the parts of an answer in the order they came in: text is cut where reasoning stood inside it."""
    parts: list[Part] = []
    position, called = 0, 0
    place, begin = 0, 0  # The next of what was said, and how much of that is written already.
    for (characters, number), thinking in reasoning:
        while place < len(spoken) and position < characters:
            head = spoken[place]
            length = len(head.text) - begin if isinstance(head, Text) else 0
            if isinstance(head, Text) and position + length > characters:
                end = begin + characters - position
                parts.append(msgspec.structs.replace(head, text=head.text[begin:end], cache=None, state=None))
                position, begin = characters, end
                continue
            parts.append(_behind(head, begin))
            position += length
            place, begin = place + 1, 0
        parts += calls[called:number]
        called = max(called, number)
        parts.append(thinking)
    rest = [_behind(spoken[place], begin), *spoken[place + 1 :]] if place < len(spoken) else []
    return [*parts, *rest, *calls[called:]]


def _behind(part: Part, begin: int) -> Part:
    """Give what a part says behind its first characters."""
    return msgspec.structs.replace(part, text=part.text[begin:]) if begin and isinstance(part, Text) else part


def _arguments(function: dict[str, Any], at: str) -> str:
    """Take the arguments, which some clients send as an object."""
    value = function.get("arguments")
    return dumps_text(value) if isinstance(value, dict) else text(function, "arguments", at) or ""


def _marked(parts: list[Part], mark: CacheMark | None) -> list[Part]:
    """Put the mark of a whole message on its last part that can have one."""
    if mark is None:
        return parts
    for place in reversed(range(len(parts))):
        if "cache" in parts[place].__struct_fields__:
            marked = msgspec.structs.replace(parts[place], cache=mark)
            return [*parts[:place], marked, *parts[place + 1 :]]
    return parts
