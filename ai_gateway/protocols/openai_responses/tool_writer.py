"""Writing the tools of a request, and whether one must be called.

OpenAI takes `strict` for granted where it is left out of a Responses request, so it is always written.
Source: the function calling guide of OpenAI's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ai_gateway.errors import Unsupported
from ai_gateway.protocols.capabilities import Capabilities
from ai_gateway.protocols.conversation import CustomTool, FunctionTool, HostedTool, Request, Tool, ToolCall, ToolChoice
from ai_gateway.protocols.emulation import FREE_TEXT, described
from ai_gateway.protocols.protocol import Emulation
from ai_gateway.protocols.schemas import is_strict, object_schema
from ai_gateway.protocols.tool_ids import made_id
from ai_gateway.protocols.writing import location, wants_single_calls

FORMAT = "openai_responses"

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What a tool may be called."""


SEARCHES = ("web_search_", "google_search", "googleSearch")
"""How the types of other formats' tools begin that search the web, as OpenAI's `web_search` does."""


class ToolNames:
    """What tools are called as they are sent: as the caller calls them wherever that is possible."""

    def __init__(self, request: Request) -> None:
        self._sent: dict[str, str] = {}
        for name in _names(request):
            self._sent.setdefault(name, name if NAME.fullmatch(name) else _made_name(name))

    def sent(self, name: str) -> str:
        """Tell what a tool is called as it is sent."""
        return self._sent.get(name, name)

    def changed(self) -> dict[str, str]:
        """Give the names that had to be changed: as sent, and as the caller knows them."""
        return {sent: name for name, sent in self._sent.items() if sent != name}


def _names(request: Request) -> Iterable[str]:
    yield from (tool.name for tool in request.tools if not isinstance(tool, HostedTool))
    for message in request.messages:
        yield from (part.name for part in message.parts if isinstance(part, ToolCall))


def _made_name(name: str) -> str:
    """Make a name that is allowed, and no other tool's: as much of the original as can stay, and a digest of it."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:50] + made_id("_", name, length=10)


class ToolWriter:
    """Writes the tools of one request. `dropped` are members of them that the model cannot be told."""

    def __init__(self, request: Request, capabilities: Capabilities, names: ToolNames) -> None:
        self._request = request
        self._capabilities = capabilities
        self._names = names
        self._custom: set[str] = set()
        self.dropped: list[str] = []

    def write(self) -> dict[str, Any]:
        """Write `tools` and what goes with them; nothing if there are none."""
        tools = self._offered()
        if not tools:
            return {}
        if not self._capabilities.tools:
            raise Unsupported("This model cannot call tools.", param=self._request.name_of("tools"))
        body: dict[str, Any] = {"tools": [self._tool(tool) for tool in tools]}
        choice = self._choice()
        if choice is not None:
            body["tool_choice"] = choice
        parallel = self._request.parallel_tool_calls
        if parallel is not None and self._capabilities.parallel_flag:
            body["parallel_tool_calls"] = parallel
        elif wants_single_calls(self._request):
            self.dropped.append(self._request.name_of("parallel_tool_calls"))
        return body

    def emulation(self, stop: tuple[str, ...]) -> Emulation | None:
        """Tell what has to be undone in the answer, and which stop sequences have to be kept there."""
        changed = self._names.changed()
        if not changed and not self._custom and not stop:
            return None
        return Emulation(custom_tools=frozenset(self._custom), names=changed, stop=stop)

    def _offered(self) -> list[Tool]:
        """The tools that may be called: where a model cannot be told that only some may, the others are left out."""
        choice = self._request.tool_choice
        if choice is None or choice.allowed is None or self._capabilities.openai_hints:
            return self._request.tools
        allowed = frozenset(choice.allowed)
        return [tool for tool in self._request.tools if not isinstance(tool, HostedTool) and tool.name in allowed]

    def _tool(self, tool: Tool) -> dict[str, Any]:
        if isinstance(tool, FunctionTool):
            return self._function(tool)
        if isinstance(tool, CustomTool):
            return self._custom_tool(tool)
        if tool.format == FORMAT:
            return tool.value
        if tool.type.startswith(SEARCHES) and self._capabilities.openai_hints and "blocked_domains" not in tool.value:
            return self._web_search(tool)
        raise Unsupported(f"The tool '{tool.type}' cannot be translated to this provider.", param=f"{tool.at}.type")

    def _web_search(self, tool: HostedTool) -> dict[str, Any]:
        """Write a search of the web that was asked for in another format, with what both know of it."""
        search: dict[str, Any] = {"type": "web_search"}
        for name, member in tool.value.items():
            if not member or name in ("type", "name", "cache_control", tool.type):
                continue
            if name == "allowed_domains":
                search["filters"] = {"allowed_domains": member}
            elif name == "user_location":
                search["user_location"] = location(member)
            elif name == "search_context_size":
                search[name] = member
            else:
                self.dropped.append(f"{tool.at}.{name}")
        return search

    def _function(self, tool: FunctionTool) -> dict[str, Any]:
        schema = object_schema(tool.schema)
        strict = bool(tool.strict) and self._capabilities.strict_tools and fits_strict(schema)
        if tool.strict and not strict:
            self.dropped.append(f"{tool.at}.strict")
        return self._written(tool.name, tool.description, schema, strict)

    def _custom_tool(self, tool: CustomTool) -> dict[str, Any]:
        name = self._names.sent(tool.name)
        if not self._capabilities.custom_tools:
            self._custom.add(name)
            return self._written(tool.name, described(tool), FREE_TEXT, False)
        written: dict[str, Any] = {"type": "custom", "name": name}
        if tool.description:
            written["description"] = tool.description
        if tool.grammar is not None:
            written["format"] = tool.grammar
        return written

    def _written(self, name: str, description: str, schema: dict[str, Any], strict: bool) -> dict[str, Any]:
        written: dict[str, Any] = {"type": "function", "name": self._names.sent(name)}
        if description:
            written["description"] = description
        return {**written, "parameters": schema, "strict": strict}

    def _choice(self) -> Any:
        choice = self._request.tool_choice
        if choice is None:
            return None
        is_forced = choice.mode in ("required", "named")
        if is_forced and self._capabilities.forced_tool_choice == "never":
            raise Unsupported("This model cannot be made to call a tool.", param=self._request.name_of("tool_choice"))
        if choice.mode == "named":
            tools = self._request.tools
            is_custom = any(isinstance(tool, CustomTool) and tool.name == choice.name for tool in tools)
            return self._reference(choice.name, is_custom)
        if choice.allowed is not None and self._capabilities.openai_hints:
            return self._allowed(choice, choice.allowed)
        return choice.mode

    def _allowed(self, choice: ToolChoice, allowed: list[str]) -> Any:
        if choice.mode == "none":
            return "none"
        custom = {tool.name for tool in self._request.tools if isinstance(tool, CustomTool)}
        tools = [self._reference(name, name in custom) for name in allowed]
        return {"type": "allowed_tools", "mode": choice.mode, "tools": tools}

    def _reference(self, name: str, is_custom: bool) -> dict[str, str]:
        kind = "custom" if is_custom and self._capabilities.custom_tools else "function"
        return {"type": kind, "name": self._names.sent(name)}


def fits_strict(schema: dict[str, Any]) -> bool:
    """Whether a schema can be strict. One that is no schema at all cannot; the provider says what is wrong with it."""
    try:
        return is_strict(schema)
    except (TypeError, AttributeError):
        return False
