"""Writing `contents`: the turns of a conversation for Google.

Google wants the results of all calls of a turn in one content, as many as there are calls and in their order, with
nothing else beside them. So the turns of one side are put together, and what the user says besides follows in contents
of its own. Source: "Function calling" and "Thought signatures" of the Gemini API's documentation.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from ai_gateway.errors import BadRequest
from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.conversation import (
    Audio,
    File,
    Image,
    Message,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from ai_gateway.protocols.gemini.content_writer import write_media
from ai_gateway.protocols.gemini.states import BYPASS, FORMAT, needs_signatures, restored
from ai_gateway.protocols.gemini.tool_names import ToolNames
from ai_gateway.protocols.jsontext import arguments_object, loads
from ai_gateway.protocols.writing import result_text, untranslatable

Content = dict[str, Any]
PartDict = dict[str, Any]


class ContentsWriter:
    """Writes the turns of one request."""

    def __init__(self, destination: Destination, names: ToolNames) -> None:
        self._destination = destination
        self._names = names
        self._called: dict[str, str] = {}
        self.dropped: list[str] = []
        """What of the parts was left out, by the place of it."""

    def write(self, messages: Iterable[Message]) -> list[Content]:
        """Write all turns but the system's. Turns that say nothing are left out."""
        contents: list[Content] = []
        spoken = [message for message in messages if message.role != "system"]
        for role, turns in groupby(spoken, key=lambda message: message.role):
            if role == "assistant":
                contents += _content("model", [part for turn in turns for part in self._model_parts(turn)])
            else:
                contents += self._user(list(turns), contents[-1] if contents else {})
        if contents and contents[0]["role"] == "model" and self._destination.capabilities.user_first:
            contents.insert(0, {"role": "user", "parts": [{"text": "."}]})
        if needs_signatures(self._destination):
            _sign_current_turn(contents)
        return contents

    # The model's turns.

    def _model_parts(self, message: Message) -> Iterable[PartDict]:
        for part in message.parts:
            written = self._model_part(part)
            if written is not None:
                yield written

    def _model_part(self, part: Part) -> PartDict | None:
        if isinstance(part, ToolCall):
            return self._signed(self._call(part), part)
        if isinstance(part, Text):
            return self._signed({"text": part.text}, part) if part.text or part.state else None
        if isinstance(part, Refusal):
            return {"text": part.text} if part.text else None
        if isinstance(part, Thinking):
            return self._thought(part)
        if isinstance(part, Opaque) and part.format != FORMAT:
            self.dropped.append(part.at)
            return None
        if isinstance(part, Opaque):
            return part.value
        return write_media(part, self._destination, self.dropped)

    def _signed(self, written: PartDict, part: Text | ToolCall) -> PartDict | None:
        """Put the part's signature to it. A text that is empty and has none is nothing."""
        signature = restored(part.state, self._destination)
        if signature is not None:
            return {**written, "thoughtSignature": signature}
        return written if written.get("text") != "" else None

    def _thought(self, part: Thinking) -> PartDict | None:
        """Only what is signed is worth sending back. What has no words was an empty text with a signature."""
        signature = restored(part.state, self._destination)
        if signature is None:
            return None
        if not part.text:
            return {"text": "", "thoughtSignature": signature}
        return {"text": part.text, "thought": True, "thoughtSignature": signature}

    def _call(self, call: ToolCall) -> PartDict:
        self._called[call.id] = call.name
        args = {"input": call.arguments} if call.is_custom else arguments_object(call.arguments)
        written = {"name": self._names.sent(call.name), "args": args}
        return {"functionCall": {**written, "id": call.id} if call.id else written}

    # The user's turns.

    def _user(self, turns: list[Message], before: Content) -> Iterable[Content]:
        """Write turns of the user's side that follow each other: all results first, in the order of their calls."""
        results = [part for turn in turns for part in turn.parts if isinstance(part, ToolResult)]
        order = _call_ids(before)
        results.sort(key=lambda result: order.get(result.call_id, len(order)))
        responses, media = [], []
        for result in results:
            response, others = self._result(result)
            responses.append(response)
            media += others
        yield from _content("user", responses)
        yield from _content("user", media)
        for turn in turns:
            parts = [self._user_part(part) for part in turn.parts if not isinstance(part, ToolResult)]
            yield from _content("user", [part for part in parts if part is not None])

    def _user_part(self, part: Part) -> PartDict | None:
        if isinstance(part, Text | Refusal):
            return {"text": part.text} if part.text else None
        if isinstance(part, Opaque) and part.format != FORMAT:
            raise untranslatable(part)
        if isinstance(part, Opaque):
            return part.value
        return write_media(part, self._destination, self.dropped)

    def _result(self, result: ToolResult) -> tuple[PartDict, list[PartDict]]:
        """Write a result: the response, and what must stand in a content behind it, as the model takes no pictures and
        files in the response itself."""
        name = result.name or self._called.get(result.call_id, "")
        if not name:
            raise BadRequest(f"The tool result for '{result.call_id}' follows no call of that id.", param=result.at)
        texts = [result_text(part) for part in result.parts if not isinstance(part, Image | File | Audio)]
        media = [
            written
            for part in result.parts
            if isinstance(part, Image | File | Audio)
            and (written := write_media(part, self._destination, self.dropped)) is not None
        ]
        response: PartDict = {"name": self._names.sent(name), "response": _response(texts, result.is_error)}
        if result.call_id:
            response["id"] = result.call_id
        if not media or self._destination.capabilities.result_media:
            return {"functionResponse": {**response, "parts": media} if media else response}, []
        return {"functionResponse": response}, [{"text": f"The tool result of {name} has:"}, *media]


def _content(role: str, parts: Iterable[PartDict]) -> list[Content]:
    """Write one content. One without parts is refused, and says nothing."""
    given = list(parts)
    return [{"role": role, "parts": given}] if given else []


def _call_ids(content: Content) -> dict[str, int]:
    """Tell the order of the calls in a content, by their ids."""
    calls = [part["functionCall"] for part in content.get("parts", ()) if "functionCall" in part]
    return {call["id"]: place for place, call in enumerate(calls) if "id" in call}


def _response(texts: list[str], is_error: bool | None) -> dict[str, Any]:
    """Write the text of a result as the object that Google wants: a JSON object as it is, unless it looks like the
    object that stands for plain text or for an error."""
    text = "\n".join(texts)
    if is_error:
        return {"error": text}
    if not text:
        return {}
    try:
        value = loads(text) if text.lstrip()[:1] == "{" else None
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict) and not value.keys() <= {"result", "output", "error"}:
        return value
    return {"result": text}


def _sign_current_turn(contents: list[Content]) -> None:
    """Put Google's own stand-in where a signature is needed and missing: on the first call of each of the model's turns
    since the user last said something."""
    for content in reversed(contents):
        if content["role"] == "user" and any("functionResponse" not in part for part in content["parts"]):
            return
        for place, part in enumerate(content["parts"]):
            if "functionCall" in part:
                content["parts"][place] = {"thoughtSignature": BYPASS, **part}
                break
