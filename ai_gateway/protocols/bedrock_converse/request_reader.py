"""Reading requests for Converse and ConverseStream. The model stands in the path.

What the models themselves understand beyond Converse's members stands in `additionalModelRequestFields`: of those, the
ways to ask for reasoning and `top_k` are read.

Source: the shape `ConverseRequest` of the service model; "Enhance model responses with model reasoning" in the Amazon
Bedrock User Guide; "Extended thinking" in the Amazon Nova 2 User Guide.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.errors import BadRequest, Unsupported
from ai_gateway.protocols.bedrock_converse.content_reader import read_content
from ai_gateway.protocols.bedrock_converse.tool_reader import read_choice, read_tools
from ai_gateway.protocols.bedrock_converse.words import NAME
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Message, OutputFormat, Reasoning, Request
from ai_gateway.protocols.jsontext import loads
from ai_gateway.protocols.members import integer_at, list_at, number_at, object_at, text_at
from ai_gateway.protocols.protocol import Head

READ = frozenset(
    (
        "modelId",
        "messages",
        "system",
        "inferenceConfig",
        "toolConfig",
        "outputConfig",
        "requestMetadata",
        "serviceTier",
        "additionalModelRequestFields",
    )
)
"""Members that are read here. Any other is a hint."""

REASONING_FIELDS = ("thinking", "reasoning_config", "reasoningConfig", "reasoning_effort", "output_config")
"""Members of `additionalModelRequestFields` that ask for reasoning, in the words of one model's maker or another's."""

MODEL_FIELDS = frozenset(("top_k", *REASONING_FIELDS))
"""Members of `additionalModelRequestFields` that are read here."""

NAMES = {
    "max_output_tokens": "inferenceConfig.maxTokens",
    "temperature": "inferenceConfig.temperature",
    "top_p": "inferenceConfig.topP",
    "stop": "inferenceConfig.stopSequences",
    "top_k": "additionalModelRequestFields.top_k",
    "tools": "toolConfig.tools",
    "tool_choice": "toolConfig.toolChoice",
    "output": "outputConfig.textFormat",
    "metadata": "requestMetadata",
    "service_tier": "serviceTier",
}
"""What a caller of Converse calls the fields of a request, besides `reasoning`, which has several names."""


def read_request(body: dict[str, Any], head: Head, carrier: Carrier) -> Request:
    """Read a request. Raises BadRequest naming the field."""
    if body.get("guardrailConfig"):
        raise Unsupported("A guardrail of Amazon Bedrock cannot be used elsewhere.", param="guardrailConfig")
    config = object_at(body.get("inferenceConfig"), "inferenceConfig")
    tools = object_at(body.get("toolConfig"), "toolConfig")
    fields = object_at(body.get("additionalModelRequestFields"), "additionalModelRequestFields")
    output = object_at(body.get("outputConfig"), "outputConfig")
    reasoning, reasoning_name = _read_reasoning(fields, output)
    return Request(
        format=NAME,
        model=head.model,
        stream=head.stream,
        messages=_read_messages(body, carrier),
        tools=read_tools(tools.get("tools")),
        tool_choice=read_choice(tools.get("toolChoice")),
        max_output_tokens=integer_at(config.get("maxTokens"), NAMES["max_output_tokens"]),
        temperature=number_at(config.get("temperature"), NAMES["temperature"]),
        top_p=number_at(config.get("topP"), NAMES["top_p"]),
        top_k=integer_at(fields.get("top_k"), NAMES["top_k"]),
        stop=_read_stop(config.get("stopSequences")),
        output=_read_output(output.get("textFormat")),
        reasoning=reasoning,
        metadata=_read_metadata(body.get("requestMetadata")),
        service_tier=_read_service_tier(body.get("serviceTier")),
        hints=_hints(body, config, fields),
        names=NAMES | {"reasoning": reasoning_name},
        source=body,
    )


def _hints(body: dict[str, Any], config: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Collect what no other format has a word for."""
    hints = {name: value for name, value in body.items() if name not in READ and value not in (None, {}, [])}
    known = ("maxTokens", "temperature", "topP", "stopSequences")
    hints |= {f"inferenceConfig.{name}": value for name, value in config.items() if name not in known}
    left = {name: value for name, value in fields.items() if name not in MODEL_FIELDS}
    return hints | {"additionalModelRequestFields": left} if left else hints


def _read_messages(body: dict[str, Any], carrier: Carrier) -> list[Message]:
    turns = list_at(body.get("messages"), "messages")
    if not turns:
        raise BadRequest("messages must have at least one message.", param="messages")
    system = read_content(body.get("system"), "system", carrier)
    messages = [Message(role="system", parts=system, at="system")] if system else []
    return messages + [_read_message(turn, f"messages[{number}]", carrier) for number, turn in enumerate(turns)]


def _read_message(turn: Any, at: str, carrier: Carrier) -> Message:
    turn = object_at(turn, at)
    role = turn.get("role")
    if role not in ("user", "assistant", "system"):
        raise BadRequest(f"{at}.role must be user, assistant or system.", param=f"{at}.role")
    return Message(role=role, parts=read_content(turn.get("content"), f"{at}.content", carrier), at=at)


def _read_stop(value: Any) -> list[str]:
    at = NAMES["stop"]
    return [text_at(each, f"{at}[{number}]") for number, each in enumerate(list_at(value, at))]


def _read_output(value: Any) -> OutputFormat | None:
    """Read the format that the answer shall have. Its schema is JSON inside a string."""
    at = f"{NAMES['output']}.structure.jsonSchema"
    structure = object_at(object_at(value, NAMES["output"]).get("structure"), f"{NAMES['output']}.structure")
    definition = object_at(structure.get("jsonSchema"), at)
    if not definition:
        return None
    try:
        schema = loads(text_at(definition.get("schema"), f"{at}.schema"))
    except ValueError:
        raise BadRequest(f"{at}.schema is not valid JSON.", param=f"{at}.schema") from None
    name, description = definition.get("name"), definition.get("description")
    return OutputFormat(
        kind="json_schema",
        name=name if isinstance(name, str) else "",
        description=description if isinstance(description, str) else "",
        schema=object_at(schema, f"{at}.schema"),
    )


def _read_metadata(value: Any) -> dict[str, str] | None:
    metadata = object_at(value, "requestMetadata")
    return {name: text_at(each, f"requestMetadata.{name}") for name, each in metadata.items()} or None


def _read_service_tier(value: Any) -> str | None:
    tier = object_at(value, "serviceTier").get("type")
    return tier if isinstance(tier, str) else None


def _read_reasoning(fields: dict[str, Any], output: dict[str, Any]) -> tuple[Reasoning | None, str]:
    """Read how reasoning is asked for, and under what name."""
    effort = output.get("effort")
    name = "outputConfig.effort"
    config: dict[str, Any] = {}
    for member in REASONING_FIELDS:
        value = fields.get(member)
        if isinstance(value, str):
            value = {"effort": value}
        if isinstance(value, dict) and value:
            name = f"additionalModelRequestFields.{member}" if not config else name
            config |= value
    effort = effort or config.get("effort") or config.get("maxReasoningEffort")
    mode, budget = config.get("type"), config.get("budget_tokens")
    display = config.get("display")
    reasoning = Reasoning(
        effort=effort if isinstance(effort, str) else None,
        budget=integer_at(budget, f"{name}.budget_tokens"),
        mode=mode if isinstance(mode, str) else None,
        is_shown=None if display is None else display != "omitted",
    )
    return (reasoning if reasoning != Reasoning() else None), name
