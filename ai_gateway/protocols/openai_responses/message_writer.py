"""Writing a conversation as input items.

Ids of items are left out: with `store: false` nothing is looked up by them, and a reasoning item is found by what it
holds. What the model thought goes only in front of what followed from it: OpenAI refuses a reasoning item without the
item that it belongs to. Source: "Reasoning models" and "Conversation state" in OpenAI's documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ai_gateway.errors import Unsupported
from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.carrier import belongs_to
from ai_gateway.protocols.conversation import (
    File,
    Image,
    Message,
    Opaque,
    Part,
    Refusal,
    Request,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from ai_gateway.protocols.jsontext import dumps_text
from ai_gateway.protocols.openai_responses.content_writer import ContentWriter, input_text
from ai_gateway.protocols.openai_responses.tool_writer import ToolNames
from ai_gateway.protocols.tool_ids import with_ids
from ai_gateway.protocols.writing import result_text

FORMAT = "openai_responses"

Item = dict[str, Any]


class InputWriter:
    """Writes the conversation of one request."""

    def __init__(self, request: Request, destination: Destination, names: ToolNames) -> None:
        self._request = request
        self._destination = destination
        self._capabilities = destination.capabilities
        self._names = names
        self._content = ContentWriter(self._capabilities, request.format)
        self._thoughts: list[Item] = []
        self.dropped: list[str] = []
        """What was left out, by the place of it: what the model did with another provider's own tools, and the like."""

    def write(self) -> list[Item]:
        """Write all items."""
        messages = with_ids(self._request.messages, exact_length=self._capabilities.tool_id_length)
        items: list[Item] = []
        for message in self._ordered(messages):
            if message.role != "assistant":
                self._thoughts = []
            items += self._message(message)
        if self._capabilities.user_first and _begins_without_user(items):
            items.insert(_first_turn(items), {"role": "user", "content": "."})
        return items

    def _ordered(self, messages: list[Message]) -> list[Message]:
        """Put instructions to the front for models that take none in the middle."""
        if self._capabilities.mid_system:
            return messages
        return sorted(messages, key=lambda message: message.role != "system")

    def _message(self, message: Message) -> Iterable[Item]:
        if message.role == "system":
            return self._spoken(self._capabilities.system_role, self._instructions(message.parts))
        if message.role == "user":
            return self._user(message.parts)
        return self._assistant(message.parts)

    def _instructions(self, parts: list[Part]) -> list[Part]:
        """Leave out what an operator tells another provider's machinery, as which tools there are from now on."""
        self.dropped += (part.at for part in parts if isinstance(part, Opaque))
        return [part for part in parts if not isinstance(part, Opaque)]

    def _spoken(self, role: str, parts: list[Part]) -> list[Item]:
        """Write a message of the operator's or the user's; none if nothing is in it. A user who said nothing did so."""
        content = self._content.write(parts)
        if not content:
            return [{"role": role, "content": ""}] if parts and role == "user" else []
        is_text = all(part["type"] == "input_text" for part in content)
        if is_text and (len(content) == 1 or (self._capabilities.string_content and role != "user")):
            return [{"role": role, "content": "\n\n".join(part["text"] for part in content)}]
        return [{"role": role, "content": content}]

    def _user(self, parts: list[Part]) -> list[Item]:
        """Write a user's turn: the results of tools first, then what else is in it."""
        results = [part for part in parts if isinstance(part, ToolResult)]
        said: list[Part] = []
        items = []
        for result in results:
            items.append(self._result(result))
            if not self._capabilities.result_media:
                said += _shown_below(result)
        said += [part for part in parts if not isinstance(part, ToolResult)]
        return items + self._spoken("user", said)

    def _result(self, result: ToolResult) -> Item:
        is_custom = result.is_custom and self._capabilities.custom_tools
        kind = "custom_tool_call_output" if is_custom else "function_call_output"
        return {"type": kind, "call_id": result.call_id, "output": self._output(result)}

    def _output(self, result: ToolResult) -> str | list[Item]:
        media = [part for part in result.parts if isinstance(part, Image | File)]
        texts = [result_text(part) for part in result.parts if not isinstance(part, Image | File)]
        text = "\n".join(text for text in texts if text)
        if result.is_error and not text.lower().startswith("error"):
            text = f"Error: {text}"
        if media and self._capabilities.result_media:
            return [*([input_text(text)] if text else ()), *self._content.write(media)]
        return text or (BELOW if media else "")

    def _assistant(self, parts: list[Part]) -> Iterator[Item]:
        """Write a turn of the model's, part by part; texts that follow each other are one message."""
        texts: list[Text | Refusal] = []
        for part in parts:
            if isinstance(part, Text | Refusal):
                if texts and _phase(texts[-1]) != _phase(part):
                    yield from self._followed(_said(texts, self._capabilities.string_content))
                    texts = []
                texts.append(part)
                continue
            yield from self._followed(_said(texts, self._capabilities.string_content))
            texts = []
            if isinstance(part, Thinking):
                self._think(part)
            else:
                yield from self._followed(self._other(part))
        yield from self._followed(_said(texts, self._capabilities.string_content))

    def _followed(self, item: Item | None) -> Iterator[Item]:
        """Give an item with the reasoning that it followed from before it."""
        if item is not None:
            yield from self._thoughts
            self._thoughts = []
            yield item

    def _think(self, thinking: Thinking) -> None:
        state = thinking.state
        if state is not None and belongs_to(state, self._destination):
            summary = [{"type": "summary_text", "text": thinking.text}] if thinking.text else []
            self._thoughts.append({"type": "reasoning", "summary": summary, "encrypted_content": state.value})
        elif self._capabilities.reasoning_history != "drop" and thinking.text:
            content = [{"type": "reasoning_text", "text": thinking.text}]
            self._thoughts.append({"type": "reasoning", "summary": [], "content": content})

    def _other(self, part: Part) -> Item | None:
        if isinstance(part, ToolCall):
            return self._call(part)
        if isinstance(part, Image | File):
            raise Unsupported("An image or a file cannot be what the model said.", param=part.at)
        if isinstance(part, Opaque) and part.format == FORMAT:
            return part.value
        self.dropped.append(part.at)
        return None

    def _call(self, call: ToolCall) -> Item:
        name = self._names.sent(call.name)
        if call.is_custom and self._capabilities.custom_tools:
            return {"type": "custom_tool_call", "call_id": call.id, "name": name, "input": call.arguments}
        arguments = dumps_text({"input": call.arguments}) if call.is_custom else call.arguments
        return {"type": "function_call", "call_id": call.id, "name": name, "arguments": arguments or "{}"}


