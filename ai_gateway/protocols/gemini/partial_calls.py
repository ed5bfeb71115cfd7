"""A call whose arguments come in pieces, as Vertex AI streams them if it is asked to.

`partialArgs` name a place by a JSONPath (`$.location`, `$.stops[0].name`) and give a value for it; a string may come in
several pieces, which belong behind each other. Source: `FunctionCall` and `PartialArg` of google-genai, and
"streamFunctionCallArguments" of Vertex AI's documentation.
"""

from __future__ import annotations

import re
from typing import Any

from ai_gateway.protocols.conversation import State

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[['\"](.*?)['\"]\]")

MAX_INDEX = 10_000
"""The largest index that is believed: nothing makes a list longer than its values."""


class PartialCall:
    """Gathers one call. Strings are kept in pieces until the end, so that time is linear."""

    def __init__(self, name: str, call_id: str, state: State | None, args: dict[str, Any]) -> None:
        self.name = name
        self.call_id = call_id
        self.state = state
        self._args = args
        self._values: dict[str, Any] = {}

    def add(self, pieces: object) -> None:
        """Take the `partialArgs` of one event."""
        for piece in pieces if isinstance(pieces, list) else ():
            path = piece.get("jsonPath")
            if not isinstance(path, str):
                continue
            if isinstance(piece.get("stringValue"), str):
                held = self._values.setdefault(path, [])
                held.append(piece["stringValue"]) if isinstance(held, list) else None
            elif "numberValue" in piece:
                self._values[path] = _number(piece["numberValue"])
            elif "boolValue" in piece:
                self._values[path] = bool(piece["boolValue"])
            elif "nullValue" in piece:
                self._values[path] = None

    def arguments(self) -> dict[str, Any]:
        """Give the arguments, whole."""
        args: dict[str, Any] = dict(self._args)
        for path, value in self._values.items():
            _put(args, _steps(path), "".join(value) if isinstance(value, list) else value)
        return args


def _number(value: object) -> object:
    """Numbers come as doubles: `3.0` is meant to be 3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    for name, index, quoted in _STEP.findall(path):
        steps.append(min(int(index[:6]), MAX_INDEX) if index else name or quoted)
    return steps


def _put(target: Any, steps: list[str | int], value: object) -> None:
    """Put a value where the steps lead, and make the objects and lists on the way."""
    for place, step in enumerate(steps):
        is_last = place == len(steps) - 1
        inner = value if is_last else [] if isinstance(steps[place + 1], int) else {}
        if isinstance(step, int) and isinstance(target, list):
            target += [None] * (step + 1 - len(target))
            if is_last or not isinstance(target[step], list | dict):
                target[step] = inner
        elif isinstance(step, str) and isinstance(target, dict):
            if is_last or not isinstance(target.get(step), list | dict):
                target[step] = inner
        else:
            return
        target = target[step]
