"""Writing tools and the choice among them for a provider.

Source: `tools` and `tool_choice` of OpenAI's chat completions reference. A function's name has at most 64 letters,
digits, dashes and underscores there; other formats allow more, so a name may have to be changed on the way out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from ai_gateway.errors import Unsupported
from ai_gateway.protocols.capabilities import Capabilities
from ai_gateway.protocols.conversation import (
    CacheMark,
    CustomTool,
    FunctionTool,
    HostedTool,
    Request,
    Tool,
    ToolCall,
    ToolChoice,
)
from ai_gateway.protocols.emulation import FREE_TEXT, described
from ai_gateway.protocols.json_output import tool_name
from ai_gateway.protocols.jsontext import dumps_text
from ai_gateway.protocols.openai_chat.states import FORMAT
from ai_gateway.protocols.protocol import Emulation
from ai_gateway.protocols.schemas import is_strict, object_schema

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
ILLEGAL = re.compile(r"[^a-zA-Z0-9_-]")
NAME_LENGTH = 64
HASH_LENGTH = 8


"""The name of the tool whose arguments are the answer, where a model can be held to a schema by no other means."""

SEARCH = "web_search_options"


class ToolSet:
    """The tools of one request as they are written: their names, and which of them stand for something else."""

    def __init__(self, request: Request, capabilities: Capabilities) -> None:
        self._request = request
        self._capabilities = capabilities
        self._names = _names(tool.name for tool in request.tools if isinstance(tool, FunctionTool | CustomTool))
        custom = (tool.name for tool in request.tools if isinstance(tool, CustomTool))
        self._emulated = frozenset() if capabilities.custom_tools else frozenset(map(self.name, custom))
        self._json_tool: str = ""

    def add_json_tool(self) -> str:
        """Add a tool whose arguments are the answer that was asked for; give its name, which no other tool has."""
        self._json_tool = tool_name(self._names.values())
        return self._json_tool

    def name(self, name: str) -> str:
        """Give a tool's name as it is written."""
        return self._names.get(name) or _legal(name)

    def has_functions(self) -> bool:
        """Whether the model is given anything that it can call."""
        return any(isinstance(tool, FunctionTool | CustomTool) for tool in self._request.tools)

    def emulation(self, stop: tuple[str, ...] = ()) -> Emulation | None:
        """Tell what has to be undone in the answer, stop sequences that are not sent included; None for nothing."""
        changed = {sent: known for known, sent in self._names.items() if sent != known}
        if not (self._json_tool or self._emulated or changed or stop):
            return None
        return Emulation(json_tool=self._json_tool, custom_tools=self._emulated, names=changed, stop=stop)

    def write(self) -> list[dict[str, Any]]:
        """Write the tools, in order; the one for JSON comes last."""
        tools = [written for tool in self._request.tools if (written := self._tool(tool)) is not None]
        if tools and not self._capabilities.tools:
            raise Unsupported("This model calls no tools.", param=self._request.name_of("tools"))
        return [*tools, self._json()] if self._json_tool else tools

    def _tool(self, tool: Tool) -> dict[str, Any] | None:
        if isinstance(tool, FunctionTool):
            return self._function(tool)
        if isinstance(tool, CustomTool):
            return self._custom(tool)
        if tool.type == SEARCH and tool.format == FORMAT:
            return None
        if tool.format == FORMAT == self._request.format:
            return tool.value
        raise Unsupported(f"A tool of type '{tool.type}' is not to be had here.", param=_type_of(tool))

    def _function(self, tool: FunctionTool) -> dict[str, Any]:
        function: dict[str, Any] = {"name": self.name(tool.name)}
        if tool.description:
            function["description"] = tool.description
        function["parameters"] = object_schema(tool.schema)
        if tool.strict and self._capabilities.strict_tools and is_strict(function["parameters"]):
            function["strict"] = True
        return {"type": "function", "function": function, **self.mark(tool.cache)}

    def _custom(self, tool: CustomTool) -> dict[str, Any]:
        if self._capabilities.custom_tools:
            custom: dict[str, Any] = {"name": self.name(tool.name)}
            custom |= {"description": tool.description} if tool.description else {}
            custom |= {"format": _nested_grammar(tool.grammar)} if tool.grammar else {}
            return {"type": "custom", "custom": custom}
        function = {"name": self.name(tool.name), "description": described(tool), "parameters": FREE_TEXT}
        return {"type": "function", "function": function}

    def _json(self) -> dict[str, Any]:
        wanted = self._request.output
        schema = object_schema(wanted.schema if wanted else None)
        description = (wanted.description if wanted else "") or "Give the final answer by calling this tool."
        function: dict[str, Any] = {"name": self._json_tool, "description": description, "parameters": schema}
        return {"type": "function", "function": function}

    def mark(self, cache: CacheMark | None) -> dict[str, Any]:
        """Write a wish to cache, where the provider knows Anthropic's word for it."""
        if cache is None or not self._capabilities.cache_marks:
            return {}
        return {"cache_control": {"type": "ephemeral", **({"ttl": cache.ttl} if cache.ttl != "5m" else {})}}

    def write_call(self, call: ToolCall) -> dict[str, Any]:
        """Write a call of the history."""
        name = self.name(call.name)
        if call.is_custom and self._capabilities.custom_tools:
            return {"id": call.id, "type": "custom", "custom": {"name": name, "input": call.arguments}}
        arguments = dumps_text({"input": call.arguments}) if call.is_custom else call.arguments or "{}"
        return {"id": call.id, "type": "function", "function": {"name": name, "arguments": arguments}}

    def write_choice(self, choice: ToolChoice, tools: list[dict[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
        """Write which tool must be called, and the tools that are left: where only some may be called, and the
        provider does not know that choice, the others are taken out."""
        if choice.mode == "named":
            name = self.name(choice.name)
            kind = next((tool["type"] for tool in tools if name == _tool_name(tool)), "function")
            return {"type": kind, kind: {"name": name}}, tools
        if choice.allowed is None:
            return choice.mode, tools
        names = {self.name(name) for name in choice.allowed}
        kept = [tool for tool in tools if _tool_name(tool) in names]
        if not self._capabilities.openai_hints:
            return choice.mode, kept
        listed = [{"type": tool["type"], tool["type"]: {"name": _tool_name(tool)}} for tool in kept]
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": listed}}, tools


def web_search(request: Request) -> dict[str, Any]:
    """Give the member that asks for a web search, if the caller wrote it."""
    for tool in request.tools:
        if isinstance(tool, HostedTool) and tool.format == FORMAT and tool.type == SEARCH:
            return {SEARCH: tool.value}
    return {}


def loses_strictness(request: Request, capabilities: Capabilities) -> bool:
    """Whether a function was to be strict and is not written so."""
    return any(
        tool.strict and not (capabilities.strict_tools and is_strict(object_schema(tool.schema)))
        for tool in request.tools
        if isinstance(tool, FunctionTool)
    )


def _names(given: Iterable[str]) -> dict[str, str]:
    """Give every name as it is written; no two are the same. Those that may stay have the first right to a name."""
    known = list(dict.fromkeys(given))
    taken = {name for name in known if NAME.fullmatch(name)}
    names: dict[str, str] = {}
    for name in known:
        legal = _legal(name)
        if legal != name and legal in taken:
            legal = _shortened(name, legal)
        taken.add(legal)
        names[name] = legal
    return names


def _legal(name: str) -> str:
    if NAME.fullmatch(name):
        return name
    legal = ILLEGAL.sub("_", name)
    return legal if len(legal) <= NAME_LENGTH else _shortened(name, legal)


def _shortened(name: str, legal: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_LENGTH]
    return f"{legal[: NAME_LENGTH - HASH_LENGTH - 1]}_{digest}"


def _nested_grammar(grammar: dict[str, Any]) -> dict[str, Any]:
    """Write the format of a custom tool, whose grammar chat completions have in an object of its own."""
    return {"type": "grammar", "grammar": {name: value for name, value in grammar.items() if name != "type"}}


def _tool_name(tool: dict[str, Any]) -> str:
    inner = tool.get(str(tool.get("type")))
    return str(inner.get("name")) if isinstance(inner, dict) else ""


def _type_of(tool: HostedTool) -> str:
    return f"{tool.at}.type" if "type" in tool.value else tool.at
