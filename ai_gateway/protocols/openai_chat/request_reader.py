"""Reading a caller's request.

Source: the parameters of OpenAI's chat completions reference, and what clients of compatible providers add to them.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.errors import BadRequest, Unsupported
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import OutputFormat, Request
from ai_gateway.protocols.members import (
    boolean,
    entry,
    integer,
    mapping,
    number,
    path,
    required_mapping,
    sequence,
    text,
    wrong_type,
)
from ai_gateway.protocols.openai_chat.content_reader import read_mark
from ai_gateway.protocols.openai_chat.message_reader import MessageReader
from ai_gateway.protocols.openai_chat.reasoning_reader import google_members, read_reasoning
from ai_gateway.protocols.openai_chat.states import FORMAT
from ai_gateway.protocols.openai_chat.tool_reader import read_choice, read_tools
from ai_gateway.protocols.protocol import Head

SCALARS = {
    "temperature": ("temperature", number),
    "top_p": ("top_p", number),
    "top_k": ("top_k", integer),
    "seed": ("seed", integer),
    "random_seed": ("seed", integer),
    "frequency_penalty": ("frequency_penalty", number),
    "presence_penalty": ("presence_penalty", number),
    "n": ("count", integer),
    "top_logprobs": ("top_logprobs", integer),
    "parallel_tool_calls": ("parallel_tool_calls", boolean),
    "verbosity": ("verbosity", text),
    "service_tier": ("service_tier", text),
    "prompt_cache_key": ("session", text),
    "user": ("user", text),
    "safety_identifier": ("user", text),
    "max_tokens": ("max_output_tokens", integer),
    "max_completion_tokens": ("max_output_tokens", integer),
}
"""Members that are one value: the field that each is, and how it is taken. Of two with the same field the later wins.
`random_seed` is Mistral's."""

STRUCTURED = frozenset(
    (
        *("model", "messages", "stream", "stream_options", "tools", "tool_choice", "functions", "function_call"),
        *("stop", "response_format", "logprobs", "reasoning_effort", "reasoning", "include_reasoning", "metadata"),
        *("cache_control", "modalities", "audio", "web_search_options", "google", "extra_body"),
    )
)
"""Members that are read one by one."""

EXTRAS = {
    "thinking": "thinking",
    "output_config": "output_config",
    "cache_control": "cache_control",
    "container": "container",
    "mcp_servers": "mcp_servers",
    "anthropic_beta": "anthropic_beta",
    "context_management": "context_management",
    "speed": "speed",
    "inference_geo": "inference_geo",
    "safety_settings": "safetySettings",
    "safetySettings": "safetySettings",
    "cached_content": "cachedContent",
    "cachedContent": "cachedContent",
}
"""Members of other formats that callers put into chat bodies on purpose, and what that other format calls them."""

NEUTRAL: dict[str, Any] = {"store": False}
"""Values of members that ask for nothing."""


def read_request(body: dict[str, Any], head: Head, carrier: Carrier) -> Request:
    """Read a request. Raises BadRequest naming the member that is wrong."""
    _refuse_audio(body)
    names: dict[str, str] = {}
    fields = _scalars(body, names)
    tools, choice, uses_functions = read_tools(body), read_choice(body), bool(body.get("functions"))
    names |= {"tools": "functions", "tool_choice": "function_call"} if uses_functions else {}
    # The older form has room for one call.
    fields |= {"parallel_tool_calls": False} if uses_functions else {}
    names |= {"output": "response_format", "cache": "cache_control"}
    stream = boolean(body, "stream")
    options = mapping(body, "stream_options") or {}
    return Request(
        format=FORMAT,
        model=text(body, "model") or head.model,
        messages=_messages(body, carrier),
        stream=head.stream if stream is None else stream,
        tools=tools,
        tool_choice=choice,
        stop=_stop(body),
        logprobs=boolean(body, "logprobs") or False,
        output=_output(body),
        reasoning=read_reasoning(body, names),
        metadata=_metadata(body),
        cache=read_mark({"cache_control": body.get("cache_control")}),
        includes_usage=boolean(options, "include_usage", "stream_options") or False,
        uses_functions=uses_functions,
        hints=_hints(body),
        extras=_extras(body),
        names=names,
        source=body,
        **fields,
    )


def _refuse_audio(body: dict[str, Any]) -> None:
    """An answer in sound cannot be translated."""
    if "audio" in sequence(body, "modalities"):
        raise Unsupported("An answer in sound cannot be had from this provider.", param="modalities")


def _scalars(body: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, (field, take) in SCALARS.items():
        value = take(body, name)
        if value is not None:
            fields[field] = value
            names[field] = name
    limit = fields.get("max_output_tokens")
    if limit is not None and limit < 1:
        name = names["max_output_tokens"]
        raise BadRequest(
            f"Invalid '{name}': integer below minimum value. Expected a value >= 1, but got {limit} instead.",
            param=name,
        )
    return fields


def _messages(body: dict[str, Any], carrier: Carrier) -> list[Any]:
    given = sequence(body, "messages")
    if not given:
        raise BadRequest("Invalid 'messages': empty array. Expected an array with minimum length 1.", param="messages")
    reader = MessageReader(carrier)
    messages = []
    for place, value in enumerate(given):
        at = f"messages[{place}]"
        messages.append(reader.read(entry(value, at), at))
    reader.finish()
    return messages


def _stop(body: dict[str, Any]) -> list[str]:
    value = body.get("stop")
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    raise wrong_type(value, "a string or an array of strings", "stop")


def _output(body: dict[str, Any]) -> OutputFormat | None:
    value = mapping(body, "response_format")
    kind = value.get("type") if value else None
    if value is None or kind in (None, "text"):
        return None
    if kind == "json_object":
        return OutputFormat(kind="json_object")
    if kind != "json_schema":
        raise Unsupported(f"A response format of type '{kind}' cannot be translated.", param="response_format.type")
    at = "response_format.json_schema"
    wanted = required_mapping(value, "json_schema", "response_format")
    return OutputFormat(
        kind="json_schema",
        name=text(wanted, "name", at) or "",
        description=text(wanted, "description", at) or "",
        schema=mapping(wanted, "schema", at),
        strict=boolean(wanted, "strict", at),
    )


def _metadata(body: dict[str, Any]) -> dict[str, str] | None:
    value = mapping(body, "metadata")
    for name, each in (value or {}).items():
        if not isinstance(each, str):
            raise wrong_type(each, "a string", path("metadata", name))
    return value


def _extras(body: dict[str, Any]) -> dict[str, Any]:
    given = google_members(body) | body
    return {theirs: given[ours] for ours, theirs in EXTRAS.items() if given.get(ours) is not None}


def _hints(body: dict[str, Any]) -> dict[str, Any]:
    """Give the members that nothing above has read and that ask for something."""
    hints = {
        name: value
        for name, value in body.items()
        if name not in SCALARS and name not in STRUCTURED and name not in EXTRAS
        if value not in (None, {}, []) and NEUTRAL.get(name, ...) != value
    }
    if any(isinstance(message, dict) and message.get("name") for message in body["messages"]):
        named = (message for message in body["messages"] if message.get("role") not in ("tool", "function"))
        hints |= {"messages[].name": True} if any(message.get("name") for message in named) else {}
    return hints