BELOW = "[see the attached file below]"
"""What the result of a tool says that consists of images or files only, where it may hold text only."""


def _shown_below(result: ToolResult) -> list[Part]:
    """Give the images and files of a result, and the words that say whose they are."""
    media: list[Part] = [part for part in result.parts if isinstance(part, Image | File)]
    return [Text(text=f"The result of the tool call {result.call_id}:"), *media] if media else []


def _phase(part: Text | Refusal) -> str | None:
    return part.phase if isinstance(part, Text) else None


def _said(texts: list[Text | Refusal], as_string: bool) -> Item | None:
    """Write what the model said as one message; None if it said nothing."""
    said = [part for part in texts if part.text]
    if not said:
        return None
    item: Item = {"type": "message", "role": "assistant"}
    if as_string:
        item["content"] = "".join(part.text for part in said)
    else:
        item["content"] = [_output_part(part) for part in said]
    phase = _phase(said[0])
    return item if phase is None else {**item, "phase": phase}


def _output_part(part: Text | Refusal) -> Item:
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    return {"type": "output_text", "text": part.text}


def _first_turn(items: list[Item]) -> int:
    """Tell where the instructions at the beginning end."""
    roles = [item.get("role") for item in items]
    return next((index for index, role in enumerate(roles) if role not in ("system", "developer")), len(items))


def _begins_without_user(items: list[Item]) -> bool:
    first = _first_turn(items)
    return first == len(items) or items[first].get("role") != "user"
