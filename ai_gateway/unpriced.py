"""Tells the operator of models that nobody knows the price of: once an hour for each, and what to do about it.

Their calls are written down without a cost, never with 0. The admin's page of prices lists them.
"""

from __future__ import annotations

import logging
import time

logger = logging.getLogger("ai_gateway")

INTERVAL = 3600.0
"""Seconds for which a model is not named again."""

MOST = 500
"""Models that are named in that time. Callers can make up names, and the log is not theirs to fill."""

_named_at: dict[tuple[str, str], float] = {}


def tell(provider: str, model: str) -> None:
    """Log that a call could not be priced, unless that was said of this model in the last hour."""
    now = time.monotonic()
    at = _named_at.get((provider, model))
    if at is not None and now - at < INTERVAL:
        return
    if at is None and len(_named_at) >= MOST:
        _forget(now)
        if len(_named_at) >= MOST:
            return
    _named_at[provider, model] = now
    logger.warning(
        "Nobody knows what %s costs: its calls are written down without a cost, and no budget counts them. Enter a "
        'price in the admin or in AI_GATEWAY["PRICES"], 0 for what is free.',
        ascii(f"{provider}/{model[:200]}"),  # Callers make up names, and a log line is to stay one.
    )


def _forget(now: float) -> None:
    for key in [key for key, at in _named_at.items() if now - at >= INTERVAL]:
        del _named_at[key]
