"""Writing how much the model shall think: `thinkingConfig`, with a level (Gemini 3) or a budget (Gemini 2.5).

Source: "Thinking" of the Gemini API's documentation; the budgets are those of its OpenAI-compatible endpoint.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.capabilities import Capabilities
from ai_gateway.protocols.conversation import Reasoning, Request
from ai_gateway.protocols.efforts import EFFORTS, effort_of, nearest

LEVELS = {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "XHIGH"}
"""What Google calls the efforts that it has."""

USUAL_EFFORTS = ("low", "medium", "high")
"""What every model with levels takes."""

BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
"""Tokens for an effort. Stronger ones get all that the model takes."""

SHOWING = ("enabled", "adaptive")
"""Modes of Anthropic's by which a caller asks to see what is thought, unless it says otherwise."""


def write_thinking(request: Request, capabilities: Capabilities, dropped: list[str]) -> dict[str, Any] | None:
    """Write `thinkingConfig`, None for nothing. A wish that the model cannot fulfil goes to `dropped`."""
    reasoning = request.reasoning
    if reasoning is None:
        return None
    wanted = _effort(reasoning)
    if capabilities.reasoning == "none":
        if wanted not in (None, "none") or reasoning.budget:
            dropped.append(request.name_of("reasoning"))
        return None
    if wanted == "none" and not capabilities.can_disable_reasoning:
        dropped.append(request.name_of("reasoning"))
    write = _budget if capabilities.reasoning == "budget" else _level
    config = write(reasoning, wanted, capabilities)
    is_shown = reasoning.mode in SHOWING if reasoning.is_shown is None else reasoning.is_shown
    if is_shown and wanted != "none":
        config["includeThoughts"] = True
    return config or None


def is_off(request: Request, capabilities: Capabilities) -> bool:
    """Whether the model will not think."""
    if capabilities.reasoning == "none":
        return True
    wanted = _effort(request.reasoning) if request.reasoning is not None else None
    if wanted is None and (request.reasoning is None or not request.reasoning.budget):
        return not capabilities.reasons_by_default
    return wanted == "none" and capabilities.can_disable_reasoning


def _effort(reasoning: Reasoning) -> str | None:
    return "none" if reasoning.mode == "disabled" else reasoning.effort


def _level(reasoning: Reasoning, wanted: str | None, capabilities: Capabilities) -> dict[str, Any]:
    """Write a level: the strongest that the model has up to what is wanted, else its weakest."""
    if wanted is None and reasoning.budget:
        wanted = effort_of(reasoning.budget)
    offered = [effort for effort in capabilities.efforts or USUAL_EFFORTS if effort in LEVELS]
    effort = nearest(wanted, offered) if wanted is not None else None
    return {"thinkingLevel": LEVELS[effort]} if effort is not None else {}


def _budget(reasoning: Reasoning, wanted: str | None, capabilities: Capabilities) -> dict[str, Any]:
    """Write a budget within what the model takes."""
    if wanted == "none":
        return {"thinkingBudget": 0 if capabilities.can_disable_reasoning else capabilities.min_budget}
    if reasoning.budget is not None:
        budget = reasoning.budget
    elif wanted in EFFORTS:
        budget = BUDGETS.get(wanted, capabilities.max_budget)
    else:
        return {}
    return {"thinkingBudget": max(capabilities.min_budget, min(budget, capabilities.max_budget))}
