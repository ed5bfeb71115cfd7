"""Writing requests to providers of Messages.

Source: Anthropic's Messages API reference, version 2023-06-01, the one that takes `temperature`.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.errors import BadRequest
from ai_gateway.protocols.anthropic_messages.citations import FORMAT
from ai_gateway.protocols.anthropic_messages.content_writer import write_mark
from ai_gateway.protocols.anthropic_messages.draft import Draft
from ai_gateway.protocols.anthropic_messages.marks import limit_marks
from ai_gateway.protocols.anthropic_messages.message_writer import write_turns
from ai_gateway.protocols.anthropic_messages.output_writer import write_output
from ai_gateway.protocols.anthropic_messages.reasoning_writer import write_reasoning
from ai_gateway.protocols.anthropic_messages.tool_writer import sent_names, write_choice, write_tools
from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.conversation import CustomTool, Request
from ai_gateway.protocols.identifiers import identifier
from ai_gateway.protocols.protocol import Emulation, Outgoing
from ai_gateway.protocols.writing import refuse_logprobs, refuse_several_answers, shared_stop

EXTRAS = (
    "thinking",
    "output_config",
    "cache_control",
    "container",
    "context_management",
    "inference_geo",
    "mcp_servers",
    "speed",
    "top_k",
)
"""Members of Messages that a caller of another format may put in on purpose, besides `anthropic_beta`."""

EXTRA_BETAS = {"context_management": "context-management-2025-06-27", "speed": "fast-mode-2026-02-01"}
"""The beta features that they need."""

MCP_BETA = "mcp-client-2025-04-04"
MCP_TOOLSET_BETA = "mcp-client-2025-11-20"

TIERS = {"auto": "auto", "priority": "auto", "default": "standard_only"}
"""OpenAI's `service_tier` in Anthropic's words."""

LEAST_TOP_P = 0.95
"""The smallest `top_p` that goes together with thinking."""

IDENTIFIER_LENGTH = 256
"""How long the name of a user may be."""


def write_request(request: Request, destination: Destination) -> Outgoing:
    """Write a request. Raises Unsupported for what would change the answer and cannot be said, BadRequest for what no
    provider could answer. The portions are written in the order in which they depend on one another."""
    draft = Draft(request, destination, sent_names(request))
    refuse_several_answers(request)
    refuse_logprobs(request)
    _write_limit(draft)
    draft.body["stream"] = request.stream
    write_turns(draft)
    write_tools(draft)
    write_reasoning(draft)
    write_output(draft)
    write_choice(draft)
    _write_sampling(draft)
    _write_stop(draft)
    _write_caller(draft)
    _write_extras(draft)
    if limit_marks(draft.body):
        draft.drop_names(("cache_control",))
    _drop_hints(draft)
    headers = ((b"anthropic-beta", ",".join(draft.betas).encode("ascii", "ignore")),) if draft.betas else ()
    return Outgoing(body=draft.body, dropped=draft.dropped, headers=headers, emulation=_emulation(draft))


def _write_limit(draft: Draft) -> None:
    """`max_tokens` must be there. None is the model's most; 0 would ask for an empty answer."""
    limit = draft.request.max_output_tokens
    if limit is not None and limit < 1 and draft.request.format != FORMAT:
        name = draft.request.name_of("max_output_tokens")
        raise BadRequest(f"{name} must be at least 1.", param=name)
    draft.body["max_tokens"] = draft.capabilities.max_output_tokens if limit is None else limit


def _write_sampling(draft: Draft) -> None:
    """Write how tokens are chosen. With thinking, Anthropic takes no other temperature than 1, and hardly a `top_p`."""
    request, capabilities = draft.request, draft.capabilities
    is_fixed = capabilities.sampling == "never" or draft.is_thinking
    if request.temperature is not None:
        _write_temperature(draft, request.temperature, is_fixed)
    if request.top_p is not None:
        _write_top_p(draft, request.top_p, is_fixed)
    if request.top_k is not None:
        if capabilities.top_k and not is_fixed:
            draft.body["top_k"] = request.top_k
        else:
            draft.drop("top_k")


