"""Reading `contents`: the turns of a conversation, as a caller of Google's format writes them.

Clients keep an answer as it was streamed, so one turn may come in many pieces; those are put together again. Calls and
their results may have no ids and then belong together by name and order. Source: `Content` and `Part` of the Gemini
API's reference.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any

import msgspec

from ai_gateway.errors import BadRequest
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import (
    Audio,
    File,
    Image,
    Message,
    Opaque,
    Part,
    Role,
    State,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from ai_gateway.protocols.gemini.spelling import each, members
from ai_gateway.protocols.gemini.states import FORMAT, read_carried, read_thought
from ai_gateway.protocols.jsontext import arguments_text, dumps_text
from ai_gateway.protocols.media import AUDIO_TYPES
from ai_gateway.protocols.members import text_at

ROLES: dict[str, Role] = {"": "user", "user": "user", "function": "user", "model": "assistant"}
"""What a role means. Without one, and with the older `function`, it is the user's turn."""

STORED_AT_GOOGLE = ("https://generativelanguage.googleapis.com/", "gs://")
"""How the addresses begin of files that were uploaded to Google."""

AUDIO_FORMATS = {
    **{media_type: name for name, media_type in AUDIO_TYPES.items()},
    "audio/mpeg": "mp3",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
}

OUTPUTS = ("result", "output")
"""Keys under which plain text stands in the response of a function: Google's documentation and its SDKs use both."""


def read_contents(value: object, at: str, carrier: Carrier) -> list[Message]:
    """Read all turns. Raises BadRequest naming the place of what is malformed."""
    if isinstance(value, str):
        return [Message(role="user", parts=[Text(text=value, at=at)], at=at)]
    reader = _Contents(carrier)
    for place, content in each(value, at):
        reader.add(content, place)
    reader.settle()
    return reader.messages


def read_instruction(value: object, at: str) -> list[Message]:
    """Read `systemInstruction`: a content, one part or a string. Blank text is nothing."""
    if value is None:
        return []
    if isinstance(value, str):
        value = {"parts": [{"text": value}]}
    given = members(value, at)
    places = [(at, value)] if "text" in given else each(given.get("parts"), f"{at}.parts")
    parts: list[Part] = []
    for place, part in places:
        text = members(part, place).get("text")
        if text is None:
            raise BadRequest("The system instruction may hold text only.", param=place)
        if text_at(text, f"{place}.text").strip():
            parts.append(Text(text=text, at=place))
    return [Message(role="system", parts=parts, at=at)] if parts else []


class _Contents:
    """Reads the turns one after the other; knows which calls wait for their results."""

    def __init__(self, carrier: Carrier) -> None:
        self.messages: list[Message] = []
        self._carrier = carrier
        self._pieces: list[str] = []
        self._waiting = WaitingCalls()
        self._calls = 0

    def add(self, content: object, at: str) -> None:
        """Read one content. One of the model continues the one before it."""
        if isinstance(content, str):
            content = {"parts": [{"text": content}]}
        given = members(content, at)
        named = given.get("role", "user")
        role = ROLES.get(named) if isinstance(named, str) else None
        if role is None:
            raise BadRequest("The role of a content must be user or model.", param=f"{at}.role")
        before = self.messages[-1] if self.messages else None
        if role == "user" or before is None or before.role != role:
            self.settle()
            self._calls = 0
            before = Message(role=role, parts=[], at=at)
            self.messages.append(before)
        if role == "assistant" and not before.parts:
            self._waiting = WaitingCalls()
        for place, part in each(given.get("parts"), f"{at}.parts"):
            self._read(members(part, place), role, place, before.parts)

    def _read(self, part: dict[str, Any], role: Role, at: str, parts: list[Part]) -> None:
        """Read a part and put it to those of its turn."""
        state, thoughts = read_carried(part.get("thoughtSignature"), self._carrier)
        if thoughts or "text" not in part:
            self.settle()
            take_out_shown(parts, thoughts)
            parts += thoughts
        if "text" in part:
            self._text(part, text_at(part["text"], f"{at}.text"), state, role, at, parts)
        elif "functionCall" in part:
            parts.append(self._call(members(part["functionCall"], f"{at}.functionCall"), state, at))
        elif "functionResponse" in part:
            parts.append(self._result(members(part["functionResponse"], f"{at}.functionResponse"), at))
        elif "inlineData" in part:
            parts.append(read_blob(members(part["inlineData"], f"{at}.inlineData"), f"{at}.inlineData"))
        elif "fileData" in part:
            parts.append(read_file(members(part["fileData"], f"{at}.fileData"), f"{at}.fileData"))
        elif part.keys() - {"thought", "thoughtSignature"}:
            value = {name: member for name, member in part.items() if name != "thoughtSignature"}
            parts.append(Opaque(format=FORMAT, value=value, at=at))

    def _call(self, call: dict[str, Any], state: State | None, at: str) -> ToolCall:
        name = text_at(call.get("name"), f"{at}.functionCall.name")
        args = call.get("args") or {}
        if not isinstance(args, dict):
            raise BadRequest("The arguments of a call must be an object.", param=f"{at}.functionCall.args")
        self._calls += 1
        call_id = text_at(call.get("id") or "", f"{at}.functionCall.id")
        call_id = call_id or f"call_{len(self.messages)}_{self._calls}"
        self._waiting.add(call_id, name)
        return ToolCall(id=call_id, name=name, arguments=arguments_text(args), state=state, at=at)

    def _result(self, response: dict[str, Any], at: str) -> ToolResult:
        name = text_at(response.get("name") or "", f"{at}.functionResponse.name")
        call_id = self._waiting.answered(text_at(response.get("id") or "", f"{at}.functionResponse.id"), name)
        if not call_id:
            raise BadRequest("This answers no call of the turn before it.", param=f"{at}.functionResponse")
        parts, is_error = _output(response.get("response"), f"{at}.functionResponse.response")
        for place, part in each(response.get("parts"), f"{at}.functionResponse.parts"):
            given = members(part, place)
            if "inlineData" in given:
                parts.append(read_blob(members(given["inlineData"], place), place))
            elif "fileData" in given:
                parts.append(read_file(members(given["fileData"], place), place))
        return ToolResult(
            call_id=call_id, name=name or self._waiting.name_of(call_id), parts=parts, is_error=is_error, at=at
        )

    def _text(
        self, part: dict[str, Any], text: str, state: State | None, role: Role, at: str, parts: list[Part]
    ) -> None:
        """Put a text, or a thought, to its turn. In a turn of the model a piece continues the piece before it, up to
        one that has a state; an empty piece with a state signs what is before it."""
        is_thought = bool(part.get("thought")) or (not text and state is not None and not _continues(parts, Text))
        if role == "assistant" and _continues(parts, Thinking if is_thought else Text):
            self._pieces.append(text)
            if state is not None:
                self.settle(state)
            return
        self.settle()
        if is_thought and (text or state is not None):
            parts.append(read_thought(text, state, at))
        elif text:
            parts.append(Text(text=text, state=state, at=at))

    def settle(self, state: State | None = None) -> None:
        """Put the pieces of the last part together. They are kept until then, so that time is linear."""
        if not self._pieces:
            return
        parts = self.messages[-1].parts
        last = parts[-1]
        assert isinstance(last, Text | Thinking)
        parts[-1] = msgspec.structs.replace(last, text="".join((last.text, *self._pieces)), state=state)
        self._pieces = []


