"""Writing that the answer shall be JSON.

Google has a media type and a JSON Schema for it. Models that refuse these beside functions (Gemini 2.5: "Function
calling with a response mime type: 'application/json' is unsupported") get one function more, whose arguments are the
answer; what no function can say is asked for in words.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ai_gateway.protocols.capabilities import Capabilities, Destination
from ai_gateway.protocols.conversation import CustomTool, FunctionTool, OutputFormat, Request
from ai_gateway.protocols.gemini.tool_names import ToolNames
from ai_gateway.protocols.gemini.tool_writer import declaration
from ai_gateway.protocols.json_output import instruction, tool_name

PURPOSE = "Give the final answer: its arguments are what the user asked for."


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """How the answer is asked to be JSON: members of `generationConfig`, or a function, or words for the model.

    `replaces_tools`: the functions are left out, as none of them may be called anyway.
    """

    config: dict[str, Any] = {}
    tool: dict[str, Any] | None = None
    instruction: str = ""
    replaces_tools: bool = False

    def choice(self, choice: dict[str, Any] | None) -> dict[str, Any]:
        """Give the `functionCallingConfig` for a request with the function: some function must be called."""
        name = self.tool["name"] if self.tool else ""
        allowed = choice.get("allowedFunctionNames") if choice else None
        return {"mode": "ANY", "allowedFunctionNames": [*allowed, name]} if allowed else {"mode": "ANY"}


def write_output(request: Request, destination: Destination, names: ToolNames, dropped: list[str]) -> Output:
    """Choose how the answer is asked to be JSON."""
    wanted, capabilities = request.output, destination.capabilities
    if wanted is None:
        return Output()
    has_functions = any(isinstance(tool, FunctionTool | CustomTool) for tool in request.tools)
    is_forbidden = request.tool_choice is not None and request.tool_choice.mode == "none"
    if not has_functions or capabilities.json_with_tools or is_forbidden:
        native = _native(wanted, capabilities)
        if native is not None:
            replaces = has_functions and is_forbidden and not capabilities.json_with_tools
            return Output(config=native, replaces_tools=replaces)
    if request.tool_choice is not None and request.tool_choice.mode in ("named", "none"):
        return Output(instruction=instruction(wanted.schema))
    if wanted.schema is not None and wanted.schema.get("type") == "object" and capabilities.tools:
        taken = {tool.name for tool in request.tools if isinstance(tool, FunctionTool | CustomTool)}
        name = tool_name(taken)
        return Output(tool=declaration(names.sent(name), wanted.description or PURPOSE, wanted.schema))
    return Output(instruction=instruction(wanted.schema))


def _native(wanted: OutputFormat, capabilities: Capabilities) -> dict[str, Any] | None:
    """Write Google's own members, as far as the model takes them."""
    if wanted.kind == "json_schema" and wanted.schema is not None and capabilities.structured_outputs:
        return {"responseMimeType": "application/json", "responseJsonSchema": wanted.schema}
    if wanted.kind == "json_object" and capabilities.json_mode:
        return {"responseMimeType": "application/json"}
    return None
