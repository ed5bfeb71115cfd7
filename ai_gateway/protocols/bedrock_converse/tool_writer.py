"""Writing tools, and which of them must be called.

Source: the shapes `ToolConfiguration`, `ToolSpecification`, `ToolChoice` and `ToolName` of the service model; "Call a
tool with the Converse API" in the Amazon Bedrock User Guide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from ai_gateway.errors import Unsupported
from ai_gateway.protocols.bedrock_converse.words import NAME
from ai_gateway.protocols.capabilities import Capabilities
from ai_gateway.protocols.conversation import (
    CustomTool,
    FunctionTool,
    HostedTool,
    Message,
    Request,
    Tool,
    ToolCall,
)
from ai_gateway.protocols.emulation import FREE_TEXT, described
from ai_gateway.protocols.schemas import object_schema
from ai_gateway.protocols.tool_ids import made_id

ALLOWED = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What the name of a tool may be."""

NO_CALLS = "Do not call any tool now. Answer in text."
"""What the model is told where no tool may be called, but tools must be named because the history has calls."""


class ToolNames:
    """The names of a conversation's tools as they are sent: changed where they must be, and unique."""

    def __init__(self, names: Iterable[str]) -> None:
        given = list(dict.fromkeys(names))
        self._taken = {name for name in given if ALLOWED.fullmatch(name)}
        self._sent = {name: self._made(name) for name in given if name not in self._taken}

    def _made(self, name: str) -> str:
        made = re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64]
        if not made or made in self._taken:
            made = f"{made[:50]}_{made_id('', name, length=12)}"
        self._taken.add(made)
        return made

    def sent(self, name: str) -> str:
        """Give the name as it is sent."""
        return self._sent.get(name, name)

    @property
    def taken(self) -> set[str]:
        """All names as they are sent."""
        return self._taken

    @property
    def changed(self) -> dict[str, str]:
        """The names that were changed: as sent, and as the caller knows them."""
        return {sent: name for name, sent in self._sent.items()}


def called_names(messages: Iterable[Message]) -> Iterator[str]:
    """Give the names of the tools that were called in a conversation."""
    for message in messages:
        yield from (part.name for part in message.parts if isinstance(part, ToolCall))


def offered(request: Request) -> list[Tool]:
    """Give the tools that may be called: all of them, or those that the choice is limited to."""
    choice = request.tool_choice
    if choice is None or choice.allowed is None:
        return request.tools
    allowed = frozenset(choice.allowed)
    return [tool for tool in request.tools if isinstance(tool, HostedTool) or tool.name in allowed]


def write_tool(tool: Tool, names: ToolNames, capabilities: Capabilities) -> dict[str, Any]:
    """Write a tool. Raises Unsupported for one that only another format knows."""
    if isinstance(tool, HostedTool):
        if tool.format == NAME:
            return tool.value
        raise Unsupported(f"Tools of the type {tool.type} cannot be used with this provider.", param=tool.at)
    spec: dict[str, Any] = {"name": names.sent(tool.name)}
    description = described(tool) if isinstance(tool, CustomTool) else tool.description
    if description:
        spec["description"] = description
    schema = FREE_TEXT if isinstance(tool, CustomTool) else object_schema(tool.schema)
    spec["inputSchema"] = {"json": schema if "type" in schema else {"type": "object", **schema}}
    if isinstance(tool, FunctionTool) and tool.strict and capabilities.strict_tools:
        spec["strict"] = True
    return {"toolSpec": spec}


def write_remembered(name: str) -> dict[str, Any]:
    """Write a tool of which only the name is known, from a call in the history."""
    return {"toolSpec": {"name": name, "inputSchema": {"json": object_schema(None)}}}


def write_choice(request: Request, names: ToolNames) -> dict[str, Any] | None:
    """Write which tool must be called; None if the model decides, which is also the default."""
    choice = request.tool_choice
    if choice is None or choice.mode in ("auto", "none"):
        return None
    if choice.mode == "required":
        return {"any": {}}
    return {"tool": {"name": names.sent(choice.name)}}


def is_forced(request: Request) -> bool:
    """Whether the caller wants a tool to be called in any case."""
    return bool(request.tools) and request.tool_choice is not None and request.tool_choice.mode in ("required", "named")


def can_force(capabilities: Capabilities, reasoning_kind: str) -> bool:
    """Whether a tool may be forced, given the kind of reasoning that is on ("none" for none)."""
    rule = capabilities.forced_tool_choice
    if rule == "without_reasoning":
        return reasoning_kind == "none"
    if rule == "adaptive":
        return reasoning_kind != "budget"
    return rule == "always"
