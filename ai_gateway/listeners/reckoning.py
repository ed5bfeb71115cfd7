"""From what an answer told, and what of it passed, to what it used.

The provider's numbers win, and 0 is a number. Where it gave none, or the answer was cut before it gave the last, the
prompt is what it told of it, else a guess from the request; the answer is the text that passed, and never less than
what the provider had counted by then. Such a count is marked as estimated. Reasoning that no event shows is not in it.
"""

from __future__ import annotations

import msgspec

from ai_gateway import estimates
from ai_gateway.calls import Call
from ai_gateway.consumption import NOTHING, Consumption
from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.protocols.passing import Passing


def consumption_of(passing: Passing, call: Call) -> Consumption | None:
    """Tell what an answer used. None if neither the provider says it, nor anything can be estimated."""
    if passing.is_under_way:
        return None
    tokens = passing.usage if passing.is_final else None
    if tokens is None and passing.can_be_estimated:
        known = passing.usage or passing.prompt
        tokens = estimated(known, call, passing.text, passing.reasoning, passing.pieces)
    if tokens is None and not passing.units:
        return None
    return Consumption(
        tokens=tokens or NOTHING,
        units=passing.units,
        model=passing.model,
        upstream_id=passing.id,
        service_tier=passing.tier,
    )


def passed_tokens(passing: Passing) -> int:
    """Tell about how many tokens of an answer have passed: what was counted by then, or the text that came."""
    counted = passing.usage.output + passing.usage.reasoning if passing.usage is not None else 0
    return max(counted, estimates.text_tokens(passing.text + passing.reasoning, passing.pieces))


def estimated(known: TokenUsage | None, call: Call, text: float, reasoning: float, pieces: float) -> TokenUsage:
    """Estimate what an answer used of which so many bytes of text and reasoning came, in so many pieces.

    `known` is what the provider had told by then.
    """
    if known is None:
        known = TokenUsage(input=estimates.likely_input_tokens(call.body))
    total = estimates.text_tokens(text + reasoning, pieces)
    thought = round(total * reasoning / (text + reasoning)) if reasoning else 0
    return msgspec.structs.replace(
        known,
        output=max(known.output, total - thought),
        reasoning=max(known.reasoning, thought),
        is_estimated=True,
    )
