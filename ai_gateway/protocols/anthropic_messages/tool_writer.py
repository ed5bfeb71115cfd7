"""Writing tools, and whether one must be called.

Sources: "Define tools" and "Handle tool calls" of Anthropic's documentation; the errors that the API answers with
otherwise, as recorded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ai_gateway.errors import Unsupported
from ai_gateway.protocols.anthropic_messages import schemas
from ai_gateway.protocols.anthropic_messages.citations import FORMAT
from ai_gateway.protocols.anthropic_messages.content_writer import write_mark
from ai_gateway.protocols.anthropic_messages.draft import Draft
from ai_gateway.protocols.anthropic_messages.reasoning_writer import give_up_thinking
from ai_gateway.protocols.conversation import CustomTool, FunctionTool, HostedTool, Request, Tool, ToolCall, ToolChoice
from ai_gateway.protocols.emulation import FREE_TEXT, described
from ai_gateway.protocols.tool_ids import made_id
from ai_gateway.protocols.writing import location, wants_single_calls

NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
"""What a tool may be called."""

BETAS = {
    "computer_20241022": "computer-use-2024-10-22",
    "computer_20250124": "computer-use-2025-01-24",
    "computer_20251124": "computer-use-2025-11-24",
    "code_execution_20250522": "code-execution-2025-05-22",
    "memory_20250818": "context-management-2025-06-27",
    "mcp_toolset": "mcp-client-2025-11-20",
    "advisor_20260301": "advisor-tool-2026-03-01",
}
"""The beta features that tools of some types need."""

SEARCH_TYPES = ("web_search", "google_search", "googleSearch")
"""What the types of other providers' tools for searching the web begin with."""


def sent_names(request: Request) -> dict[str, str]:
    """Give other names to tools whose names Anthropic does not take: as the caller knows them, and as sent."""
    known = [tool.name for tool in request.tools if not isinstance(tool, HostedTool)]
    known += [part.name for message in request.messages for part in message.parts if isinstance(part, ToolCall)]
    return {name: _sent_name(name) for name in known if NAME.fullmatch(name) is None}


def _sent_name(name: str) -> str:
    """Keep what can be kept of a name; the same name always becomes the same, and no two become one."""
    readable = re.sub(r"[^a-zA-Z0-9_-]+", "_", name)[:100]
    return f"{readable}_{made_id('', name, length=8)}"


def write_tools(draft: Draft) -> None:
    """Write the tools, in the caller's order: a provider's cache goes by it. Raises Unsupported."""
    request = draft.request
    if not request.tools:
        return
    if not draft.capabilities.tools:
        raise Unsupported("This model calls no tools.", param=request.name_of("tools"))
    wanted = request.tools
    if request.tool_choice is not None and request.tool_choice.allowed is not None:
        allowed = frozenset(request.tool_choice.allowed)
        wanted = [tool for tool in wanted if _name(tool) in allowed]
    if wanted:
        draft.body["tools"] = [_WRITERS[type(tool)](tool, draft) for tool in wanted]


def _name(tool: Tool) -> str:
    return str(tool.value.get("name") or tool.type) if isinstance(tool, HostedTool) else tool.name


def _write_function(tool: FunctionTool, draft: Draft) -> dict[str, Any]:
    try:
        schema, said = schemas.tool_schema(tool.schema)
    except schemas.Inexpressible as error:
        message = f"The schema of the tool '{tool.name}' cannot be sent to this provider: {error}."
        raise Unsupported(message, param=tool.at or None) from None
    written = _named(tool, draft, "\n\n".join(filter(None, (tool.description, said))))
    written["input_schema"] = schema
    if tool.strict:
        _write_strict(written, tool, draft)
    if tool.cache is not None:
        written["cache_control"] = write_mark(tool.cache)
    return written


def _named(tool: FunctionTool | CustomTool, draft: Draft, description: str) -> dict[str, Any]:
    written: dict[str, Any] = {"name": draft.sent_names.get(tool.name, tool.name)}
    if description:
        written["description"] = description
    return written


