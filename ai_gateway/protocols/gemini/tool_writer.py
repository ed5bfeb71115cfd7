"""Writing tools for Google: `tools` and `toolConfig`.

All functions stand in one entry of `tools`; Google's own tools have an entry each. Source: `Tool`,
`FunctionDeclaration` and `FunctionCallingConfig` of the Gemini API's reference.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.errors import Unsupported
from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.conversation import CustomTool, FunctionTool, HostedTool, Request, ToolChoice
from ai_gateway.protocols.emulation import FREE_TEXT, described
from ai_gateway.protocols.gemini.states import FORMAT
from ai_gateway.protocols.gemini.tool_names import ToolNames
from ai_gateway.protocols.schemas import object_schema

SAYS_NOTHING = frozenset(("type", "properties", "required", "additionalProperties", "title", "$schema"))
"""Members of a schema that say nothing where there are no properties."""

Tools = list[dict[str, Any]]


def write_tools(request: Request, destination: Destination, names: ToolNames, dropped: list[str]) -> Tools:
    """Write `tools`. Raises Unsupported for a tool that Google has not."""
    if request.tools and not destination.capabilities.tools:
        raise Unsupported("This model calls no tools.", param=request.name_of("tools"))
    declarations: Tools = []
    hosted: Tools = []
    for tool in request.tools:
        if isinstance(tool, FunctionTool):
            declarations.append(declaration(names.sent(tool.name), tool.description, tool.schema))
            if tool.strict and not destination.capabilities.strict_tools:
                dropped.append(f"{tool.at}.strict")
        elif isinstance(tool, CustomTool):
            declarations.append(_custom(tool, names))
        else:
            hosted.append(_hosted(tool))
    return [{"functionDeclarations": declarations}, *hosted] if declarations else hosted


def declaration(name: str, description: str, schema: dict[str, Any] | None) -> dict[str, Any]:
    """Write a function. One without arguments has no schema; a description is demanded, if only an empty one."""
    declared: dict[str, Any] = {"name": name, "description": description}
    if _has_arguments(schema):
        declared["parametersJsonSchema"] = object_schema(schema)
    return declared


def _has_arguments(schema: dict[str, Any] | None) -> bool:
    if not schema:
        return False
    return bool(schema.get("properties") or schema.get("additionalProperties") or schema.keys() - SAYS_NOTHING)


def _custom(tool: CustomTool, names: ToolNames) -> dict[str, Any]:
    return declaration(names.sent(tool.name), described(tool), FREE_TEXT)


def _hosted(tool: HostedTool) -> dict[str, Any]:
    if tool.format != FORMAT:
        message = f"The tool {tool.type} is run by another provider and cannot be offered to this one."
        raise Unsupported(message, param=f"{tool.at}.type" if tool.at.endswith("]") else tool.at or None)
    return tool.value


def write_choice(request: Request, destination: Destination, names: ToolNames) -> dict[str, Any] | None:
    """Write `functionCallingConfig`, None if there is nothing to say. It is refused where there are no functions."""
    choice = request.tool_choice or ToolChoice(mode="auto")
    functions = [tool for tool in request.tools if isinstance(tool, FunctionTool | CustomTool)]
    if not functions:
        return None
    if choice.mode == "none":
        return {"mode": "NONE"}
    allowed = [choice.name] if choice.mode == "named" else choice.allowed
    if choice.mode != "auto":
        _check_forcing(request, destination)
        return _config("ANY", allowed, names)
    if allowed is not None:
        return _config("VALIDATED", allowed, names)
    is_strict = destination.capabilities.strict_tools and any(
        isinstance(tool, FunctionTool) and tool.strict for tool in functions
    )
    if is_strict:
        return {"mode": "VALIDATED"}
    return {"mode": "AUTO"} if request.tool_choice is not None else None


def _check_forcing(request: Request, destination: Destination) -> None:
    if destination.capabilities.forced_tool_choice == "never":
        raise Unsupported("This model cannot be forced to call a tool.", param=request.name_of("tool_choice"))


def _config(mode: str, allowed: list[str] | None, names: ToolNames) -> dict[str, Any]:
    if allowed is None:
        return {"mode": mode}
    return {"mode": mode, "allowedFunctionNames": [names.sent(name) for name in allowed]}
