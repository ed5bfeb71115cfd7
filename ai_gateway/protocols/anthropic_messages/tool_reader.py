"""Reading a caller's tools and its choice among them.

Source: `tools` and `tool_choice` of Anthropic's Messages API reference.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.errors import BadRequest
from ai_gateway.protocols.anthropic_messages.citations import FORMAT
from ai_gateway.protocols.anthropic_messages.client_tools import known_tool
from ai_gateway.protocols.anthropic_messages.content_reader import read_mark
from ai_gateway.protocols.conversation import FunctionTool, HostedTool, Tool, ToolChoice
from ai_gateway.protocols.members import required_text

TOOL_HINTS = ("defer_loading", "allowed_callers", "input_examples")
"""Members of a tool that only Anthropic acts on."""


def read_tools(tools: object, hints: dict[str, Any]) -> list[Tool]:
    """Read the tools. What of them is a mere hint goes to the hints."""
    if tools is None:
        return []
    if not isinstance(tools, list):
        raise BadRequest("tools must be a list.", param="tools")
    read: list[Tool] = []
    for place, tool in enumerate(tools):
        at = f"tools[{place}]"
        if not isinstance(tool, dict):
            raise BadRequest("A tool must be an object.", param=at)
        hints.update((f"tools.{name}", True) for name in TOOL_HINTS if tool.get(name))
        kind = tool.get("type") or "custom"
        if str(kind).startswith("tool_search_tool_"):
            # It finds tools that are held back to keep the prompt short. Other providers see all tools at once.
            hints[at] = tool
        else:
            read.append(_read_tool(tool, str(kind), at))
    return read


def _read_tool(tool: dict[str, Any], kind: str, at: str) -> Tool:
    known = known_tool(tool, kind)
    if known is None and kind != "custom":
        return HostedTool(format=FORMAT, type=kind, value=tool, at=at)
    schema = tool.get("input_schema")
    if known is None and schema is not None and not isinstance(schema, dict):
        raise BadRequest("input_schema must be an object.", param=f"{at}.input_schema")
    description = tool.get("description")
    strict = tool.get("strict")
    return FunctionTool(
        name=required_text(tool, "name", at),
        description=known[0] if known else description if isinstance(description, str) else "",
        schema=known[1] if known else schema,
        strict=strict if isinstance(strict, bool) else None,
        cache=read_mark(tool.get("cache_control")),
        at=at,
    )


def read_choice(choice: object) -> tuple[ToolChoice | None, bool | None]:
    """Read `tool_choice`: the choice, and False if calls may not come in parallel. Raises BadRequest."""
    if choice is None:
        return None, None
    kind = choice.get("type") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or kind not in ("auto", "any", "tool", "none"):
        raise BadRequest("tool_choice must be an object of type auto, any, tool or none.", param="tool_choice")
    is_parallel = False if choice.get("disable_parallel_tool_use") is True else None
    if kind == "tool":
        return ToolChoice(mode="named", name=required_text(choice, "name", "tool_choice")), is_parallel
    return _CHOICES[kind], is_parallel


_CHOICES = {
    "auto": ToolChoice(mode="auto"),
    "any": ToolChoice(mode="required"),
    "none": ToolChoice(mode="none"),
}
