"""Why an answer ended, in Anthropic's words.

Source: "Handling stop reasons" of Anthropic's documentation.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.conversation import Stop

READ = {
    "end_turn": Stop.END,
    "stop_sequence": Stop.STOP_SEQUENCE,
    "tool_use": Stop.TOOL_USE,
    "max_tokens": Stop.MAX_TOKENS,
    "model_context_window_exceeded": Stop.CONTEXT_FULL,
    "refusal": Stop.FILTERED,
    "pause_turn": Stop.PAUSED,
}

WRITTEN = {stop: reason for reason, stop in READ.items()}


def read_stop(reason: object) -> Stop:
    """Read a `stop_reason`. One that is missing or new is a normal end."""
    return READ.get(reason, Stop.END) if isinstance(reason, str) else Stop.END


def read_explanation(details: object) -> str | None:
    """Read from `stop_details` why the model refused."""
    explanation = details.get("explanation") if isinstance(details, dict) else None
    return explanation if isinstance(explanation, str) and explanation else None


def write_stop(stop: Stop, is_calling: bool) -> str:
    """Write a `stop_reason`. A client runs tools only if it says so, and looks for a call if it does: an upstream that
    ends "stop" with calls, or "tool_calls" without, is corrected."""
    if stop is Stop.END and is_calling:
        return "tool_use"
    if stop is Stop.TOOL_USE and not is_calling:
        return "end_turn"
    return WRITTEN[stop]


def write_details(stop: Stop, explanation: str | None) -> dict[str, Any] | None:
    """Write `stop_details`, which only a refusal has."""
    if stop is not Stop.FILTERED:
        return None
    return {"type": "refusal", "category": None, "explanation": explanation}
