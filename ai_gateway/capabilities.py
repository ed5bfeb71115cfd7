"""Which model can do what? The table of `capabilities.toml`, with what the settings lay over it.

    AI_GATEWAY = {"CAPABILITIES": {"our-gpu/llama-*": {"images": False, "max_output_tokens": 8192}}}

A pattern is "provider/model" in lower case, `*` standing for anything. The provider may be called by its alias or by
the name of its row of the catalogue.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import translate
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from ai_gateway.calls import Target
from ai_gateway.protocols import PROTOCOLS
from ai_gateway.protocols.capabilities import Capabilities

MAX_REMEMBERED = 4096
"""Models whose row is remembered. A caller may make up names; those are looked up each time once it is full."""

Rule = tuple[re.Pattern[str], Mapping[str, Any]]


class CapabilityTable:
    """Tells the capabilities of models: the built-in rules, and others laid over them. Made once for a snapshot."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._rules = (*built_in(), *rules)
        self._known: dict[tuple[str, str, str], Capabilities] = {}
        self.differences: dict[Sequence[Target], Sequence[str]] = {}
        """In which columns the models of some targets differ, as far as that was asked for: see `suitability.py`."""

    def of(self, alias: str, row: str, model: str) -> Capabilities:
        """Give a model's capabilities, by its provider's alias and row of the catalogue ("" for none)."""
        key = (alias, row, model)
        known = self._known.get(key)
        if known is None:
            known = self._look_up(key)
            if len(self._known) < MAX_REMEMBERED:
                self._known[key] = known
        return known

    def _look_up(self, key: tuple[str, str, str]) -> Capabilities:
        alias, row, model = key
        names = {f"{alias}/{model}".lower(), f"{row or 'custom'}/{model}".lower()}
        columns: dict[str, Any] = {}
        for pattern, values in self._rules:
            if any(pattern.fullmatch(name) for name in names):
                columns |= values
        return msgspec.convert(columns, Capabilities)


def read_rule(pattern: str, columns: Mapping[str, Any]) -> Rule:
    """Read one row of the settings, or of the table. Raises ValueError naming what is wrong with it."""
    try:
        row = msgspec.convert(dict(columns), Capabilities)
    except msgspec.ValidationError as error:
        raise ValueError(f"CAPABILITIES[{pattern!r}]: {error}") from None
    unknown = sorted(set(row.formats) - set(PROTOCOLS))
    if unknown:
        known = ", ".join(sorted(PROTOCOLS))
        raise ValueError(f"CAPABILITIES[{pattern!r}]: there is no format {unknown[0]!r}. Known are: {known}.")
    return re.compile(translate(pattern.lower())), columns


@cache
def built_in() -> tuple[Rule, ...]:
    """Read the table that comes with the package."""
    text = files("ai_gateway").joinpath("capabilities.toml").read_text(encoding="utf-8")
    return tuple(_rules(tomllib.loads(text)["row"]))


def _rules(rows: Iterable[Mapping[str, Any]]) -> Iterable[Rule]:
    for row in rows:
        columns = {name: value for name, value in row.items() if name not in ("match", "source")}
        yield from (read_rule(pattern, columns) for pattern in row["match"])
