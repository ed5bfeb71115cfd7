"""Writing that the answer shall be JSON.

Best is `output_config.format`, which holds the model to a schema. Where the model or the schema does not allow it, a
tool is put in whose arguments are the answer (undone by `emulation.py`); where it cannot be forced, the model is told.
Sources: "Structured outputs" and "Increase output consistency" of Anthropic's documentation.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.errors import Unsupported
from ai_gateway.protocols.anthropic_messages import schemas
from ai_gateway.protocols.anthropic_messages.draft import Draft
from ai_gateway.protocols.anthropic_messages.tool_writer import can_force
from ai_gateway.protocols.conversation import OutputFormat
from ai_gateway.protocols.json_output import instruction, tool_name


def write_output(draft: Draft) -> None:
    """Write what the answer shall be. Must come after the tools and the thinking. Raises Unsupported for a schema that
    the caller insists on and the provider cannot hold to."""
    output = draft.request.output
    if output is None or "format" in (draft.request.extras.get("output_config") or {}):
        return
    if output.kind == "json_object" or output.schema is None:
        _tell(draft, instruction(None))
    elif not _write_format(draft, output, output.schema) and not _write_tool(draft, output, output.schema):
        _tell(draft, instruction(output.schema))


def _write_format(draft: Draft, output: OutputFormat, schema: dict[str, Any]) -> bool:
    """Write the schema as the format, if that can be; tell whether it was."""
    capabilities = draft.capabilities
    if not capabilities.structured_outputs or (draft.body.get("tools") and not capabilities.json_with_tools):
        return False
    try:
        written = schemas.subset(schema)
    except schemas.Inexpressible as error:
        if output.strict:
            message = f"The provider cannot hold an answer to this schema: {error}."
            raise Unsupported(message, param=draft.request.name_of("output")) from None
        return False
    if output.description and "description" not in written:
        written["description"] = output.description
    draft.body.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": written}
    return True


def _write_tool(draft: Draft, output: OutputFormat, schema: dict[str, Any]) -> bool:
    """Put in a tool for the answer, if it can be forced; tell whether it was."""
    choice = draft.request.tool_choice
    if not draft.capabilities.tools or not can_force(draft) or (choice is not None and choice.mode == "named"):
        return False
    if schema.get("type") != "object":
        return False
    try:
        input_schema, said = schemas.tool_schema(schema)
    except schemas.Inexpressible:
        return False
    tools = draft.body.setdefault("tools", [])
    draft.json_tool = tool_name({tool.get("name") for tool in tools})
    purpose = "Give the final answer by calling this tool."
    description = "\n\n".join(filter(None, (purpose, output.description, said)))
    tools.append({"name": draft.json_tool, "description": description, "input_schema": input_schema})
    return True


def _tell(draft: Draft, words: str) -> None:
    """Add to the instructions, at their end: what stands before may be in the provider's cache."""
    system = draft.body.get("system")
    before = [{"type": "text", "text": system}] if isinstance(system, str) else system or []
    draft.body["system"] = [*before, {"type": "text", "text": words}] if before else words
