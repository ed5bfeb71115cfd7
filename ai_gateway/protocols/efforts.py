"""How much a model shall think: the words for it, the budgets of tokens that stand for them, and a model's nearest.

Formats say it by one word (OpenAI's `reasoning_effort`, Google's levels) or by a number of tokens (Anthropic's
`budget_tokens`, Google's `thinkingBudget`), and models differ in which of the words they take. Sources: the tables of
Google's compatible endpoint and of OpenRouter, rounded.
"""

from __future__ import annotations

from collections.abc import Container

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""All efforts, weakest first."""

BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768}
"""Tokens of thinking for an effort at Anthropic's models; "max" is as many as the model may use."""

LEAST_LOW = 1500
"""Below so many tokens a budget means less than a low effort."""

LIMITS = ((8192, "low"), (16384, "medium"))
"""Below how many tokens a budget means what effort; from the last on, it is high."""


def effort_of(budget: int, weakest: str = "minimal") -> str:
    """Tell the effort that a budget means; `weakest` is the least that there is a word for."""
    if budget < LEAST_LOW:
        return weakest
    return next((effort for limit, effort in LIMITS if budget < limit), "high")


def nearest(wanted: str, offered: Container[str]) -> str | None:
    """Give the strongest effort not above the one that is wanted, else the weakest above it: who pays for less should
    not get more. Thinking is not switched off for want of a weak effort. None for a word that nobody knows, or if no
    effort is offered."""
    ladder = [effort for effort in EFFORTS[1:] if effort in offered]
    if wanted not in EFFORTS or not ladder:
        return None
    weaker = [effort for effort in ladder if EFFORTS.index(effort) <= EFFORTS.index(wanted)]
    return weaker[-1] if weaker else ladder[0]
