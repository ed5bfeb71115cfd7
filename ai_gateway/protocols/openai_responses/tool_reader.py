"""Reading a caller's tools and its choice among them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ai_gateway.errors import BadRequest, Unsupported
from ai_gateway.protocols import members
from ai_gateway.protocols.conversation import CustomTool, FunctionTool, HostedTool, Tool, ToolChoice
from ai_gateway.protocols.openai_responses.namespaces import (
    SEARCH,
    CallerNames,
    declared_tools,
    flat_name,
    is_own_search,
)

FORMAT = "openai_responses"


class ReadTools(msgspec.Struct, frozen=True):
    """The tools of a request, and those that need not be there, by their path."""

    tools: list[Tool]
    needless: dict[str, Any]


def read_tools(body: dict[str, Any]) -> ReadTools:
    """Read all tools of a request. A search that the provider runs is needless: all that it could find is offered."""
    members.sequence(body, "tools")
    tools: dict[str, Tool] = {}
    needless: dict[str, Any] = {}
    for at, tool in declared_tools(body):
        tool = members.entry(tool, at)
        if tool.get("type") == SEARCH and not is_own_search(tool):
            needless[at] = tool
            continue
        for each in _read_tool(tool, at):
            tools.setdefault(each.at if isinstance(each, HostedTool) else each.name, each)
    return ReadTools(list(tools.values()), needless)


def _read_tool(tool: dict[str, Any], at: str) -> list[Tool]:
    kind = members.present_text(tool, "type", at)
    if kind == "namespace":
        return _read_namespace(tool, at)
    if is_own_search(tool):
        return [_read_function({**tool, "name": SEARCH}, at)]
    read = {"function": _read_function, "custom": _read_custom}.get(kind)
    return [read(tool, at)] if read else [HostedTool(format=FORMAT, type=kind, value=tool, at=at)]


def _read_function(tool: dict[str, Any], at: str) -> Tool:
    return FunctionTool(
        name=members.present_text(tool, "name", at),
        description=members.text(tool, "description", at) or "",
        schema=members.object_in(tool, "parameters", at) or None,
        strict=members.boolean(tool, "strict", at),
        at=at,
    )


def _read_custom(tool: dict[str, Any], at: str) -> Tool:
    grammar = members.object_in(tool, "format", at)
    return CustomTool(
        name=members.present_text(tool, "name", at),
        description=members.text(tool, "description", at) or "",
        grammar=grammar if grammar.get("type") == "grammar" else None,
        at=at,
    )


def _read_namespace(tool: dict[str, Any], at: str) -> list[Tool]:
    namespace = members.present_text(tool, "name", at)
    tools: list[Tool] = []
    for inner_at, inner in members.entries(members.sequence(tool, "tools", at), f"{at}.tools"):
        for each in _read_tool(inner, inner_at):
            if isinstance(each, HostedTool):
                tools.append(each)
            else:
                tools.append(msgspec.structs.replace(each, name=flat_name(namespace, each.name)))
    return tools


def read_tool_choice(body: dict[str, Any], names: CallerNames) -> ToolChoice | None:
    """Read `tool_choice`. Raises Unsupported for the choice of a tool that the provider runs."""
    choice = body.get("tool_choice")
    if choice is None:
        return None
    if isinstance(choice, str):
        return ToolChoice(mode=_mode(choice, "tool_choice"))
    if not isinstance(choice, dict):
        raise members.wrong_type(choice, "a string or an object", "tool_choice")
    kind = members.present_text(choice, "type", "tool_choice")
    if kind in ("function", "custom"):
        return ToolChoice(mode="named", name=_chosen(choice, "tool_choice", names))
    if kind == "allowed_tools":
        return _read_allowed(choice, names)
    raise Unsupported(f"The choice of the tool '{kind}' cannot be translated.", param="tool_choice.type")


def _mode(word: str, at: str) -> Literal["auto", "required", "none"]:
    if word == "auto":
        return "auto"
    if word == "required":
        return "required"
    if word == "none":
        return "none"
    raise BadRequest(f"Invalid value: '{word}'. Supported values are: 'none', 'auto', and 'required'.", param=at)


def _read_allowed(choice: dict[str, Any], names: CallerNames) -> ToolChoice:
    allowed = members.entries(members.sequence(choice, "tools", "tool_choice"), "tool_choice.tools")
    mode = _mode(members.text(choice, "mode", "tool_choice") or "auto", "tool_choice.mode")
    return ToolChoice(mode=mode, allowed=[_chosen(tool, at, names) for at, tool in allowed])


def _chosen(tool: dict[str, Any], at: str, names: CallerNames) -> str:
    if tool.get("type") not in ("function", "custom"):
        return members.present_text(tool, "type", at)
    return names.joined(tool.get("namespace"), members.present_text(tool, "name", at))
