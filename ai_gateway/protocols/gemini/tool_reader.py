"""Reading a caller's tools and its choice among them.

Source: `Tool` and `ToolConfig` of the Gemini API's reference.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.errors import BadRequest
from ai_gateway.protocols.conversation import FunctionTool, HostedTool, Tool, ToolChoice
from ai_gateway.protocols.gemini.schemas import json_schema
from ai_gateway.protocols.gemini.spelling import each, members, spelled
from ai_gateway.protocols.gemini.states import FORMAT
from ai_gateway.protocols.members import text_at

MODES = {"ANY": "required", "NONE": "none", "AUTO": "auto", "VALIDATED": "auto"}


def read_tools(value: object, at: str) -> list[Tool]:
    """Read `tools`: functions, and Google's own tools, each of which is a member of one of the entries."""
    tools: list[Tool] = []
    for place, entry in each(value, at):
        for name, member in members(entry, place).items():
            inner = f"{place}.{spelled(entry, name)}"
            if name == "functionDeclarations":
                tools += [_function(members(declared, where), where) for where, declared in each(member, inner)]
            else:
                tools.append(HostedTool(format=FORMAT, type=name, value={name: member}, at=inner))
    return tools


def _function(declared: dict[str, Any], at: str) -> FunctionTool:
    schema = declared.get("parametersJsonSchema")
    if schema is None and "parameters" in declared:
        schema = json_schema(declared["parameters"], f"{at}.parameters")
    if schema is not None and not isinstance(schema, dict):
        raise BadRequest("A schema must be an object.", param=f"{at}.parameters")
    name = text_at(declared.get("name"), f"{at}.name")
    description = text_at(declared.get("description") or "", f"{at}.description")
    return FunctionTool(name=name, description=description, schema=schema, at=at)


def read_choice(value: object, at: str) -> ToolChoice | None:
    """Read `toolConfig`. Raises BadRequest."""
    if value is None:
        return None
    given = members(value, at)
    calling = members(given.get("functionCallingConfig") or {}, f"{at}.functionCallingConfig")
    mode = MODES.get(str(calling.get("mode") or "").upper())
    if mode is None:
        return None
    place = f"{at}.functionCallingConfig.allowedFunctionNames"
    allowed = [text_at(name, where) for where, name in each(calling.get("allowedFunctionNames"), place)]
    if mode == "required" and len(allowed) == 1:
        return ToolChoice(mode="named", name=allowed[0])
    if mode == "required":
        return ToolChoice(mode="required", allowed=allowed or None)
    return ToolChoice(mode="none" if mode == "none" else "auto", allowed=allowed or None)
