"""Names of users and sessions as they may be told to a provider: not too long, and nothing personal.

A caller may write an address or a telephone number where a provider only wants to tell its users apart. Such a name is
hashed: the same user always has the same name, and nobody learns who it is.
"""

from __future__ import annotations

import hashlib
import re

_PERSONAL = re.compile(r"@|^\+?[\d\s()/.-]{6,}$")


def identifier(name: str, length: int, prefix: str = "") -> str:
    """Give a name that may be told. One that is longer than the provider takes, or personal, is a hash behind the
    prefix."""
    return name if len(name) <= length and not is_personal(name) else prefix + _hashed(name)


def is_personal(name: str) -> bool:
    """Whether a name looks like an address or a telephone number, which providers do not want to be told."""
    return _PERSONAL.search(name) is not None


def _hashed(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
