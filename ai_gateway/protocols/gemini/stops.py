"""Why Google's answers end.

Source: `FinishReason` and `BlockedReason` of the Gemini API's reference and of google-genai. Vertex AI was recorded
with the numbers of its enumeration in place of the names.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.conversation import Stop

NUMBERS = (
    "FINISH_REASON_UNSPECIFIED",
    "STOP",
    "MAX_TOKENS",
    "SAFETY",
    "RECITATION",
    "OTHER",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MALFORMED_FUNCTION_CALL",
    "MODEL_ARMOR",
)
"""The names, by Vertex AI's number (google.cloud.aiplatform.v1.Candidate.FinishReason)."""

FILTERED = frozenset(
    (
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
        "ESCALATION",
    )
)
"""Policies that stopped the answer."""

BROKEN = frozenset(
    (
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "MALFORMED_RESPONSE",
        "MISSING_THOUGHT_SIGNATURE",
        "TOO_MANY_TOOL_CALLS",
        "NO_IMAGE",
        "IMAGE_OTHER",
        "OTHER",
    )
)
"""The model failed. Without any content there is no answer; with some, it is the answer."""

WRITTEN = {
    Stop.END: "STOP",
    Stop.TOOL_USE: "STOP",
    Stop.STOP_SEQUENCE: "STOP",
    Stop.MAX_TOKENS: "MAX_TOKENS",
    Stop.CONTEXT_FULL: "MAX_TOKENS",
    Stop.FILTERED: "SAFETY",
    Stop.PAUSED: "STOP",
}
"""What Google says for why an answer ended. It has no word of its own for calls of tools."""


def reason_name(reason: object) -> str | None:
    """Give the name of a finish reason; None if it is none, or not known yet."""
    if isinstance(reason, int):
        reason = NUMBERS[reason] if 0 <= reason < len(NUMBERS) else "OTHER"
    if not isinstance(reason, str) or reason in ("", "FINISH_REASON_UNSPECIFIED"):
        return None
    return reason


def read_stop(reason: str | None, is_calling: bool) -> Stop:
    """Tell why an answer with this finish reason ended. Reasons that are not known are an end like any."""
    if reason == "MAX_TOKENS":
        return Stop.MAX_TOKENS
    if reason in FILTERED:
        return Stop.FILTERED
    return Stop.TOOL_USE if is_calling else Stop.END


def last_candidate(parts: list[dict[str, Any]], stop: Stop, explanation: str | None) -> dict[str, Any]:
    """Write the candidate that ends an answer. As Google does, it tells in `finishMessage` why a policy stopped it."""
    candidate = {"content": {"parts": parts, "role": "model"}, "finishReason": WRITTEN[stop], "index": 0}
    return {**candidate, "finishMessage": explanation} if explanation else candidate
