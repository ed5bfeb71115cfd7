"""May this call be made? Every limit that applies must admit it, before anything is sent, and learns what it used.

What a call will use is estimated and reserved, in one step for all limits, all or none; when it is over, what it really
used takes the estimate's place. So calls at the same time cannot use up together what is only there once: a budget is
exceeded at most by what the calls under way use beyond their estimates.

Limits of the provider and the model belong to a target. When a target fails and the next one is tried, its charges are
settled by nothing, and those of the next are taken.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from ai_gateway import estimates
from ai_gateway.allowances import Dues, LimitTable, in_order
from ai_gateway.calls import Call, Target
from ai_gateway.consumption import Consumption
from ai_gateway.errors import LimitsUnavailable, PriceUnknown, UsageUnknown
from ai_gateway.holds import Hold, is_of_answer
from ai_gateway.limits import StoreUnavailable, store
from ai_gateway.listeners import is_countable, is_legible, is_paid
from ai_gateway.meter import Meter
from ai_gateway.pricing import Price
from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.registry import Snapshot

logger = logging.getLogger("ai_gateway")


def is_needed(snapshot: Snapshot) -> bool:
    """Whether any call has to be admitted: there are limits, or every call needs a price."""
    return bool(snapshot.limits.rules) or snapshot.require_price == "always"


async def admit(meter: Meter, target: Target, snapshot: Snapshot) -> None:
    """Have a call's limits admit it to a target: with its first target those of the call, with every one its own.

    Raises RateLimited, BudgetExceeded, PriceUnknown, UsageUnknown or LimitsUnavailable.
    """
    table, policy, at = snapshot.limits, snapshot.require_price, time.time()
    if meter.hold is not None:
        dues = table.of_target(target.provider, target.model or "")
    else:
        assert meter.call is not None
        dues = table.of_first(meter.call, meter.caller, meter.route, target.provider, target.model or "")
    price = None
    if dues.has_costs or policy == "always":
        price = _price(target, snapshot, at, meter.call if policy != "never" else None)
    if dues.dues:
        await _begin(meter, dues, _amounts(meter, dues, price, snapshot), at, snapshot)


async def admit_request(meter: Meter, snapshot: Snapshot) -> None:
    """Have a call's limits admit one that is answered without a provider: it counts as a request, of those limits that
    hold wherever a call goes, and uses neither tokens nor money.

    Raises RateLimited, BudgetExceeded or LimitsUnavailable.
    """
    assert meter.call is not None
    found = snapshot.limits.of_call(meter.call, meter.caller, meter.route)
    dues = in_order(due for due in found if due.measure == "requests")
    if dues.dues:
        await _begin(meter, dues, dues.amounts(0, 0), time.time(), snapshot)


async def _begin(meter: Meter, dues: Dues, amounts: Sequence[int], at: float, snapshot: Snapshot) -> None:
    """Take what a call wants of its limits. What it holds is its own once they have admitted it."""
    hold = meter.hold or Hold(meter.id, meter.caller, store())
    try:
        await hold.take(dues, amounts, at, snapshot.reservation_ttl)
    except StoreUnavailable as error:
        raise _unavailable(meter, error) from error
    finally:
        if hold.taken:  # Also if what comes after that fails: it has to be settled.
            meter.hold = hold


async def renew(
    meter: Meter, used: Consumption | None, cost_nanos: int | None, snapshot: Snapshot, limits: LimitTable
) -> None:
    """Settle what an answer of a session used, and have the limits that are in force by now admit the next one. None:
    there was no answer since it was admitted.

    Raises what `admit` raises: the session is over then.
    """
    target = meter.target
    if target is None:
        return
    if meter.hold is not None:
        meter.hold.settle_answer(used, cost_nanos)
    dues, at = _of_answer(meter, target, limits), time.time()
    if dues.dues:
        price = _price(target, snapshot, at) if dues.has_costs else None
        await _begin(meter, dues, _amounts(meter, dues, price, snapshot), at, snapshot)


def is_current(meter: Meter, limits: LimitTable) -> bool:
    """Whether the next answer of a session was admitted by the limits that are in force by now."""
    held = meter.hold.dues_of_answer() if meter.hold is not None else []
    return meter.target is None or set(held) == set(_of_answer(meter, meter.target, limits).dues)


def _of_answer(meter: Meter, target: Target, limits: LimitTable) -> Dues:
    """List what an answer of a session has to keep to."""
    assert meter.call is not None
    found = limits.of_first(meter.call, meter.caller, meter.route, target.provider, target.model or "")
    return in_order(filter(is_of_answer, found.dues))


def _unavailable(meter: Meter, error: StoreUnavailable) -> LimitsUnavailable:
    logger.error("%s: the limits cannot be checked: %s", meter.arrival.request_id, error)
    return LimitsUnavailable(
        "This gateway cannot check its limits at the moment. Send the request again.", retry_after=1
    )


def _price(target: Target, snapshot: Snapshot, at: float, wanting: Call | None = None) -> Price | None:
    """Give the price of a target. Raises PriceUnknown if it has none, and there is a call that wants one."""
    if not target.model:
        if wanting is not None and is_paid(wanting):
            raise PriceUnknown(
                "This call names no model, so this gateway does not know what it costs and cannot keep a budget. Name "
                "one; in a form, in front of the file.",
                param="model",
            )
        return None  # Files, lists and the like, which are for no model.
    provider = snapshot.providers[target.provider]
    price = snapshot.prices.of(target.provider, provider.row, target.model, at)
    if price is None and wanting is not None:
        raise PriceUnknown(
            f"This gateway does not know what {target.provider}/{target.model} costs, and so cannot keep a budget. "
            "The operator can enter a price, 0 for what is free.",
            param="model",
        )
    return price


def _check_countable(call: Call, dues: Dues) -> None:
    """Raise UsageUnknown for a call that would pass a limit by, because nobody will tell what it uses."""
    if is_countable(call) and is_legible(call):
        return
    why = _why_uncountable(call)
    for due in dues.dues:
        if due.measure in ("tokens", "cost") and not due.rule.is_soft:
            raise UsageUnknown(
                f"{why} The limit {due.rule.name!r} has to count it. The operator can allow it (UNCOUNTED_WORK)."
            )


def _why_uncountable(call: Call) -> str:
    """Say why nobody will tell what a call uses, and what to do about it."""
    if not is_countable(call):
        return (
            "What this call uses will be told in no answer. Do without what is worked on later (batches, background "
            "responses, fine-tuning)."
        )
    return (
        "What this call uses could not be read in its answer. Ask for JSON, with all of its members: without "
        "protobuf, alt (but json or sse), callback, fields and X-Goog-FieldMask."
    )


def _amounts(meter: Meter, dues: Dues, price: Price | None, snapshot: Snapshot) -> Sequence[int]:
    """Guess what a call will use, as its limits measure it."""
    if not dues.has_tokens and not dues.has_costs:
        return dues.amounts(0, 0)
    assert meter.call is not None
    if not snapshot.allows_uncounted_work:
        _check_countable(meter.call, dues)
    call = meter.call
    is_upload = not isinstance(call.body, bytes) and is_paid(call)
    prompt = estimates.TOKENS_OF_A_FILE if is_upload else estimates.input_tokens(call.body)
    answer = estimates.output_tokens(call, snapshot.reserved_output)
    cost = _cost(call, prompt, answer, price) if price is not None else 0
    return dues.amounts(prompt + answer, cost)


def _cost(call: Call, prompt: int, answer: int, price: Price) -> int:
    """Guess what a call will cost that uses so many tokens: of what is charged by the piece, one of each."""
    if call.dialect.is_generation:
        return price.cost_of_text(prompt, answer)
    units = dict.fromkeys(price.standard.units, 1)
    return price.cost(Consumption(tokens=TokenUsage(input=prompt, output=answer), units=units))
