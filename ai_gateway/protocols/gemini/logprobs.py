"""The probabilities of tokens: Google's `logprobsResult`, in OpenAI's shape.

Source: `LogprobsResult` of the Gemini API's reference; `ChatCompletionTokenLogprob` of OpenAI's.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.jsontext import objects_in


def read_logprobs(result: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Give one entry per token that was chosen, None if there is none."""
    chosen = objects_in(result.get("chosenCandidates"))
    others = objects_in(result.get("topCandidates"))
    return [
        {**_token(token), "top_logprobs": [_token(other) for other in objects_in(_at(others, place).get("candidates"))]}
        for place, token in enumerate(chosen)
    ] or None


def _at(others: list[dict[str, Any]], place: int) -> dict[str, Any]:
    return others[place] if place < len(others) else {}


def _token(candidate: dict[str, Any]) -> dict[str, Any]:
    text = candidate.get("token") or ""
    return {
        "token": text,
        "logprob": candidate.get("logProbability") or 0.0,
        "bytes": list(text.encode("utf-8", "surrogatepass")),
    }


def write_logprobs(logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    """Write `logprobsResult` of entries in OpenAI's shape."""
    chosen = [_candidate(entry) for entry in logprobs]
    others = [{"candidates": [_candidate(top) for top in objects_in(entry.get("top_logprobs"))]} for entry in logprobs]
    return {"chosenCandidates": chosen, "topCandidates": others}


def _candidate(entry: dict[str, Any]) -> dict[str, Any]:
    return {"token": entry.get("token", ""), "logProbability": entry.get("logprob", 0.0)}
