"""Which of a provider's credentials are left alone for a while, because the provider refused or limited them?

Known to this process, and told to `listeners`, so that other processes may hear of it (`gossip.py`). If all of a
provider's credentials rest, the one whose rest ends first is used: somebody has to find out.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol, TypeVar

from ai_gateway.announcements import Listeners

REFUSED = 300.0
"""Seconds for which a credential rests that was refused (401, 402, 403)."""

LIMITED = 30.0
"""Seconds for which one rests that is used too often (429), if the provider does not say for how long."""


LONGEST = 24 * 3600.0
"""Seconds that other processes may have a credential rest here."""

MUCH_LONGER = 1.0
"""Seconds by which a rest must be longer than the one under way to be worth telling."""

REMEMBERED = 4096
"""Credentials whose rests are taken over."""


class Named(Protocol):
    """A credential has a name."""

    @property
    def name(self) -> str:
        """Its name, of its own among those of its provider."""


C = TypeVar("C", bound=Named)

listeners: Listeners[[str, str, float]] = Listeners()
"""What is called with a provider, the name of a credential that is to rest, and the seconds."""

_until: dict[tuple[str, str], float] = {}


def rest(provider: str, credential: str, seconds: float) -> None:
    """Leave a credential alone for some seconds."""
    before, now = _until.get((provider, credential), 0.0), time.monotonic()
    _until[provider, credential] = now + seconds
    if now + seconds > max(before, now) + MUCH_LONGER:
        listeners.tell(provider, credential, seconds)


def adopt(provider: str, credential: str, seconds: float) -> None:
    """Take over that a credential rests, as another process found out."""
    name = (provider, credential)
    if name in _until or len(_until) < REMEMBERED:
        _until[name] = max(_until.get(name, 0.0), time.monotonic() + min(seconds, LONGEST))


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


def all_resting() -> list[tuple[str, str, float]]:
    """Tell of every credential that rests: its provider, its name, and the seconds for which it still does."""
    now = time.monotonic()
    return [(*name, round(until - now, 1)) for name, until in list(_until.items()) if until > now]


def resting(provider: str) -> dict[str, float]:
    """Tell a provider's credentials that rest, by name, each with the seconds for which it still does."""
    return {name: seconds for owner, name, seconds in all_resting() if owner == provider}


def forget() -> None:
    """Forget everything."""
    _until.clear()
