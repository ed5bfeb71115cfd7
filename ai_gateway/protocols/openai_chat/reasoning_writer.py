"""Writing how much the model shall think, in the one word that chat completions have for it: `reasoning_effort`.

Source: `reasoning_effort` of OpenAI's API reference.
"""

from __future__ import annotations

from ai_gateway.protocols.capabilities import Capabilities
from ai_gateway.protocols.conversation import Reasoning
from ai_gateway.protocols.efforts import effort_of, nearest


def wanted_effort(reasoning: Reasoning | None, capabilities: Capabilities) -> str | None:
    """Tell the effort that a request asks for, out of those that the model takes; None to say nothing."""
    if reasoning is None or capabilities.reasoning == "none":
        return None
    wanted = _effort(reasoning)
    if wanted is None or not capabilities.efforts:
        return wanted
    if wanted in capabilities.efforts:
        return wanted
    return nearest(wanted, capabilities.efforts)


def _effort(reasoning: Reasoning) -> str | None:
    if reasoning.mode == "disabled":
        return "none"
    if reasoning.effort is not None:
        return reasoning.effort
    if reasoning.budget is None:
        return None
    if reasoning.budget <= 0:
        return "none" if reasoning.budget == 0 else None
    return effort_of(reasoning.budget)


def is_reasoning(effort: str | None, reasoning: Reasoning | None, capabilities: Capabilities) -> bool:
    """Whether the model is going to reason."""
    if capabilities.reasoning == "none":
        return False
    if effort is not None:
        return effort != "none"
    return capabilities.reasons_by_default or (reasoning is not None and reasoning.mode in ("enabled", "adaptive"))
