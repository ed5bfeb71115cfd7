"""The guardrails of the settings, by name: what each is, when it is asked, and what follows from what it says."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

import msgspec

from ai_gateway.guardrails.base import STAGES, Guardrail, Verdict, View
from ai_gateway.guardrails.hook import Hook

SHIPPED = {
    "size": "ai_gateway.guardrails.size.Size",
    "patterns": "ai_gateway.guardrails.patterns.Patterns",
    "redaction": "ai_gateway.guardrails.redaction.Redaction",
    "moderation": "ai_gateway.guardrails.moderation.Moderation",
}
"""Those that come with the gateway, by a short name."""

MODES = ("enforce", "monitor")

CHOICES = ("block", "pass")


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """A guardrail as the site uses it."""

    name: str
    guardrail: Guardrail
    stages: Sequence[str]
    is_monitor: bool = False
    """Whether what it says is only noted."""
    passes_failures: bool = False
    """Whether a call goes on if the guardrail fails."""
    blocks_uploads: bool = False
    """Whether bodies that it cannot read are blocked."""
    timeout: float = 5.0
    """Seconds in which it has to answer."""
    window: int = 400
    """Characters of a streamed text that are held back for it, at most."""
    delay: float = 1.0
    """Seconds for which they are held back, at most."""
    is_everywhere: bool = False
    """Whether it is there for every call; else for those whose route or key names it."""


class Broken(Guardrail):
    """Stands for a guardrail that is named and cannot be had. It always fails."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    async def review(self, view: View) -> Verdict:
        """Raise RuntimeError."""
        raise RuntimeError(self.reason)

    def check(self) -> None:
        """See Guardrail.check()."""
        raise ValueError(self.reason)


class GuardTable:
    """All guardrails of the site."""

    def __init__(self, guards: Iterable[Guard] = ()) -> None:
        self._by_name = {guard.name: guard for guard in guards}
        self.everywhere = tuple(guard for guard in self._by_name.values() if guard.is_everywhere)
        """Those of every call."""

    def of(self, *names: str) -> list[Guard]:
        """List those of a call: those for every call first, then those that are named. One that does not exist stands
        there as one that fails."""
        there = {guard.name: guard for guard in self.everywhere}
        for name in names:
            if name not in there:
                there[name] = self._by_name.get(name) or missing(name)
        return list(there.values())


def missing(name: str) -> Guard:
    """Stand in for a guardrail that a route or a key names and the settings do not have."""
    return Guard(name=name, guardrail=Broken("The settings have no such guardrail."), stages=STAGES)


def read_guards(entries: Mapping[str, Mapping[str, Any]]) -> GuardTable:
    """Read the guardrails of the settings. One that cannot be read stands there as one that fails, so that nothing
    passes that should not."""
    return GuardTable(_read(name, entry) for name, entry in entries.items())


def _read(name: str, entry: Mapping[str, Any]) -> Guard:
    try:
        return read_guard(name, entry)
    except ValueError as error:
        values = _values(entry)
        return Guard(name=name, guardrail=Broken(str(error)), stages=entry.get("STAGES", STAGES), **values)


def read_guard(name: str, entry: Mapping[str, Any]) -> Guard:
    """Read one entry of the settings. Raises ValueError, saying what is wrong with it."""
    try:
        guardrail = _made(entry["BACKEND"], entry.get("OPTIONS", {}))
        guardrail.check()
    except (ImportError, AttributeError, TypeError) as error:
        raise ValueError(str(error)) from error
    return Guard(name=name, guardrail=guardrail, stages=entry.get("STAGES", guardrail.stages), **_values(entry))


def _values(entry: Mapping[str, Any]) -> dict[str, Any]:
    values = {
        "is_monitor": entry.get("MODE") == "monitor",
        "passes_failures": entry.get("ON_FAILURE") == "pass",
        "blocks_uploads": entry.get("UPLOADS") == "block",
        "is_everywhere": entry.get("EVERYWHERE", False),
    }
    return values | {key.lower(): entry[key] for key in ("TIMEOUT", "WINDOW", "DELAY") if key in entry}


def _made(path: str, options: Mapping[str, Any]) -> Guardrail:
    module, _, attribute = SHIPPED.get(path, path).rpartition(".")
    if not module:
        raise ValueError(f"{path!r} is neither a dotted path nor one of {', '.join(SHIPPED)}")
    found = getattr(import_module(module), attribute)
    if inspect.isclass(found) and issubclass(found, Guardrail):
        return found(**options)
    if not callable(found) or inspect.isclass(found):
        raise ValueError(f"{path} is neither a Guardrail nor a function")
    return Hook(found, **options)
