"""How many files may this process have open? Each call takes two: its caller's socket, and its provider's.

Many systems begin with a limit of 1,024, for the sake of old programs, and let a process raise it. One that runs out of
them takes no connection any more, not even that of a health check: MAX_CALLS would promise what cannot be kept.
"""

from __future__ import annotations

import importlib.util
import logging
from typing import Any

# Windows has no such limit, and no such module.
resource: Any = importlib.import_module("resource") if importlib.util.find_spec("resource") else None

logger = logging.getLogger("ai_gateway")

OTHERS = 1000
"""Files besides those of the calls: callers that wait, are refused or keep a connection, databases, logs."""

ENOUGH = 10_240
"""What is asked for where there is no hard limit: macOS lets a process have so many, and not as many as it likes."""


def allow_as_many_as_possible() -> None:
    """Raise this process's limit as far as the system lets it."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else ENOUGH
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        logger.warning("The limit of open files stays at %d: %s", soft, error)


def needed_for(calls: int) -> int:
    """Tell how many files a process has open that has so many calls under way."""
    return 2 * calls + OTHERS


def are_enough_for(calls: int) -> bool:
    """Whether the system lets a process have that many."""
    if resource is None:
        return True
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return bool(hard == resource.RLIM_INFINITY or hard >= needed_for(calls))
