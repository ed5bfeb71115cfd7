"""Writing how much the model shall think: `thinking` and `output_config.effort`.

Anthropic has two ways. Older models take a budget of tokens, newer ones think as they see fit (`adaptive`) with an
effort; which of them, and which efforts, is one of the model's capabilities. Sources: "Extended thinking", "Adaptive
thinking" and "Effort" of Anthropic's documentation.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.anthropic_messages.draft import Draft
from ai_gateway.protocols.anthropic_messages.message_writer import has_lost_thinking
from ai_gateway.protocols.conversation import Reasoning
from ai_gateway.protocols.efforts import BUDGETS, EFFORTS, effort_of, nearest

ANTHROPIC_EFFORTS = ("low", "medium", "high", "xhigh", "max")


def write_reasoning(draft: Draft) -> None:
    """Write what the caller wants, as far as the model can. What the caller wrote in Anthropic's own words goes as it
    is. Must come after the messages, and after `max_tokens`."""
    wanted = draft.request.reasoning
    if "thinking" in draft.request.extras:
        draft.body["thinking"] = draft.request.extras["thinking"]
    elif wanted is not None:
        _WRITERS[draft.capabilities.reasoning](draft, wanted)


def is_off(wanted: Reasoning) -> bool:
    """Whether the caller wants no thinking at all."""
    return wanted.effort == "none" or wanted.mode == "disabled"


def _write_effort(draft: Draft, effort: str | None) -> None:
    """Write the nearest effort that the model takes; of one whose efforts are not known, that Anthropic knows."""
    if effort in EFFORTS[1:]:
        taken = nearest(effort, draft.capabilities.efforts) or nearest(effort, ANTHROPIC_EFFORTS)
        draft.body["output_config"] = {"effort": taken}


def _write_nothing(draft: Draft, wanted: Reasoning) -> None:
    if not is_off(wanted):
        draft.drop("reasoning")


def _write_adaptive(draft: Draft, wanted: Reasoning) -> None:
    capabilities = draft.capabilities
    if is_off(wanted):
        _write_off(draft, wanted)
        return
    effort = wanted.effort or _effort_of(wanted.budget)
    is_seen_only = wanted.mode is None and effort is None
    if is_seen_only and not (wanted.is_shown and capabilities.reasons_by_default):
        # Nothing but whether to show it: that does not switch it on.
        return
    draft.body["thinking"] = _shown({"type": "adaptive"}, draft, wanted)
    _write_effort(draft, effort)


def _write_off(draft: Draft, wanted: Reasoning) -> None:
    """Switch thinking off; where that cannot be, ask for as little as there is."""
    effort = wanted.effort if wanted.effort != "none" else None
    if draft.capabilities.can_disable_reasoning:
        draft.body["thinking"] = {"type": "disabled"}
        _write_effort(draft, effort)
    else:
        _write_effort(draft, effort or "low")
        draft.drop("reasoning")


def _effort_of(budget: int | None) -> str | None:
    return None if budget is None else effort_of(budget, "low")


def _write_budget(draft: Draft, wanted: Reasoning) -> None:
    capabilities = draft.capabilities
    if is_off(wanted):
        if capabilities.reasons_by_default or wanted.mode == "disabled":
            _write_off_on_budget(draft)
        return
    if capabilities.efforts:
        _write_effort(draft, wanted.effort)
    asked = wanted.budget or _budget_of(draft, wanted)
    if asked is None:
        return
    largest = min(capabilities.max_budget, draft.body["max_tokens"] - 1)
    budget = min(max(asked, capabilities.min_budget), largest)
    if budget < capabilities.min_budget or has_lost_thinking(draft.body["messages"]):
        draft.drop("reasoning")
    else:
        draft.body["thinking"] = _shown({"type": "enabled", "budget_tokens": budget}, draft, wanted)


def _budget_of(draft: Draft, wanted: Reasoning) -> int | None:
    if wanted.effort == "max":
        return draft.capabilities.max_budget
    if wanted.effort is None:
        return BUDGETS["medium"] if wanted.mode else None
    return BUDGETS.get(wanted.effort)


def _write_off_on_budget(draft: Draft) -> None:
    if draft.capabilities.can_disable_reasoning:
        draft.body["thinking"] = {"type": "disabled"}
    else:
        draft.drop("reasoning")


def _shown(thinking: dict[str, Any], draft: Draft, wanted: Reasoning) -> dict[str, Any]:
    """Ask to see the thinking of a model that keeps it to itself unless it is asked to."""
    is_asked = wanted.is_shown is True and not draft.capabilities.shows_reasoning
    return {**thinking, "display": "summarized"} if is_asked else thinking


def _write_effort_only(draft: Draft, wanted: Reasoning) -> None:
    effort = wanted.effort or _effort_of(wanted.budget)
    if is_off(wanted):
        _write_off(draft, wanted)
    else:
        _write_effort(draft, effort)


_WRITERS = {
    "none": _write_nothing,
    "budget": _write_budget,
    "adaptive": _write_adaptive,
    "effort": _write_effort_only,
    "level": _write_effort_only,
}
"""By the way in which the model is asked."""


def give_up_thinking(draft: Draft) -> None:
    """Take back thinking that was asked for, as it does not go together with something more important."""
    draft.body.pop("thinking", None)
    if draft.capabilities.reasons_by_default:
        draft.body["thinking"] = {"type": "disabled"}
    draft.drop("reasoning")
