"""Reading a caller's tools and its choice among them.

Source: `tools` and `tool_choice` of OpenAI's chat completions reference, and the older `functions` and `function_call`.
"""

from __future__ import annotations

import re
from typing import Any

from ai_gateway.errors import BadRequest
from ai_gateway.protocols.conversation import CustomTool, FunctionTool, HostedTool, Tool, ToolChoice
from ai_gateway.protocols.members import (
    boolean,
    entry,
    mapping,
    path,
    required_mapping,
    required_text,
    sequence,
    text,
    wrong_type,
)
from ai_gateway.protocols.openai_chat.content_reader import read_mark
from ai_gateway.protocols.openai_chat.states import FORMAT

ANTHROPIC_TOOL = re.compile(r"[a-z_]+_20\d{6}")
"""How the types of Anthropic's own tools look: with the day of their version at the end."""

MODES = {"auto": "auto", "none": "none", "required": "required", "any": "required"}
"""The choices that are a word. `any` is Mistral's for `required`."""


def read_tools(body: dict[str, Any]) -> list[Tool]:
    """Read the tools, in order; web search comes last."""
    tools: list[Tool] = []
    for place, value in enumerate(sequence(body, "tools")):
        at = f"tools[{place}]"
        tools.append(_tool(entry(value, at), at))
    for place, value in enumerate(sequence(body, "functions")):
        at = f"functions[{place}]"
        tools.append(_function(entry(value, at), at))
    search = mapping(body, "web_search_options")
    if search is not None:
        at = "web_search_options"
        tools.append(HostedTool(format=FORMAT, type=at, value=search, at=at))
    return tools


def _tool(value: dict[str, Any], at: str) -> Tool:
    kind = text(value, "type", at) or ("function" if "function" in value else "")
    if kind == "function":
        tool = _function(required_mapping(value, "function", at), path(at, "function"), value)
        return tool
    if kind == "custom":
        where = path(at, "custom")
        custom = required_mapping(value, "custom", at)
        return CustomTool(
            name=required_text(custom, "name", where),
            description=text(custom, "description", where) or "",
            grammar=_grammar(custom, where),
            at=at,
        )
    if not kind:
        raise BadRequest(f"Missing required parameter: '{at}.type'.", param=path(at, "type"))
    origin = "anthropic_messages" if ANTHROPIC_TOOL.fullmatch(kind) else FORMAT
    return HostedTool(format=origin, type=kind, value=value, at=at)


def _function(function: dict[str, Any], at: str, tool: dict[str, Any] | None = None) -> FunctionTool:
    """Read a function; `tool` is the object around it, where it has one."""
    return FunctionTool(
        name=required_text(function, "name", at),
        description=text(function, "description", at) or "",
        schema=mapping(function, "parameters", at) or None,
        strict=boolean(function, "strict", at),
        cache=read_mark(tool or {}, at) or read_mark(function, at),
        at=at.removesuffix(".function"),
    )


def _grammar(custom: dict[str, Any], at: str) -> dict[str, Any] | None:
    """Read the format that a custom tool's text must follow: None for any text. The grammar is flat in Responses and
    in an object of its own here; the neutral form is the flat one."""
    wanted = mapping(custom, "format", at)
    if wanted is None or wanted.get("type") == "text":
        return None
    grammar = mapping(wanted, "grammar", path(at, "format"))
    return {"type": "grammar", **grammar} if grammar is not None else wanted


def read_choice(body: dict[str, Any]) -> ToolChoice | None:
    """Read which tool must be called."""
    name = "tool_choice" if body.get("tool_choice") is not None else "function_call"
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, str):
        return ToolChoice(mode=_mode(value, name))
    if not isinstance(value, dict):
        raise wrong_type(value, "a string or an object", name)
    if name == "function_call":
        return ToolChoice(mode="named", name=required_text(value, "name", name))
    return _object_choice(value)


def _object_choice(value: dict[str, Any]) -> ToolChoice:
    at = "tool_choice"
    kind = required_text(value, "type", at)
    if kind in ("function", "custom"):
        return ToolChoice(mode="named", name=required_text(required_mapping(value, kind, at), "name", f"{at}.{kind}"))
    if kind != "allowed_tools":
        return ToolChoice(mode=_mode(kind, f"{at}.type"))
    where = path(at, kind)
    allowed = required_mapping(value, kind, at)
    names = [_allowed_name(entry(each, where), where) for each in sequence(allowed, "tools", where)]
    return ToolChoice(mode=_mode(text(allowed, "mode", where) or "auto", f"{where}.mode"), allowed=names)


def _allowed_name(value: dict[str, Any], at: str) -> str:
    member = "custom" if value.get("type") == "custom" else "function"
    return required_text(mapping(value, member, at) or value, "name", at)


def _mode(word: str, at: str) -> Any:
    """Give the mode that a word stands for. Raises BadRequest for one that is none."""
    if word not in MODES:
        raise BadRequest(
            f"Invalid value: '{word}'. Supported values are: 'none', 'auto', and 'required'.",
            param=at,
        )
    return MODES[word]
