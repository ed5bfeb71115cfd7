"""Which calls is a target there for? Conditions on a call's facts, each of them a name and a value.

    {"target": "openai/gpt-5-mini", "conditions": {"images": False, "max_input_tokens": 8000}}

All of a target's conditions must hold. They are compiled once, when the configuration is read: what is wrong with one
is found there and not by a call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import translate
from typing import NamedTuple

from ai_gateway.calls import below_version
from ai_gateway.facts import Facts
from ai_gateway.patterns import fits


class Condition(NamedTuple):
    """One condition: whether it holds for a call, and what it wants, in words that callers may read."""

    holds: Callable[[Facts], bool]
    wording: str


Conditions = tuple[Condition, ...]


def unmet(conditions: Conditions, facts: Facts) -> str | None:
    """Say what the first condition wants that does not hold for a call; None if all hold."""
    return next((each.wording for each in conditions if not each.holds(facts)), None)


def read_conditions(entry: object) -> Conditions:
    """Compile the conditions of a target. Raises ValueError saying what is wrong with them."""
    if not isinstance(entry, Mapping):
        raise ValueError('Conditions are an object, such as {"images": true}.')
    unknown = sorted(str(name) for name in entry if name not in READERS)
    if unknown:
        raise ValueError(f"There is no condition {unknown[0]!r}. Known are: {', '.join(READERS)}.")
    found = tuple(READERS[name](name, value) for name, value in entry.items())
    for name in BETWEEN:
        least, most = entry.get(f"min_{name}", 0), entry.get(f"max_{name}")
        if most is not None and least > most:
            raise ValueError(f"min_{name} is above max_{name}, so no call is ever between them.")
    return found


BETWEEN = ("input_tokens", "budget_left")
"""What may have a least and a most."""


WORDS = {"images": "images", "files": "files", "audio": "audio", "tools": "tools", "json_schema": "a JSON Schema"}
"""What a body may ask for, in words."""


def _read_asked(name: str, value: object) -> Condition:
    wanted = _flag(name, value)
    wording = f"a call with {WORDS[name]}" if wanted else f"a call without {WORDS[name]}"
    return Condition(lambda facts: getattr(facts.asked, name) is wanted, wording)


def _read_stream(name: str, value: object) -> Condition:
    wanted = _flag(name, value)
    wording = "a call for a stream" if wanted else "a call for no stream"
    return Condition(lambda facts: facts.call.stream is wanted, wording)


def _read_least(name: str, value: object) -> Condition:
    least = _count(name, value)
    return Condition(lambda facts: facts.input_tokens >= least, f"an input of {least} tokens or more")


def _read_most(name: str, value: object) -> Condition:
    most = _count(name, value)
    return Condition(lambda facts: facts.input_tokens <= most, f"an input of {most} tokens or less")


def _read_least_left(name: str, value: object) -> Condition:
    least = _percent(name, value)
    return Condition(lambda facts: facts.budget_left >= least, f"a key with {least:g} % or more left of its budgets")


def _read_most_left(name: str, value: object) -> Condition:
    most = _percent(name, value)
    return Condition(lambda facts: facts.budget_left <= most, f"a key with {most:g} % or less left of a budget")


def _read_headers(name: str, value: object) -> Condition:
    """Read patterns by the names of headers, of which all must fit. One that a call does not have fits nothing."""
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f'{name} is an object of patterns by the names of headers, such as {{"x-tier": "gold*"}}.')
    patterns = []
    for header, pattern in value.items():
        if not isinstance(header, str) or not isinstance(pattern, str) or not header or not header.isascii():
            raise ValueError(f"{name} are texts by the names of headers.")
        patterns.append((header.lower().encode(), re.compile(translate(pattern))))

    def holds(facts: Facts) -> bool:
        fields = facts.call.fields
        return all(key in fields and expression.match(fields[key].decode("latin-1")) for key, expression in patterns)

    shown = " and ".join(key.decode() for key, _ in patterns)
    return Condition(holds, f"another value of {shown}")


def _read_tags(name: str, value: object) -> Condition:
    patterns = _patterns(name, value)
    return Condition(
        lambda facts: any(fits(tag, patterns) for tag in facts.caller.tags), "a key with a tag that this one lacks"
    )


def _read_endpoints(name: str, value: object) -> Condition:
    patterns = _patterns(name, value)

    def holds(facts: Facts) -> bool:
        return fits(below_version(facts.call.path), patterns)

    return Condition(holds, f"another endpoint: {', '.join(patterns)}")


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name} is true or false.")
    return value


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} is a whole number, 0 or more.")
    return value


def _percent(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise ValueError(f"{name} is in percent, from 0 to 100.")
    return value


def _patterns(name: str, value: object) -> Sequence[str]:
    """Read a pattern or a list of them, one of which must fit."""
    patterns = [value] if isinstance(value, str) else value
    if isinstance(patterns, list | tuple) and patterns and all(isinstance(each, str) and each for each in patterns):
        return tuple(patterns)
    raise ValueError(f"{name} is a text with * for anything, or a list of such texts.")


READERS: Mapping[str, Callable[[str, object], Condition]] = {
    **dict.fromkeys(WORDS, _read_asked),
    "stream": _read_stream,
    "min_input_tokens": _read_least,
    "max_input_tokens": _read_most,
    "min_budget_left": _read_least_left,
    "max_budget_left": _read_most_left,
    "headers": _read_headers,
    "key_tags": _read_tags,
    "endpoints": _read_endpoints,
}
"""What reads the value of each condition."""
