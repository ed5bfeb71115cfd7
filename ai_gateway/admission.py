"""May this call be made? Every limit that applies must admit it, before anything is sent, and learns what it used.

What a call will use is estimated and reserved, in one step for all limits, all or none; when it is over, what it really
used takes the estimate's place. So calls at the same time cannot use up together what is only there once: a budget is
exceeded at most by what the calls under way use beyond their estimates.

Limits of the provider and the model belong to a target. When a target fails and the next one is tried, its charges are
settled by nothing, and those of the next are taken.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ai_gateway import estimates
from ai_gateway.allowances import Due, now
from ai_gateway.calls import Target
from ai_gateway.charges import Charge
from ai_gateway.consumption import Consumption
from ai_gateway.errors import LimitsUnavailable, PriceUnknown
from ai_gateway.holds import Hold
from ai_gateway.limits import StoreUnavailable, store
from ai_gateway.meter import Meter
from ai_gateway.pricing import Price
from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.registry import Snapshot

logger = logging.getLogger("ai_gateway")


async def admit(meter: Meter, target: Target, snapshot: Snapshot) -> None:
    """Have a call's limits admit it to a target: with its first target those of the call, with every one its own.

    Raises RateLimited, BudgetExceeded, PriceUnknown or LimitsUnavailable.
    """
    dues = _dues(meter, target, snapshot)
    policy = snapshot.require_price
    if not dues and policy != "always":
        return
    measures = {due.rule.measure for due in dues}
    price = None
    if "cost" in measures or policy == "always":
        price = _price(target, snapshot, is_needed=policy == "always" or ("cost" in measures and policy == "budgeted"))
    if not dues:
        return
    wanted = _charges(meter, dues, measures, price, snapshot)
    hold = meter.hold or Hold(meter.id, store())
    try:
        await hold.take(wanted, snapshot.reservation_ttl)
        meter.hold = hold
    except StoreUnavailable as error:
        logger.error("%s: the limits cannot be checked: %s", meter.arrival.request_id, error)
        raise LimitsUnavailable(
            "This gateway cannot check its limits at the moment. Send the request again.", retry_after=1
        ) from error


def _dues(meter: Meter, target: Target, snapshot: Snapshot) -> list[Due]:
    table = snapshot.limits
    if not table:
        return []
    dues: list[Due] = []
    assert meter.call is not None
    if meter.hold is None:
        dues += table.of_call(meter.call, meter.caller, meter.route)
    dues += table.of_target(target.provider, target.model or "")
    # One order in all processes: whoever takes the same counters takes them in the same order.
    dues.sort(key=lambda due: (due.rule.id, due.subject))
    return dues


def _price(target: Target, snapshot: Snapshot, *, is_needed: bool) -> Price | None:
    if not target.model:
        return None  # Files, lists and the like, which are for no model.
    provider = snapshot.providers[target.provider]
    price = snapshot.prices.of(target.provider, provider.row, target.model, now())
    if price is None and is_needed:
        raise PriceUnknown(
            f"This gateway does not know what {target.provider}/{target.model} costs, and so cannot keep a budget. "
            "The operator can enter a price, 0 for what is free.",
            param="model",
        )
    return price


def _charges(
    meter: Meter, dues: Sequence[Due], measures: set[str], price: Price | None, snapshot: Snapshot
) -> list[tuple[Due, Charge]]:
    amounts = {"requests": 1, "concurrency": 1}
    if "tokens" in measures or "cost" in measures:
        assert meter.call is not None
        prompt = estimates.input_tokens(meter.call.body)
        answer = estimates.output_tokens(meter.call, snapshot.reserved_output)
        amounts["tokens"] = prompt + answer
        expected = Consumption(tokens=TokenUsage(input=prompt, output=answer))
        amounts["cost"] = price.cost(expected) if price is not None else 0
    at = now()
    return [(due, due.rule.charge(due.subject, amounts[due.rule.measure], at)) for due in dues]
