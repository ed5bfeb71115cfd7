"""Writing the messages of a request for a provider.

Source: the message types of OpenAI's chat completions reference. What providers refuse (lists of parts, instructions
in the middle, media in the result of a tool) is in their capabilities.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.carrier import belongs_to
from ai_gateway.protocols.conversation import (
    Audio,
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
from ai_gateway.protocols.openai_chat.content_writer import PartWriter
from ai_gateway.protocols.openai_chat.states import DETAILS, FORMAT, SIGNATURE, google_extra, restored_details
from ai_gateway.protocols.openai_chat.tool_writer import ToolSet
from ai_gateway.protocols.tool_ids import with_ids
from ai_gateway.protocols.writing import result_text, untranslatable

IDS = re.compile(r"[!-~]{1,64}")
"""Ids of calls that OpenAI and its like take."""

BILLING_HEADER = "x-anthropic-billing-header:"
"""How Claude Code's first system block begins. It changes with every request and would spoil the prompt's cache."""


class MessageWriter:
    """Writes the messages of one request."""

    def __init__(self, request: Request, destination: Destination, tools: ToolSet) -> None:
        self._request = request
        self._destination = destination
        self._capabilities = destination.capabilities
        self._tools = tools
        self._parts = PartWriter(request, destination.capabilities, tools)
        self.dropped: list[str] = []
        """What was left out, by the place of it: what the model did with another provider's own tools, and the like."""

    def write(self, instruction: str = "") -> list[dict[str, Any]]:
        """Write the messages; `instruction` is put behind the operator's own."""
        messages = with_ids(self._request.messages, IDS, self._capabilities.tool_id_length)
        if not self._capabilities.mid_system:
            messages = sorted(messages, key=lambda message: message.role != "system")
        written: list[dict[str, Any]] = []
        for message in messages:
            written += WRITERS[message.role](self, message)
        if instruction:
            place = next((at for at, each in enumerate(written) if each["role"] != self._system_role), len(written))
            written.insert(place, {"role": self._system_role, "content": instruction})
        return self._begun(written)

    @property
    def _system_role(self) -> str:
        return self._capabilities.system_role

    def _begun(self, written: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Make the conversation begin with the user's turn, where it must."""
        if not self._capabilities.user_first:
            return written
        place = next((at for at, each in enumerate(written) if each["role"] != self._system_role), len(written))
        if place < len(written) and written[place]["role"] == "user":
            return written
        return [*written[:place], {"role": "user", "content": "."}, *written[place:]]

    def _system(self, message: Message) -> list[dict[str, Any]]:
        self.dropped += (part.at for part in message.parts if isinstance(part, Opaque))
        texts = [part for part in message.parts if isinstance(part, Text)]
        texts = [part for part in texts if part.text and not part.text.startswith(BILLING_HEADER)]
        return [{"role": self._system_role, "content": self._texts(texts, "\n\n")}] if texts else []

    def _texts(self, texts: Sequence[Text], separator: str) -> str | list[dict[str, Any]]:
        """Write texts as one string, or as a list of parts where that keeps more."""
        is_marked = self._capabilities.cache_marks and any(part.cache for part in texts)
        if self._capabilities.string_content or (len(texts) < 2 and not is_marked):
            return separator.join(part.text for part in texts)
        return [self._parts.text(part) for part in texts]

    def _user(self, message: Message) -> list[dict[str, Any]]:
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        rest = [part for part in message.parts if not isinstance(part, ToolResult)]
        written = [self._result(part) for part in results]
        media: list[Part] = []
        if not self._capabilities.result_media:
            media = [each for result in results for each in _shown_media(result)]
        content = self._user_content([*media, *rest])
        return [*written, {"role": "user", "content": content}] if content else written

    def _user_content(self, parts: Sequence[Part]) -> str | list[dict[str, Any]]:
        texts = [part for part in parts if isinstance(part, Text)]
        if len(texts) == len(parts):
            return self._texts([part for part in texts if part.text], "\n\n")
        return [self._parts.write(part) for part in parts if not (isinstance(part, Text) and not part.text)]

    def _result(self, result: ToolResult) -> dict[str, Any]:
        texts = [result_text(part) for part in result.parts if not isinstance(part, Image | File)]
        media = [part for part in result.parts if isinstance(part, Image | File)]
        content: Any = "\n".join(texts)
        if result.is_error and not content.lower().startswith("error"):
            content = f"Error: {content}"
        mark = self._tools.mark(result.cache)
        if media and self._capabilities.result_media:
            content = [{"type": "text", "text": content}] if content else []
            content += [self._parts.write(part) for part in media]
        elif media and not content:
            content = "[see the attached content below]"
        if mark and isinstance(content, str):
            content = [{"type": "text", "text": content, **mark}]
        return {"role": "tool", "tool_call_id": result.call_id, "content": content}

    def _assistant(self, message: Message) -> list[dict[str, Any]]:
        self._leave_out(message)
        texts = [part for part in message.parts if isinstance(part, Text) and part.text]
        calls = [part for part in message.parts if isinstance(part, ToolCall)]
        refusals = "".join(part.text for part in message.parts if isinstance(part, Refusal))
        written: dict[str, Any] = {"role": "assistant", "content": self._spoken(texts)}
        if refusals and self._capabilities.openai_hints:
            written["refusal"] = refusals
        elif refusals:
            written["content"] = self._spoken([*texts, Text(text=refusals)])
        if calls:
            written["tool_calls"] = [self._call(call) for call in calls]
        written |= self._reasoning(message, bool(calls)) | self._own(message, texts)
        if written["content"] is None and not calls and "refusal" not in written and "audio" not in written:
            return []
        return [written]

    def _leave_out(self, message: Message) -> None:
        """Note what the model did with tools that only another provider has, and refuse what it could not have said."""
        for part in message.parts:
            if isinstance(part, Opaque) and part.format != FORMAT:
                self.dropped.append(part.at)
            elif isinstance(part, Image | File | Audio):
                raise untranslatable(part)

    def _spoken(self, texts: Sequence[Text]) -> Any:
        if not texts:
            return None
        is_marked = self._capabilities.cache_marks and any(part.cache for part in texts)
        return self._texts(texts, "") if is_marked else "".join(part.text for part in texts)

    def _call(self, call: ToolCall) -> dict[str, Any]:
        written = self._tools.write_call(call)
        if call.state is not None and call.state.kind == SIGNATURE and belongs_to(call.state, self._destination):
            written["extra_content"] = google_extra(call.state.value)
        return written

    def _own(self, message: Message, texts: Sequence[Text]) -> dict[str, Any]:
        """Write what only this format has: Google's signature of a text, OpenAI's phase, sound that was said before."""
        own: dict[str, Any] = {}
        for text in texts:
            if text.state is not None and text.state.kind == SIGNATURE and belongs_to(text.state, self._destination):
                own["extra_content"] = google_extra(text.state.value)
            if text.phase and self._capabilities.openai_hints:
                own["phase"] = text.phase
        for part in message.parts:
            if isinstance(part, Opaque) and part.format == FORMAT:
                own |= part.value
        return own

    def _reasoning(self, message: Message, has_calls: bool) -> dict[str, Any]:
        """Write the reasoning of an earlier turn as the provider wants it back."""
        thinking = [part for part in message.parts if isinstance(part, Thinking)]
        text = "".join(part.text for part in thinking)
        if self._capabilities.reasoning_history == "reasoning_content":
            # DeepSeek refuses a turn with calls that has no such member; an empty one will do.
            return {"reasoning_content": text} if text or has_calls else {}
        if self._capabilities.reasoning_history != "reasoning_details":
            return {}
        details = [detail for part in thinking for detail in self._details(part)]
        if details:
            return {"reasoning_details": details}
        return {"reasoning": text} if text else {}

    def _details(self, part: Thinking) -> list[dict[str, Any]]:
        if part.state is None or part.state.kind != DETAILS or not belongs_to(part.state, self._destination):
            return []
        return restored_details(part, part.state)


WRITERS = {
    "system": MessageWriter._system,
    "user": MessageWriter._user,
    "assistant": MessageWriter._assistant,
}


def _shown_media(result: ToolResult) -> list[Part]:
    """Give the images and files of a result, with a word on whose they are, for the user's turn behind it."""
    media = [part for part in result.parts if isinstance(part, Image | File)]
    return [Text(text=f"This is the content that tool call {result.call_id} gave back:"), *media] if media else []
