"""Reading the items of a whole answer, and its end.

Source: "The response object" and its output items in OpenAI's API reference for Responses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ai_gateway.protocols.conversation import Part, Refusal, State, Stop, Text, Thinking, ToolCall
from ai_gateway.protocols.jsontext import objects_in
from ai_gateway.protocols.openai_responses.citations import read_citations
from ai_gateway.protocols.openai_responses.message_reader import reasoning_text
from ai_gateway.protocols.openai_responses.states import ENCRYPTED, FORMAT
from ai_gateway.protocols.tool_ids import made_id

Item = dict[str, Any]

INCOMPLETE = {
    "max_output_tokens": Stop.MAX_TOKENS,
    "content_filter": Stop.FILTERED,
    "max_prompt_tokens": Stop.CONTEXT_FULL,
}
"""Why a response is incomplete; another reason is taken for a limit."""


def read_item(item: Item) -> list[Part]:
    """Read one item of an output. Tools that the provider ran itself are none of the caller's, and are skipped."""
    read = READERS.get(text_of(item, "type"))
    return read(item) if read else []


def _message(item: Item) -> list[Part]:
    content = item.get("content")
    phase = text_of(item, "phase") or None
    parts: list[Part] = []
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            continue
        if part.get("type") == "refusal" and text_of(part, "refusal"):
            parts.append(Refusal(text=text_of(part, "refusal")))
        elif text_of(part, "text"):
            citations, logprobs = read_citations(part.get("annotations")), read_logprobs(part)
            parts.append(Text(text=text_of(part, "text"), citations=citations, logprobs=logprobs, phase=phase))
    return parts


def _reasoning(item: Item) -> list[Part]:
    text, state = reasoning_text(item), read_state(item)
    return [Thinking(text=text, state=state)] if text or state is not None else []


def _function_call(item: Item) -> list[Part]:
    return [ToolCall(id=call_id(item), name=text_of(item, "name"), arguments=text_of(item, "arguments"))]


def _custom_call(item: Item) -> list[Part]:
    arguments = text_of(item, "input")
    return [ToolCall(id=call_id(item), name=text_of(item, "name"), arguments=arguments, is_custom=True)]


READERS: dict[str, Callable[[Item], list[Part]]] = {
    "message": _message,
    "reasoning": _reasoning,
    "function_call": _function_call,
    "custom_tool_call": _custom_call,
}


def read_state(item: Item) -> State | None:
    """Read the encrypted content of a reasoning item."""
    value = text_of(item, "encrypted_content")
    return State(format=FORMAT, kind=ENCRYPTED, value=value, id=text_of(item, "id")) if value else None


def read_logprobs(part: Item) -> list[dict[str, Any]] | None:
    """Read the probabilities of a text's tokens; None if there are none."""
    return objects_in(part.get("logprobs")) or None


def call_id(item: Item) -> str:
    """Give the id by which the result of a call refers to it."""
    return text_of(item, "call_id") or text_of(item, "id") or made_id("call_", text_of(item, "name"))


def text_of(item: Item, name: str) -> str:
    """Give a member that is a string; "" if it is none."""
    value = item.get(name)
    return value if isinstance(value, str) else ""


def read_stop(response: Item, has_calls: bool) -> Stop:
    """Tell why a response ended."""
    if response.get("status") == "incomplete":
        details = response.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        return INCOMPLETE.get(reason, Stop.MAX_TOKENS) if isinstance(reason, str) else Stop.MAX_TOKENS
    return Stop.TOOL_USE if has_calls else Stop.END


def output_of(response: Item) -> Iterable[Item]:
    """Give the items of a response."""
    output = response.get("output")
    return [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []


def created_of(response: Item) -> int | None:
    """Tell when a response was made; OpenAI's own type has a float for it."""
    created = response.get("created_at")
    return int(created) if isinstance(created, int | float) else None