def take_out_shown(parts: list[Part], thoughts: list[Thinking]) -> None:
    """Take out what a caller was shown of thoughts, if it sends that back besides the thoughts themselves."""
    shown = parts[-1] if thoughts and parts else None
    if isinstance(shown, Thinking) and shown.state is None and shown.text == "".join(each.text for each in thoughts):
        parts.pop()


class WaitingCalls:
    """The calls of one turn, until each has its result. Every look-up takes the same time, however many there are."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._waiting: set[str] = set()
        self._in_order: dict[str, deque[str]] = defaultdict(deque)

    def add(self, call_id: str, name: str) -> None:
        """A call was made."""
        self._names[call_id] = name
        self._waiting.add(call_id)
        for key in ("", name):
            self._in_order[key].append(call_id)

    def name_of(self, call_id: str) -> str:
        """Tell the name of the function that was called."""
        return self._names.get(call_id, "")

    def answered(self, call_id: str, name: str) -> str:
        """Tell which call is answered: the one with the id; else the first of the name that waits, or, for a result
        without a name, the first that waits. An id that no call has is taken at its word; "" is no call at all."""
        if call_id not in self._names:
            order = self._in_order[name]
            while order and order[0] not in self._waiting:
                order.popleft()
            call_id = order.popleft() if order else call_id
        self._waiting.discard(call_id)
        return call_id


def _continues(parts: list[Part], kind: type[Text] | type[Thinking]) -> bool:
    """Whether the last part is one of this kind that goes on: a text or thought without a state."""
    before = parts[-1] if parts else None
    return isinstance(before, kind) and before.state is None and bool(before.text)


def _output(response: object, at: str) -> tuple[list[Part], bool | None]:
    """Read the response of a function: its text, and whether it is an error. Plain text stands under one key, an error
    under `error`; everything else is passed on as JSON."""
    if response is None:
        return [], None
    if not isinstance(response, dict):
        raise BadRequest("The response of a function must be an object.", param=at)
    if response.keys() == {"error"}:
        error = response["error"]
        return [Text(text=error if isinstance(error, str) else dumps_text(error), at=at)], True
    if len(response) == 1:
        for key in OUTPUTS:
            if isinstance(response.get(key), str):
                return [Text(text=response[key], at=at)], None
    return ([Text(text=dumps_text(response), at=at)] if response else []), None


def read_blob(blob: dict[str, Any], at: str) -> Part:
    """Read `inlineData`. Google takes both alphabets of base64, others only the usual one."""
    media_type = text_at(blob.get("mimeType"), f"{at}.mimeType").lower()
    data = text_at(blob.get("data"), f"{at}.data").replace("-", "+").replace("_", "/")
    data += "=" * (-len(data) % 4)
    name = text_at(blob.get("displayName") or "", f"{at}.displayName")
    main = media_type.partition(";")[0].strip()
    if main.startswith("image/"):
        return Image(data=data, media_type=main, at=at)
    if main.startswith("audio/"):
        return Audio(data=data, format=AUDIO_FORMATS.get(main, main.removeprefix("audio/")), at=at)
    return File(data=data, media_type=main, name=name, at=at)


def read_file(file: dict[str, Any], at: str) -> Part:
    """Read `fileData`: the address of something on the web, or at Google."""
    url = text_at(file.get("fileUri"), f"{at}.fileUri")
    media_type = text_at(file.get("mimeType") or "", f"{at}.mimeType").lower()
    name = text_at(file.get("displayName") or "", f"{at}.displayName")
    # What is stored at Google, nobody else can fetch.
    file_id, url = (url, "") if url.startswith(STORED_AT_GOOGLE) else ("", url)
    if media_type.startswith("image/"):
        return Image(media_type=media_type, at=at, file_id=file_id, url=url)
    return File(media_type=media_type, name=name, at=at, file_id=file_id, url=url)
