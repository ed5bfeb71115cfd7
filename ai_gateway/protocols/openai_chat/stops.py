"""Why an answer ended, in the words of chat completions and of those who have words of their own.

Source: `finish_reason` of OpenAI's API reference; Mistral's `model_length`, Together's `eos`, OpenRouter's `error`.
Google's compatible endpoint and several local servers say `stop` where the model called tools.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.conversation import Stop

STOPS = {
    "stop": Stop.END,
    "length": Stop.MAX_TOKENS,
    "max_tokens": Stop.MAX_TOKENS,
    "tool_calls": Stop.TOOL_USE,
    "function_call": Stop.TOOL_USE,
    "content_filter": Stop.FILTERED,
    "model_length": Stop.CONTEXT_FULL,
    "model_context_window_exceeded": Stop.CONTEXT_FULL,
}
"""What a reason means. Every other one is the model's own end."""

FAILED = "error"
"""The reason that is no end but a failure (OpenRouter, Mistral)."""

REASONS = {
    Stop.END: "stop",
    Stop.TOOL_USE: "tool_calls",
    Stop.STOP_SEQUENCE: "stop",
    Stop.MAX_TOKENS: "length",
    Stop.CONTEXT_FULL: "length",
    Stop.FILTERED: "content_filter",
    Stop.PAUSED: "stop",
}


def read_stop(reason: str | None, has_calls: bool, sequence: str | None) -> Stop:
    """Tell why an answer ended, given the reason, whether it has calls, and the stop sequence that came, if any."""
    stop = STOPS.get(reason or "", Stop.END)
    if stop in (Stop.END, Stop.TOOL_USE):
        if has_calls:
            return Stop.TOOL_USE
        return Stop.END if sequence is None else Stop.STOP_SEQUENCE
    return stop


def stop_sequence(choice: dict[str, Any]) -> str | None:
    """Give the stop sequence that came, where the provider tells it: vLLM, SGLang, or a gateway like this one."""
    for name in ("stop_reason", "matched_stop", "stop_sequence"):
        value = choice.get(name)
        if isinstance(value, str) and value and value not in STOPS:
            return value
    return None


def write_reason(stop: Stop, has_calls: bool, uses_functions: bool) -> str:
    """Write why an answer ended. `uses_functions`: for a caller that knows only the older function calls."""
    if stop is Stop.TOOL_USE:
        if not has_calls:
            return "stop"
        return "function_call" if uses_functions else "tool_calls"
    return REASONS[stop]
