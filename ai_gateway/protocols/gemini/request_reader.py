"""Reading the requests of callers of Google's format: google-genai, Gemini CLI and others.

Source: `GenerateContentRequest` of the Gemini API's reference, and what google-genai writes. Members may be spelled in
camelCase or snake_case; errors and reports name them as the caller did.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.errors import BadRequest, Unsupported
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import OutputFormat, Reasoning, Request
from ai_gateway.protocols.gemini.message_reader import read_contents, read_instruction
from ai_gateway.protocols.gemini.schemas import json_schema
from ai_gateway.protocols.gemini.spelling import camel, each, integer, members, spelled
from ai_gateway.protocols.gemini.states import FORMAT
from ai_gateway.protocols.gemini.system_parameters import FORMS, forms_asked_for
from ai_gateway.protocols.gemini.tool_reader import read_choice, read_tools
from ai_gateway.protocols.members import number_at, text_at
from ai_gateway.protocols.protocol import Head

STRUCTURED = frozenset(
    ("model", "contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "serviceTier", "labels")
)
"""Members that are read; all others are hints."""

NUMBERS = {
    "temperature": "temperature",
    "topP": "top_p",
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
}
INTEGERS = {
    "topK": "top_k",
    "maxOutputTokens": "max_output_tokens",
    "candidateCount": "count",
    "seed": "seed",
    "logprobs": "top_logprobs",
}
"""Members of `generationConfig` that are one number, and the fields that they are."""

CONFIG_STRUCTURED = frozenset(
    (
        *NUMBERS,
        *INTEGERS,
        "stopSequences",
        "responseLogprobs",
        "responseMimeType",
        "responseSchema",
        "responseJsonSchema",
        "responseModalities",
        "thinkingConfig",
    )
)

AT_GOOGLE_ONLY = {
    "cachedContent": "A prompt that is cached at Google cannot be sent to another provider.",
}
"""Members that hold a part of the question that only Google has."""


def read_request(body: dict[str, Any], head: Head, carrier: Carrier) -> Request:
    """Read a request. Raises BadRequest naming the member that is malformed, Unsupported for one that asks for what
    only Google has, or for an answer in a form that only Google writes."""
    given = members(body, "")
    for name, message in AT_GOOGLE_ONLY.items():
        if given.get(name):
            raise Unsupported(message, param=spelled(body, name))
    if head.query and not forms_asked_for(head.query) <= FORMS:
        raise Unsupported("Another provider's answer is written as JSON, and in no other form.", param="alt")
    config_at = spelled(body, "generationConfig")
    config = given.get("generationConfig") or {}
    names = {"messages": "contents"}
    fields = _config(config, config_at, names)
    instruction_at = spelled(body, "systemInstruction")
    instruction = read_instruction(given.get("systemInstruction"), instruction_at)
    contents = read_contents(given.get("contents"), "contents", carrier)
    if not contents:
        raise BadRequest("The request has no contents.", param="contents")
    tools_at, choice_at = "tools", spelled(body, "toolConfig")
    names |= {"tool_choice": choice_at, "service_tier": spelled(body, "serviceTier"), "metadata": "labels"}
    return Request(
        format=FORMAT,
        model=head.model,
        messages=[*instruction, *contents],
        stream=head.stream,
        tools=read_tools(given.get("tools"), tools_at),
        tool_choice=read_choice(given.get("toolConfig"), choice_at),
        service_tier=_tier(given.get("serviceTier")),
        metadata=_labels(given.get("labels")),
        hints=_hints(body, given, config_at, choice_at),
        names=names,
        source=body,
        **fields,
    )


def _hints(body: dict[str, Any], given: dict[str, Any], config_at: str, choice_at: str) -> dict[str, Any]:
    """Gather what is not read: what only Google knows and does not change what is asked."""
    hints = {name: value for name, value in body.items() if camel(name) not in STRUCTURED and value is not None}
    inner = ((config_at, "generationConfig", CONFIG_STRUCTURED), (choice_at, "toolConfig", {"functionCallingConfig"}))
    for at, name, known in inner:
        for member, value in (given.get(name) or {}).items():
            if camel(member) not in known and value is not None:
                hints[f"{at}.{member}"] = value
    return hints


def _tier(value: object) -> str | None:
    tier = value.lower() if isinstance(value, str) else None
    return {"unspecified": None, "standard": "default"}.get(tier, tier) if tier else None


def _labels(value: object) -> dict[str, str] | None:
    labels = members(value, "labels") if value is not None else {}
    return {name: label for name, label in labels.items() if isinstance(label, str)} or None


# What is asked for.


def _config(config: object, at: str, names: dict[str, str]) -> dict[str, Any]:
    """Read `generationConfig`: the fields of a request that it gives. What the caller calls them goes to `names`."""
    given = members(config, at)
    assert isinstance(config, dict)
    fields: dict[str, Any] = {}
    for table, take in ((NUMBERS, number_at), (INTEGERS, integer)):
        for name, field in table.items():
            place = f"{at}.{spelled(config, name)}"
            value = take(given.get(name), place)
            if value is not None:
                fields[field] = value
                names[field] = place
    for name, field in (("stopSequences", "stop"), ("responseLogprobs", "logprobs"), ("thinkingConfig", "reasoning")):
        names[field] = f"{at}.{spelled(config, name)}"
    names["output"] = f"{at}.{spelled(config, 'responseMimeType')}"
    modalities_at = f"{at}.{spelled(config, 'responseModalities')}"
    _check_modalities(given.get("responseModalities"), modalities_at)
    return {
        **fields,
        "stop": [text_at(stop, place) for place, stop in each(given.get("stopSequences"), names["stop"])],
        "logprobs": bool(given.get("responseLogprobs")),
        "output": _output(given, at, names["output"]),
        "reasoning": _reasoning(given.get("thinkingConfig"), names["reasoning"]),
    }


def _check_modalities(value: object, at: str) -> None:
    """An answer in pictures or sound is none that can be translated."""
    for place, modality in each(value, at):
        if str(modality).upper() not in ("TEXT", "MODALITY_UNSPECIFIED"):
            raise Unsupported(f"An answer as {modality} cannot be had from this provider.", param=place)


def _output(config: dict[str, Any], at: str, type_at: str) -> OutputFormat | None:
    media_type = config.get("responseMimeType") or "text/plain"
    if media_type == "text/plain":
        return None
    if media_type != "application/json":
        raise Unsupported(f"An answer of type {media_type} cannot be had from this provider.", param=type_at)
    schema = config.get("responseJsonSchema")
    if schema is None and "responseSchema" in config:
        schema = json_schema(config["responseSchema"], f"{at}.responseSchema")
    if schema is None:
        return OutputFormat(kind="json_object")
    if not isinstance(schema, dict):
        raise BadRequest("A schema must be an object.", param=f"{at}.responseJsonSchema")
    return OutputFormat(kind="json_schema", schema=schema)


def _reasoning(config: object, at: str) -> Reasoning | None:
    """Read `thinkingConfig`: a level, or a budget of which 0 is none at all and -1 as much as the model likes."""
    if config is None:
        return None
    given = members(config, at)
    level = given.get("thinkingLevel")
    effort = level.lower() if isinstance(level, str) and level != "THINKING_LEVEL_UNSPECIFIED" else None
    budget = integer(given.get("thinkingBudget"), f"{at}.thinkingBudget")
    if budget == 0:
        effort = "none"
    is_shown = bool(given.get("includeThoughts"))
    return Reasoning(effort=effort, budget=budget if budget is not None and budget > 0 else None, is_shown=is_shown)


# Tools.
