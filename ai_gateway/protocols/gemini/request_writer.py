"""Writing requests for Google: `GenerateContentRequest` of the Gemini API's reference."""

from __future__ import annotations

from typing import Any

from ai_gateway.errors import BadRequest
from ai_gateway.protocols.capabilities import Capabilities, Destination
from ai_gateway.protocols.conversation import CustomTool, Opaque, Refusal, Request, Text
from ai_gateway.protocols.gemini.message_writer import ContentsWriter
from ai_gateway.protocols.gemini.output_writer import Output, write_output
from ai_gateway.protocols.gemini.reasoning_writer import is_off, write_thinking
from ai_gateway.protocols.gemini.tool_names import ToolNames
from ai_gateway.protocols.gemini.tool_writer import write_choice, write_tools
from ai_gateway.protocols.gemini.usage import TIERS_WRITTEN, USUAL_TIERS
from ai_gateway.protocols.protocol import Emulation, Outgoing
from ai_gateway.protocols.writing import (
    refuse_logprobs,
    refuse_several_answers,
    shared_stop,
    wants_single_calls,
)

EXTRAS = ("safetySettings", "cachedContent", "labels")
"""Members of Google's that callers of other formats put into their bodies on purpose."""

HINTS = ("verbosity", "user", "session", "metadata")
"""Fields that Google has no word for, and that change nothing in what is asked."""

SEEDS = 2**31
"""Google takes seeds of 31 bits; OpenAI's have 64."""


def write_request(request: Request, destination: Destination) -> Outgoing:
    """Write a request. Raises Unsupported for what would change the answer and cannot be said."""
    _check(request, destination.capabilities)
    dropped: list[str] = []
    names = ToolNames()
    contents = ContentsWriter(destination, names)
    written = contents.write(request.messages)
    if not written:
        raise BadRequest("The conversation has no turn of the user's.", param=request.name_of("messages"))
    output = write_output(request, destination, names, dropped)
    config = {**_sampling(request, destination.capabilities, dropped), **output.config}
    thinking = write_thinking(request, destination.capabilities, dropped)
    if thinking:
        config["thinkingConfig"] = thinking
    body: dict[str, Any] = {
        "contents": written,
        **_instruction(request, output, dropped),
        **_tools(request, destination, names, output, dropped),
        **({"generationConfig": config} if config else {}),
        **_tier(request, dropped),
        **{name: request.extras[name] for name in EXTRAS if name in request.extras},
    }
    return Outgoing(
        body=body,
        dropped=[*dropped, *contents.dropped, *_hints(request)],
        emulation=_emulation(request, destination.capabilities, names, output),
    )


def _check(request: Request, capabilities: Capabilities) -> None:
    """Refuse what nobody could see to be missing from the answer. An answer here is one candidate."""
    refuse_several_answers(request)
    if not capabilities.logprobs:
        refuse_logprobs(request)


def _hints(request: Request) -> list[str]:
    """Name what is left out."""
    names = [request.name_of(field) for field in HINTS if getattr(request, field)]
    if wants_single_calls(request):
        names.append(request.name_of("parallel_tool_calls"))
    # Of extras, those that were read as a field of the request as well are not missed (Anthropic's `thinking`).
    read = (*EXTRAS, *request.names.values())
    return [*names, *request.hints, *(name for name in request.extras if name not in read)]


# Sampling and limits.


def _sampling(request: Request, capabilities: Capabilities, dropped: list[str]) -> dict[str, Any]:
    """Write the part of `generationConfig` that is numbers and stop sequences."""
    takes_sampling = capabilities.sampling == "any" or (
        capabilities.sampling == "without_reasoning" and is_off(request, capabilities)
    )
    takes_top_p = takes_sampling and (capabilities.both_samplings or request.temperature is None)
    fields = (
        ("temperature", "temperature", takes_sampling),
        ("top_p", "topP", takes_top_p),
        ("top_k", "topK", capabilities.top_k),
        ("frequency_penalty", "frequencyPenalty", capabilities.penalties),
        ("presence_penalty", "presencePenalty", capabilities.penalties),
    )
    config: dict[str, Any] = {}
    if request.max_output_tokens is not None:
        config["maxOutputTokens"] = request.max_output_tokens
    for field, name, is_taken in fields:
        value = getattr(request, field)
        if value is not None and is_taken:
            config[name] = value
        elif value is not None and not (value == 0 and name.endswith("Penalty")):
            dropped.append(request.name_of(field))
    return {
        **config,
        **_seed(request, capabilities, dropped),
        **_stop(request, capabilities),
        **_odds(request),
    }


def _seed(request: Request, capabilities: Capabilities, dropped: list[str]) -> dict[str, Any]:
    if request.seed is None:
        return {}
    if not capabilities.seed:
        dropped.append(request.name_of("seed"))
        return {}
    return {"seed": request.seed % SEEDS}


def _stop(request: Request, capabilities: Capabilities) -> dict[str, Any]:
    taken, _ = shared_stop(request, capabilities)
    return {"stopSequences": taken} if taken else {}


def _odds(request: Request) -> dict[str, Any]:
    if not request.logprobs and not request.top_logprobs:
        return {}
    return {"responseLogprobs": True, **({"logprobs": request.top_logprobs} if request.top_logprobs else {})}


def _tier(request: Request, dropped: list[str]) -> dict[str, Any]:
    tier = request.service_tier
    if tier in TIERS_WRITTEN:
        return {"serviceTier": TIERS_WRITTEN[tier]}
    if tier not in USUAL_TIERS:
        dropped.append(request.name_of("service_tier"))
    return {}


# Instructions and tools.


def _instruction(request: Request, output: Output, dropped: list[str]) -> dict[str, Any]:
    """Write `systemInstruction`, which is all that the operator says, wherever it stands, in its order."""
    parts = [part for message in request.messages if message.role == "system" for part in message.parts]
    dropped += (part.at for part in parts if isinstance(part, Opaque))
    texts = [part.text for part in parts if isinstance(part, Text | Refusal) and part.text.strip()]
    texts += [output.instruction] if output.instruction else []
    return {"systemInstruction": {"parts": [{"text": text} for text in texts]}} if texts else {}


def _tools(
    request: Request, destination: Destination, names: ToolNames, output: Output, dropped: list[str]
) -> dict[str, Any]:
    """Write `tools` and `toolConfig`. The tool whose arguments are the answer must be called if no other is."""
    tools = [] if output.replaces_tools else write_tools(request, destination, names, dropped)
    choice = None if output.replaces_tools else write_choice(request, destination, names)
    if output.tool is not None:
        functions = next((entry for entry in tools if "functionDeclarations" in entry), None)
        if functions is None:
            tools = [{"functionDeclarations": [output.tool]}, *tools]
        else:
            functions["functionDeclarations"].append(output.tool)
        choice = output.choice(choice)
    body: dict[str, Any] = {"tools": tools} if tools else {}
    return {**body, "toolConfig": {"functionCallingConfig": choice}} if choice else body


def _emulation(request: Request, capabilities: Capabilities, names: ToolNames, output: Output) -> Emulation | None:
    custom = frozenset(names.sent(tool.name) for tool in request.tools if isinstance(tool, CustomTool))
    json_tool = output.tool["name"] if output.tool else ""
    _, stop = shared_stop(request, capabilities)
    if not (custom or json_tool or names.changed or stop):
        return None
    return Emulation(json_tool=json_tool, custom_tools=custom, names=names.changed, stop=stop)
