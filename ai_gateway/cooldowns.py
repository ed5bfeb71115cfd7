"""Which of a provider's credentials are left alone for a while, because the provider refused or limited them?

Known to this process only. If all of a provider's credentials rest, the one whose rest ends first is used: somebody has
to find out.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol, TypeVar

REFUSED = 300.0
"""Seconds for which a credential rests that was refused (401, 402, 403)."""

LIMITED = 30.0
"""Seconds for which one rests that is used too often (429), if the provider does not say for how long."""


class Named(Protocol):
    """A credential has a name."""

    @property
    def name(self) -> str: ...


C = TypeVar("C", bound=Named)

_until: dict[tuple[str, str], float] = {}


def rest(provider: str, credential: str, seconds: float) -> None:
    """Leave a credential alone for some seconds."""
    _until[provider, credential] = time.monotonic() + seconds


def usable(provider: str, credentials: Sequence[C]) -> Sequence[C]:
    """Give those that do not rest, or the one whose rest ends first."""
    if not _until:
        return credentials
    now = time.monotonic()
    ends = {each.name: _until.get((provider, each.name), 0.0) for each in credentials}
    found = [each for each in credentials if ends[each.name] <= now]
    return found or [min(credentials, key=lambda each: ends[each.name])]


def is_resting(provider: str, credential: str) -> bool:
    """Whether a credential is left alone now."""
    return _until.get((provider, credential), 0.0) > time.monotonic()


def resting(provider: str) -> dict[str, float]:
    """Tell a provider's credentials that rest, by name, each with the seconds for which it still does."""
    now = time.monotonic()
    return {name: round(until - now, 1) for (owner, name), until in _until.items() if owner == provider and until > now}


def forget() -> None:
    """Forget everything."""
    _until.clear()
