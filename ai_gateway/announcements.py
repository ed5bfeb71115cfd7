"""Who hears at once of what a call finds out, in the process that found it out and on the path of that call."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")

logger = logging.getLogger("ai_gateway")


class Listeners(list[Callable[P, object]]):
    """What is called, one after the other. Each must be quick and wait for nothing. One that fails keeps nobody else
    from hearing, and the call goes on: to its next target, perhaps."""

    def tell(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Have all of them hear."""
        for listener in self:
            try:
                listener(*args, **kwargs)
            except Exception:
                logger.exception("What a call found out could not be told: %s", args)