def _write_temperature(draft: Draft, temperature: float, is_fixed: bool) -> None:
    """Anthropic's goes from 0 to 1, others' to 2. 1 is what it is anyway."""
    if not is_fixed:
        draft.body["temperature"] = min(temperature, 1)
    elif temperature != 1:
        draft.drop("temperature")


def _write_top_p(draft: Draft, top_p: float, is_fixed: bool) -> None:
    is_second = "temperature" in draft.body and not draft.capabilities.both_samplings
    is_slight = draft.capabilities.sampling != "never" and top_p >= LEAST_TOP_P
    if (not is_fixed or is_slight) and not is_second:
        draft.body["top_p"] = top_p
    elif top_p != 1:
        draft.drop("top_p")


def _write_stop(draft: Draft) -> None:
    """A stop sequence must not be blank. Those that are, and those that are too many, are looked for in the answer."""
    sent, draft.unsent_stop = shared_stop(draft.request, draft.capabilities, takes_blanks=False)
    if sent:
        draft.body["stop_sequences"] = sent


def _write_caller(draft: Draft) -> None:
    """Write who asks, and how the request is served and cached."""
    request = draft.request
    if request.user:
        draft.body["metadata"] = {"user_id": identifier(request.user, IDENTIFIER_LENGTH, "user_")}
    if request.service_tier is not None:
        tier = TIERS.get(request.service_tier)
        if tier is not None:
            draft.body["service_tier"] = tier
        else:
            draft.drop("service_tier")
    if request.cache is not None:
        draft.body["cache_control"] = write_mark(request.cache)


def _write_extras(draft: Draft) -> None:
    """Take over what the caller wrote in Anthropic's own words; it wins over what was derived."""
    extras = draft.request.extras
    for name in EXTRAS:
        if extras.get(name) is not None:
            draft.body[name] = _merged(draft.body.get(name), extras[name])
            draft.need(*([EXTRA_BETAS[name]] if name in EXTRA_BETAS else ()))
    if extras.get("mcp_servers"):
        draft.need(MCP_TOOLSET_BETA if MCP_TOOLSET_BETA in draft.betas else MCP_BETA)
    betas = extras.get("anthropic_beta")
    given = betas.split(",") if isinstance(betas, str) else betas if isinstance(betas, list) else []
    draft.need(*(each.strip() for each in given if isinstance(each, str) and each.strip()))


def _merged(derived: Any, given: Any) -> Any:
    return {**derived, **given} if isinstance(derived, dict) and isinstance(given, dict) else given


def _drop_hints(draft: Draft) -> None:
    """Report what could not be said. What says nothing (null, false, nothing at all) is not missed."""
    request = draft.request
    for field in ("seed", "frequency_penalty", "presence_penalty", "metadata", "session"):
        value = getattr(request, field)
        if value or (field == "seed" and value is not None):
            draft.drop(field)
    if request.verbosity not in (None, "medium"):
        draft.drop("verbosity")
    taken = {*EXTRAS, "anthropic_beta"}
    unused = {name: value for name, value in request.extras.items() if name not in taken}
    said = {**request.hints, **unused}
    draft.drop_names(name for name, value in said.items() if value not in (None, False, "", [], {}))


def _emulation(draft: Draft) -> Emulation | None:
    custom = {tool.name for tool in draft.request.tools if isinstance(tool, CustomTool)}
    if not (draft.json_tool or custom or draft.sent_names or draft.unsent_stop):
        return None
    return Emulation(
        json_tool=draft.json_tool,
        custom_tools=frozenset(draft.sent_names.get(name, name) for name in custom),
        names={sent: known for known, sent in draft.sent_names.items()},
        stop=draft.unsent_stop,
    )
