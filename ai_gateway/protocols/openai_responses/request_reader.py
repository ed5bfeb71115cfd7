"""Reading a Responses request.

Source: "Create a model response" in OpenAI's API reference. Nothing is kept between two requests, so what refers to an
earlier one is refused as OpenAI refuses what it does not know.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.errors import BadRequest, Unsupported
from ai_gateway.protocols import members
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import OutputFormat, Reasoning, Request
from ai_gateway.protocols.openai_responses.message_reader import InputReader
from ai_gateway.protocols.openai_responses.namespaces import CallerNames
from ai_gateway.protocols.openai_responses.tool_reader import read_tool_choice, read_tools
from ai_gateway.protocols.protocol import Head

FORMAT = "openai_responses"

NAMES = {
    "output": "text.format",
    "verbosity": "text.verbosity",
    "reasoning": "reasoning",
    "session": "prompt_cache_key",
}
"""What callers of this format call the fields of a neutral request, where the names differ."""

READ = frozenset(
    [
        "model",
        "input",
        "instructions",
        "stream",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "max_output_tokens",
        "temperature",
        "top_p",
        "top_k",
        "text",
        "reasoning",
        "include",
        "top_logprobs",
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "service_tier",
        "metadata",
        "previous_response_id",
        "conversation",
        "background",
        "prompt",
        "store",
        "truncation",
        "stream_options",
    ]
)
"""The members that are read one by one. All others are hints."""

EXTRAS = {
    "thinking": "thinking",
    "output_config": "output_config",
    "anthropic_beta": "anthropic_beta",
    "container": "container",
    "mcp_servers": "mcp_servers",
    "cache_control": "cache_control",
    "safety_settings": "safetySettings",
    "cached_content": "cachedContent",
    "google": "google",
}
"""Members of Anthropic's and Google's formats that a caller puts in on purpose, and what that other format calls
them."""

LOGPROBS = "message.output_text.logprobs"
ENCRYPTED = "reasoning.encrypted_content"


class BelowMinimum(BadRequest):
    """A number is smaller than it may be."""

    code = "integer_below_min_value"


class PreviousResponseNotFound(BadRequest):
    """The request goes on from a response that is kept nowhere."""

    code = "previous_response_not_found"


def read_request(body: dict[str, Any], head: Head, carrier: Carrier) -> Request:
    """Read a request. Raises BadRequest naming the field."""
    _refuse_stored(body)
    caller_names = CallerNames(body)
    tools = read_tools(body)
    items = InputReader(caller_names, carrier)
    messages = items.read(body)
    include = _include(body)
    text, reasoning = members.object_in(body, "text"), members.object_in(body, "reasoning")
    top_logprobs = members.integer(body, "top_logprobs")
    user = "safety_identifier" if body.get("safety_identifier") is not None else "user"
    return Request(
        format=FORMAT,
        model=head.model,
        stream=head.stream,
        messages=messages,
        tools=tools.tools,
        tool_choice=read_tool_choice(body, caller_names),
        parallel_tool_calls=members.boolean(body, "parallel_tool_calls"),
        max_output_tokens=_limit(body),
        temperature=members.number(body, "temperature"),
        top_p=members.number(body, "top_p"),
        top_k=members.integer(body, "top_k"),
        logprobs=LOGPROBS in include or bool(top_logprobs),
        top_logprobs=top_logprobs,
        output=_output(text),
        reasoning=_reasoning(reasoning),
        verbosity=members.text(text, "verbosity", "text"),
        user=members.text(body, user),
        session=members.text(body, "prompt_cache_key"),
        service_tier=members.text(body, "service_tier"),
        metadata=_metadata(body),
        hints={**_hints(body, text, reasoning, include), **tools.needless, **items.left_out},
        extras={theirs: body[ours] for ours, theirs in EXTRAS.items() if body.get(ours) is not None},
        names={**NAMES, "user": user, "logprobs": "top_logprobs" if top_logprobs else "include"},
        source=body,
    )


def _refuse_stored(body: dict[str, Any]) -> None:
    """Refuse what needs a response that was kept, or one that is."""
    previous, conversation = body.get("previous_response_id"), body.get("conversation")
    if previous is not None:
        message = f"Previous response with id '{previous}' not found."
        raise PreviousResponseNotFound(message, param="previous_response_id")
    if conversation is not None:
        given = conversation.get("id") if isinstance(conversation, dict) else conversation
        raise BadRequest(f"Conversation with id '{given}' not found.", param="conversation")
    if body.get("background"):
        raise Unsupported("This model cannot answer in the background.", param="background")
    if body.get("prompt") is not None:
        raise Unsupported("Stored prompts are not supported for this model.", param="prompt")


def _include(body: dict[str, Any]) -> list[str]:
    return [entry for entry in members.sequence(body, "include") if isinstance(entry, str)]


def _limit(body: dict[str, Any]) -> int | None:
    limit = members.integer(body, "max_output_tokens")
    if limit is not None and limit < 1:
        raise BelowMinimum(
            f"Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 1, but got {limit}.",
            param="max_output_tokens",
        )
    return limit


def _output(text: dict[str, Any]) -> OutputFormat | None:
    """Read `text.format`; plain text is no format."""
    given = members.object_in(text, "format", "text")
    kind = members.text(given, "type", "text.format") or "text"
    if kind == "text":
        return None
    if kind == "json_object":
        return OutputFormat(kind="json_object")
    if kind != "json_schema":
        raise BadRequest(f"Invalid value: '{kind}'.", param="text.format.type")
    members.required(given.get("schema"), "schema", "text.format")
    return OutputFormat(
        kind="json_schema",
        name=members.text(given, "name", "text.format") or "",
        description=members.text(given, "description", "text.format") or "",
        schema=members.object_in(given, "schema", "text.format"),
        strict=members.boolean(given, "strict", "text.format"),
    )


def _reasoning(given: dict[str, Any]) -> Reasoning | None:
    """Read `reasoning`. To ask for a summary is to ask to see it; `generate_summary` is its older name."""
    effort = members.text(given, "effort", "reasoning")
    is_shown = True if given.get("summary") or given.get("generate_summary") else None
    return Reasoning(effort=effort, is_shown=is_shown) if effort is not None or is_shown else None


def _metadata(body: dict[str, Any]) -> dict[str, str] | None:
    given = members.object_in(body, "metadata")
    return {name: str(value) for name, value in given.items()} or None


def _hints(body: dict[str, Any], text: dict[str, Any], reasoning: dict[str, Any], include: list[str]) -> dict[str, Any]:
    """Collect what no field of a neutral request is for. What has no effect anyway is not among it."""
    hints = {
        name: value
        for name, value in body.items()
        if name not in READ and name not in EXTRAS and value not in (None, False, [], {})
    }
    if body.get("store"):
        hints["store"] = True
    if body.get("truncation") not in (None, "disabled"):
        hints["truncation"] = body["truncation"]
    if _wants_obfuscation(body):
        hints["stream_options.include_obfuscation"] = True
    if any(entry not in (LOGPROBS, ENCRYPTED) for entry in include):
        hints["include"] = include
    hints.update(_hints_below(reasoning, "reasoning", ("effort", "summary", "generate_summary")))
    hints.update(_hints_below(text, "text", ("format", "verbosity")))
    return hints


def _wants_obfuscation(body: dict[str, Any]) -> bool:
    return bool(members.object_in(body, "stream_options").get("include_obfuscation"))


def _hints_below(given: dict[str, Any], at: str, read: tuple[str, ...]) -> dict[str, Any]:
    return {f"{at}.{name}": value for name, value in given.items() if name not in read and value is not None}