def _write_strict(written: dict[str, Any], tool: FunctionTool, draft: Draft) -> None:
    """Hold the model to the schema, if the model can be and the schema is one that it can be held to."""
    try:
        if draft.capabilities.strict_tools:
            written["input_schema"] = schemas.subset(written["input_schema"])
            written["strict"] = True
            return
    except schemas.Inexpressible:
        pass
    draft.drop_names((f"{tool.at}.strict" if tool.at else "strict",))


def _write_custom(tool: CustomTool, draft: Draft) -> dict[str, Any]:
    """Write a tool with free text as a function with one string. A grammar can only be described to the model."""
    return _named(tool, draft, described(tool)) | {"input_schema": FREE_TEXT}


def _write_hosted(tool: HostedTool, draft: Draft) -> dict[str, Any]:
    if tool.format == FORMAT:
        if tool.type in BETAS:
            draft.need(BETAS[tool.type])
        return {**tool.value}
    if tool.type.startswith(SEARCH_TYPES):
        return _write_search(tool.value)
    raise Unsupported(f"This provider has no tool of type '{tool.type}'.", param=tool.at or None)


def _write_search(value: dict[str, Any]) -> dict[str, Any]:
    """Write another provider's tool for searching the web as Anthropic's own."""
    written: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}
    filters = value.get("filters")
    domains = filters.get("allowed_domains") if isinstance(filters, dict) else None
    if isinstance(domains, list) and domains:
        written["allowed_domains"] = domains
    if isinstance(value.get("user_location"), dict):
        written["user_location"] = location(value["user_location"])
    return written


_WRITERS: dict[type[Tool], Callable[[Any, Draft], dict[str, Any]]] = {
    FunctionTool: _write_function,
    CustomTool: _write_custom,
    HostedTool: _write_hosted,
}


# Whether one must be called.

FORCED = ("any", "tool")
_AUTO = ToolChoice(mode="auto")
_TYPES = {"auto": "auto", "required": "any", "none": "none", "named": "tool"}


def write_choice(draft: Draft) -> None:
    """Write `tool_choice`, which holds the wish for one call at a time, too. Must come after all that may add a tool,
    and after the thinking. Raises Unsupported."""
    if not draft.body.get("tools"):
        return
    written = _choice(draft)
    if draft.request.parallel_tool_calls is False and written["type"] != "none" and not draft.json_tool:
        if draft.capabilities.parallel_flag:
            written["disable_parallel_tool_use"] = True
        elif wants_single_calls(draft.request):
            draft.drop("parallel_tool_calls")
    if written["type"] in FORCED and not draft.json_tool:
        _make_forcible(draft)
    if written != {"type": "auto"}:
        draft.body["tool_choice"] = written


def _choice(draft: Draft) -> dict[str, Any]:
    choice = draft.request.tool_choice or _AUTO
    if draft.json_tool:
        alone = len(draft.body["tools"]) == 1 or choice.mode == "none"
        forced = {"type": "tool", "name": draft.json_tool} if alone else {"type": "any"}
        return {**forced, "disable_parallel_tool_use": True}
    if choice.mode == "named":
        return {"type": "tool", "name": draft.sent_names.get(choice.name, choice.name)}
    return {"type": _TYPES[choice.mode]}


def can_force(draft: Draft) -> bool:
    """Whether a tool can be forced as things stand."""
    forcible = draft.capabilities.forced_tool_choice
    if forcible == "without_reasoning":
        return not draft.is_thinking
    return forcible == "always" or (forcible == "adaptive" and not draft.is_thinking_on_budget)


def _make_forcible(draft: Draft) -> None:
    """A tool must be called. Thinking gives way to that, unless the caller asked for it in Anthropic's own words."""
    if can_force(draft) or "thinking" in draft.request.extras:
        return
    capabilities = draft.capabilities
    is_stuck = capabilities.reasons_by_default and not capabilities.can_disable_reasoning
    if capabilities.forced_tool_choice == "never" or is_stuck:
        raise Unsupported("This model cannot be made to call a tool.", param=draft.request.name_of("tool_choice"))
    give_up_thinking(draft)
