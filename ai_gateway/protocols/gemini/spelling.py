"""The members of Google's objects, in either spelling.

Google's API takes `functionCall` as well as `function_call`, as all its JSON does: "Parsers accept both the
lowerCamelCase name and the original proto field name" (ProtoJSON format, protobuf.dev). Its SDKs mix the two in one
body.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.members import entry, integer_at, list_at


def camel(name: str) -> str:
    """Spell a member's name in camelCase."""
    if "_" not in name:
        return name
    first, *others = name.split("_")
    return first + "".join(other[:1].upper() + other[1:] for other in others)


def members(value: object, at: str) -> dict[str, Any]:
    """Give the members of an object that are not null, spelled in camelCase. Raises BadRequest for no object."""
    given = entry(value, at).items()
    return {camel(name) if "_" in name else name: member for name, member in given if member is not None}


def spelled(value: dict[str, Any], name: str) -> str:
    """Tell how the caller spelled the member that is called `name` in camelCase."""
    return next((given for given in value if camel(given) == name), name)


def each(value: object, at: str) -> list[tuple[str, Any]]:
    """Give the elements of a list with their places; an object that stands alone is a list of one, none is empty."""
    if isinstance(value, dict):
        return [(at, value)]
    return [(f"{at}[{place}]", element) for place, element in enumerate(list_at(value, at))]


def integer(value: object, at: str) -> int | None:
    """Give a whole number, None for none: also one written as a string, which is how ProtoJSON writes numbers of 64
    bits. Raises BadRequest for anything else."""
    if isinstance(value, str) and value.removeprefix("-").isdecimal() and len(value) < 20:
        return int(value)
    return integer_at(value, at)
