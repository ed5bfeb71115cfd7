"""Reading how much the model shall think, which callers say in several ways.

OpenAI's member is `reasoning_effort`. OpenRouter's is `reasoning`: `effort` or `max_tokens`, `enabled`, and `exclude`
for not showing it; `include_reasoning` is its older word for that. Anthropic's `thinking` and `output_config` and
Google's `thinking_config`, inside of `google`, are taken from bodies of this format by some endpoints.

Source: "Reasoning Tokens" of OpenRouter's documentation; "OpenAI compatibility" of Google's and of Anthropic's.
"""

from __future__ import annotations

from typing import Any, TypeVar

from ai_gateway.protocols.conversation import Reasoning
from ai_gateway.protocols.members import boolean, integer, mapping, text

T = TypeVar("T")


def google_members(body: dict[str, Any]) -> dict[str, Any]:
    """Give the members that only Google's endpoint knows: `google`, by itself or inside of `extra_body`."""
    inner = mapping(body, "extra_body") or {}
    return mapping(body, "google") or mapping(inner, "google", "extra_body") or {}


def read_reasoning(body: dict[str, Any], names: dict[str, str]) -> Reasoning | None:
    """Read how much shall be thought, and note in `names` which member says it. The first that says it counts."""
    router = mapping(body, "reasoning") or {}
    thinking = mapping(body, "thinking") or {}
    config = mapping(body, "output_config") or {}
    google = mapping(google_members(body), "thinking_config", "google") or {}
    efforts = {
        "reasoning_effort": text(body, "reasoning_effort"),
        "reasoning": text(router, "effort", "reasoning") or ("none" if router.get("enabled") is False else None),
        "output_config": text(config, "effort", "output_config"),
        "google": (text(google, "thinking_level", "google.thinking_config") or "").lower() or None,
    }
    budgets = {
        "reasoning": integer(router, "max_tokens", "reasoning"),
        "thinking": integer(thinking, "budget_tokens", "thinking"),
        "google": _budget(integer(google, "thinking_budget", "google.thinking_config")),
    }
    said_effort, effort = _first(efforts)
    said_budget, budget = _first(budgets)
    mode = text(thinking, "type", "thinking")
    is_shown = _is_shown(body, router, thinking, google)
    if effort is None and budget is None and mode is None and is_shown is None:
        return None
    names["reasoning"] = said_effort or said_budget or ("thinking" if mode else "include_reasoning")
    return Reasoning(effort=effort, budget=budget, mode=mode, is_shown=is_shown)


def _first(said: dict[str, T | None]) -> tuple[str, T | None]:
    """Give the first member that says something, and what it says."""
    return next(((name, value) for name, value in said.items() if value is not None), ("", None))


def _budget(given: int | None) -> int | None:
    """Give a budget; a negative one is Google's word for leaving it to the model."""
    return None if given is None or given < 0 else given


def _is_shown(
    body: dict[str, Any], router: dict[str, Any], thinking: dict[str, Any], google: dict[str, Any]
) -> bool | None:
    """Tell whether the caller wants to see the reasoning."""
    wanted = boolean(body, "include_reasoning")
    if wanted is not None:
        return wanted
    excluded = boolean(router, "exclude", "reasoning")
    if excluded is not None:
        return not excluded
    if thinking.get("display") is not None:
        return {"summarized": True, "omitted": False}.get(str(thinking["display"]))
    return boolean(google, "include_thoughts", "google.thinking_config")
