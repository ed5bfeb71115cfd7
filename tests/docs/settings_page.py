"""docs/settings.md: every key of `settings.AI_GATEWAY`, of the properties of `conf.py` and the rules of the checks."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from django.test import override_settings

from ai_gateway.checks.settings import RULES
from ai_gateway.conf import Settings
from ai_gateway.environment import VARIABLES
from tests.docs.tables import code, paragraphs

HEAD = """# Settings

Every key of `settings.AI_GATEWAY`. What a key says is read when it is needed, so `override_settings` works in tests. A
value that is wrong is an error of `manage.py check`, with the id that stands beside it; what else is looked at is in
[checks](checks.md). The environment variable is the one that `ai_gateway.environment.from_environ` makes the key of, as
the example project does.

"""

DEFAULTS = {"TIME_ZONE": "the site's `TIME_ZONE`", "PEERS": "the Redis of `LIMIT_STORE`, if it is one; else `{}`"}
"""Defaults that are made of something else."""

BUILT_IN = ("bool", "int", "float", "str", "Mapping", "Sequence")
"""How the types begin that settings have as they are."""

PROPERTIES = {name: value for name, value in vars(Settings).items() if name.isupper()}


def write() -> str:
    """Write the page."""
    with override_settings(AI_GATEWAY={}):
        return HEAD + "\n".join(map(section, sorted(PROPERTIES)))


def section(name: str) -> str:
    """Write what there is to say of a key."""
    rule = RULES[name]
    facts = [
        f"- Type: {code(type_of(name))}",
        f"- Default: {DEFAULTS.get(name) or code(default_of(name))}",
        f"- Must be: {rule.expected} ({code(rule.id)})",
        f"- For example: {code(f'{name!r}: {rule.example}'.replace(chr(39), chr(34)))}",
        *(f"- Environment variable: {code(variable)}" for variable, (key, _) in VARIABLES.items() if key == name),
    ]
    return f"## `{name}`\n\n{paragraphs(PROPERTIES[name].__doc__)}\n\n" + "\n".join(facts) + "\n"


def type_of(name: str) -> str:
    """Tell the type that a value has in the settings: what is read into an object is a dict there."""
    given = str(inspect.signature(PROPERTIES[name].fget).return_annotation)
    if given.startswith(BUILT_IN):
        return given
    return "Mapping[str, Any] | None" if given.endswith("| None") else "Mapping[str, Any]"


def default_of(name: str) -> str:
    """Write the default as it could be written in the settings."""
    return repr(plain(getattr(Settings(), name))).replace("'", '"')


def plain(value: Any) -> Any:
    """Turn what was read into what could be given."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return value._asdict()
    return list(value) if isinstance(value, tuple) else value
