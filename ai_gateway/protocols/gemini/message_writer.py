"""Writing `contents`: the turns of a conversation for Google.

Google wants the results of all calls of a turn in one content, as many as there are calls and in their order, with
nothing else beside them. So the turns of one side are put together, and what the user says besides follows in contents
of its own. Source: "Function calling" and "Thought signatures" of the Gemini API's documentation.
"""

from __future__ import annotations

import re
import sys
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
from ai_gateway.protocols.tool_ids import with_ids
from ai_gateway.protocols.writing import result_text, untranslatable

Content = dict[str, Any]
PartDict = dict[str, Any]

ANY_ID = re.compile(r".+", re.DOTALL)
"""Google takes ids as they are."""

NO_CALL = (sys.maxsize, "")
"""Where a result stands that belongs to no call: behind all others."""


class ContentsWriter:
    """Writes the turns of one request."""

    def __init__(self, destination: Destination, names: ToolNames) -> None:
        self._destination = destination
        self._names = names
        self._called: dict[str, tuple[int, str]] = {}
        """The calls by their ids: their places in the conversation, and the names of the functions."""
        self._unnamed: set[str] = set()
        """The ids that were made up for calls without one: Google needs none."""
        self.dropped: list[str] = []
        """What of the parts was left out, by the place of it."""

    def write(self, messages: Iterable[Message]) -> list[Content]:
        """Write all turns but the system's. Turns that say nothing are left out."""
        contents: list[Content] = []
        spoken = self._with_ids([message for message in messages if message.role != "system"])
        for role, turns in groupby(spoken, key=lambda message: message.role):
            if role == "assistant":
                contents += _content("model", [part for turn in turns for part in self._model_parts(turn)])
            else:
                contents += self._user(list(turns))
        if contents and contents[0]["role"] == "model" and self._destination.capabilities.user_first:
            contents.insert(0, {"role": "user", "parts": [{"text": "."}]})
        if needs_signatures(self._destination):
            _sign_current_turn(contents)
        return contents

    def _with_ids(self, messages: list[Message]) -> list[Message]:
        """Tell calls apart that have the same id, or none, and their results with them: the results say by it which
        function they are of."""
        numbered = with_ids(messages, ANY_ID)
        for before, after in zip(messages, numbered, strict=True):
            for given, call in zip(before.parts, after.parts, strict=True):
                if isinstance(given, ToolCall) and isinstance(call, ToolCall) and not given.id:
                    self._unnamed.add(call.id)
        return numbered

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
        self._called[call.id] = (len(self._called), call.name)
        args = {"input": call.arguments} if call.is_custom else arguments_object(call.arguments)
        written = {"name": self._names.sent(call.name), "args": args}
        return {"functionCall": {**written, **self._id(call.id)}}

    def _id(self, call_id: str) -> PartDict:
        return {} if call_id in self._unnamed else {"id": call_id}

    # The user's turns.

    def _user(self, turns: list[Message]) -> Iterable[Content]:
        """Write turns of the user's side that follow each other: all results first, in the order of their calls."""
        results = [part for turn in turns for part in turn.parts if isinstance(part, ToolResult)]
        results.sort(key=lambda result: self._called.get(result.call_id, NO_CALL))
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
        name = result.name or self._called.get(result.call_id, NO_CALL)[1]
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
        response |= self._id(result.call_id) if result.call_id else {}
        if not media or self._destination.capabilities.result_media:
            return {"functionResponse": {**response, "parts": media} if media else response}, []
        return {"functionResponse": response}, [{"text": f"The tool result of {name} has:"}, *media]


def _content(role: str, parts: Iterable[PartDict]) -> list[Content]:
    """Write one content. One without parts is refused, and says nothing."""
    given = list(parts)
    return [{"role": role, "parts": given}] if given else []


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
