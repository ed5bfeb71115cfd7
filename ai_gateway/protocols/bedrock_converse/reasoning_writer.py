"""Writing how much the model shall think. Converse leaves this to the models, but for the effort that some take.

    budget    thinking {"type": "enabled", "budget_tokens"}      Anthropic
    adaptive  thinking {"type": "adaptive"}, and an effort       Anthropic
    level     reasoningConfig {"type": "enabled", "maxReasoningEffort"}  Amazon's Nova 2
    effort    reasoning_effort                                   OpenAI's open models

all in `additionalModelRequestFields`, and the adaptive effort in `outputConfig`. The left column is
`Capabilities.reasoning`.

Source: "Enhance model responses with model reasoning" in the Amazon Bedrock User Guide; "Extended thinking" and
"Adaptive thinking" in Anthropic's documentation; "Extended thinking" in the Amazon Nova 2 User Guide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ai_gateway.protocols.capabilities import Capabilities, Destination
from ai_gateway.protocols.carrier import belongs_to
from ai_gateway.protocols.conversation import Message, Reasoning, Request, Thinking, ToolCall, ToolResult
from ai_gateway.protocols.efforts import BUDGETS, EFFORTS, effort_of, nearest

SHOWN = "summarized"
"""Anthropic's `display` of reasoning that shall be seen."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. `kind` is as in `Capabilities.reasoning`, "none" if the model is not going to reason."""

    kind: str = "none"
    fields: dict[str, Any] = {}
    """Members of `additionalModelRequestFields`."""
    effort: str | None = None
    """The `effort` of `outputConfig`."""
    is_lost: bool = False
    """Whether the caller's wish could not be granted."""

    @property
    def is_on(self) -> bool:
        """Whether the model is going to reason."""
        return self.kind != "none"

    @property
    def is_thinking(self) -> bool:
        """Whether it reasons in Anthropic's way, which excludes other parameters."""
        return self.kind in ("budget", "adaptive")


def planned(request: Request, destination: Destination) -> Plan:
    """Decide what to ask for."""
    capabilities, wish = destination.capabilities, request.reasoning
    given = request.extras.get("thinking")
    if isinstance(given, dict) and capabilities.reasoning in ("budget", "adaptive"):
        return _verbatim(given, wish, capabilities)
    if wish is None or wish == Reasoning():
        return Plan(kind=capabilities.reasoning) if capabilities.reasons_by_default else Plan()
    if capabilities.reasoning == "none":
        return Plan(is_lost=not _is_refusal(wish))
    if _is_refusal(wish):
        return switched_off(capabilities)
    if capabilities.reasoning == "budget":
        return _budget(request, wish, destination)
    if not _asks_for_it(wish) and not capabilities.reasons_by_default:
        return Plan()
    return _adaptive(wish, capabilities) if capabilities.reasoning == "adaptive" else _named(wish, capabilities)


def _verbatim(thinking: dict[str, Any], wish: Reasoning | None, capabilities: Capabilities) -> Plan:
    """Plan what the caller wrote in Anthropic's own words."""
    kind = {"disabled": "none", "enabled": "budget"}.get(str(thinking.get("type")), "adaptive")
    effort = _clipped(wish.effort, capabilities.efforts) if wish is not None and capabilities.efforts else None
    return Plan(kind=kind, fields={"thinking": thinking}, effort=effort)


def _is_refusal(wish: Reasoning) -> bool:
    return wish.effort == "none" or wish.mode == "disabled" or wish.budget == 0


def _asks_for_it(wish: Reasoning) -> bool:
    return wish.effort is not None or wish.budget is not None or wish.mode is not None


def switched_off(capabilities: Capabilities) -> Plan:
    """Plan no reasoning; as little as there may be, with a model that cannot be without it."""
    kind = capabilities.reasoning
    if not capabilities.can_disable_reasoning:
        return msgspec.structs.replace(_weakest(capabilities), is_lost=True)
    if kind in ("budget", "adaptive"):
        return Plan(fields={"thinking": {"type": "disabled"}})
    if kind == "level":
        return Plan(fields={"reasoningConfig": {"type": "disabled"}})
    return Plan(fields={"reasoning_effort": "none"} if "none" in capabilities.efforts else {})


def _weakest(capabilities: Capabilities) -> Plan:
    if capabilities.reasoning == "budget":
        thinking = {"type": "enabled", "budget_tokens": capabilities.min_budget}
        return Plan(kind="budget", fields={"thinking": thinking})
    wish = Reasoning(effort="minimal")
    return _adaptive(wish, capabilities) if capabilities.reasoning == "adaptive" else _named(wish, capabilities)


def _adaptive(wish: Reasoning, capabilities: Capabilities) -> Plan:
    mode = wish.mode if wish.mode == "between_tools" else "adaptive"
    thinking = {"type": mode}
    if wish.is_shown and not capabilities.shows_reasoning:
        thinking["display"] = SHOWN
    return Plan(kind="adaptive", fields={"thinking": thinking}, effort=_clipped(_effort(wish), capabilities.efforts))


def _named(wish: Reasoning, capabilities: Capabilities) -> Plan:
    """Plan reasoning for a model that takes a level, or an effort."""
    kind = capabilities.reasoning
    effort = _clipped(_effort(wish), capabilities.efforts)
    if kind == "level":
        level = {"maxReasoningEffort": effort} if effort is not None else {}
        return Plan(kind=kind, fields={"reasoningConfig": {"type": "enabled", **level}})
    return Plan(kind=kind, fields={"reasoning_effort": effort} if effort is not None else {})


def _effort(wish: Reasoning) -> str | None:
    if wish.effort is not None or wish.budget is None:
        return wish.effort
    return effort_of(wish.budget, "low")


def _clipped(effort: str | None, known: Sequence[str]) -> str | None:
    """Give the nearest effort that the model takes; one that nobody knows is taken for a strong one."""
    if effort is None or effort in known or not known:
        return effort
    return nearest(effort if effort in EFFORTS else EFFORTS[-1], known) or known[0]


def _budget(request: Request, wish: Reasoning, destination: Destination) -> Plan:
    capabilities = destination.capabilities
    if not _asks_for_it(wish):
        return Plan(kind="budget") if capabilities.reasons_by_default else Plan()
    effort = wish.effort or "medium"
    wanted = wish.budget or BUDGETS.get(effort, capabilities.max_budget)
    budget = max(capabilities.min_budget, min(wanted, capabilities.max_budget))
    if request.max_output_tokens is not None:
        budget = min(budget, request.max_output_tokens - 1)
    if budget < capabilities.min_budget or _has_lost_reasoning(request.messages, destination):
        return msgspec.structs.replace(switched_off(capabilities), is_lost=True)
    thinking = {"type": "enabled", "budget_tokens": budget}
    named = _clipped(wish.effort, capabilities.efforts) if capabilities.efforts else None
    return Plan(kind="budget", fields={"thinking": thinking}, effort=named)


def _has_lost_reasoning(messages: Sequence[Message], destination: Destination) -> bool:
    """Whether the caller is amid calls of tools but did not bring the signed reasoning back that they began with. A
    budget is refused then."""
    turns = [message for message in messages if message.role != "system"]
    while turns and turns[-1].role == "user" and any(isinstance(part, ToolResult) for part in turns[-1].parts):
        turns.pop()
    if not turns or len(turns) == len(messages) or turns[-1].role != "assistant":
        return False
    parts = turns[-1].parts
    if not any(isinstance(part, ToolCall) for part in parts):
        return False
    return not any(isinstance(part, Thinking) and belongs_to(part.state, destination) for part in parts)
