"""Reading a caller's tools and its choice among them.

Source: the shape `ToolConfiguration` of the service model.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ai_gateway.protocols.bedrock_converse.content_reader import read_cache_point
from ai_gateway.protocols.bedrock_converse.words import NAME
from ai_gateway.protocols.conversation import CacheMark, FunctionTool, HostedTool, Tool, ToolChoice
from ai_gateway.protocols.members import list_at, object_at, text_at


def read_tools(value: Any) -> list[Tool]:
    """Read `toolConfig.tools`. Raises BadRequest."""
    tools: list[Tool] = []
    for number, tool in enumerate(list_at(value, "toolConfig.tools")):
        at = f"toolConfig.tools[{number}]"
        tool = object_at(tool, at)
        if "cachePoint" in tool:
            mark_last_tool(tools, read_cache_point(tool["cachePoint"]))
        else:
            tools.append(read_tool(tool, at))
    return tools


def read_choice(value: Any) -> ToolChoice | None:
    """Read `toolConfig.toolChoice`. Raises BadRequest."""
    choice = object_at(value, "toolConfig.toolChoice")
    if "tool" in choice:
        at = "toolConfig.toolChoice.tool"
        return ToolChoice(mode="named", name=text_at(object_at(choice["tool"], at).get("name"), f"{at}.name"))
    if "any" in choice:
        return ToolChoice(mode="required")
    return ToolChoice(mode="auto") if "auto" in choice else None


def mark_last_tool(tools: list[Any], mark: CacheMark) -> None:
    """Put a mark on the last tool, if it can have one."""
    if tools and isinstance(tools[-1], FunctionTool):
        tools[-1] = msgspec.structs.replace(tools[-1], cache=mark)


def read_tool(tool: dict[str, Any], at: str) -> FunctionTool | HostedTool:
    """Read one of `toolConfig.tools` that is no `cachePoint`."""
    if "toolSpec" not in tool:
        return HostedTool(at=at, format=NAME, type=next(iter(tool), ""), value=tool)
    spec = object_at(tool["toolSpec"], f"{at}.toolSpec")
    description, strict = spec.get("description"), spec.get("strict")
    schema = object_at(spec.get("inputSchema"), f"{at}.toolSpec.inputSchema").get("json")
    return FunctionTool(
        at=f"{at}.toolSpec",
        name=text_at(spec.get("name"), f"{at}.toolSpec.name"),
        description=description if isinstance(description, str) else "",
        schema=object_at(schema, f"{at}.toolSpec.inputSchema.json") or None,
        strict=strict if isinstance(strict, bool) else None,
    )
