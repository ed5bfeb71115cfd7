"""Values of a caller's body, checked where they are taken out: what has the wrong type is the caller's mistake.

Null counts as absent everywhere, as it does at OpenAI. The messages are worded as OpenAI's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ai_gateway.errors import BadRequest

NAMES: tuple[tuple[type, str], ...] = (
    (bool, "a boolean"),
    (str, "a string"),
    (int, "an integer"),
    (float, "a decimal"),
    (dict, "an object"),
    (list, "an array"),
)


def wrong_type(value: object, expected: str, at: str) -> BadRequest:
    """Make the error for a value that is not what it must be."""
    found = next((name for kind, name in NAMES if isinstance(value, kind)), "null")
    return BadRequest(f"Invalid type for '{at}': expected {expected}, but got {found} instead.", param=at)


def path(at: str, name: str) -> str:
    """Give the path of a member of the object at a path."""
    return f"{at}.{name}" if at else name


def text(body: Mapping[str, Any], name: str, at: str = "") -> str | None:
    """Take a string."""
    value = body.get(name)
    if value is None or isinstance(value, str):
        return value
    raise wrong_type(value, "a string", path(at, name))


def required_text(body: Mapping[str, Any], name: str, at: str = "") -> str:
    """Take a string that must be there and not be empty."""
    value = text(body, name, at)
    if value:
        return value
    raise BadRequest(f"Missing required parameter: '{path(at, name)}'.", param=path(at, name))


def boolean(body: Mapping[str, Any], name: str, at: str = "") -> bool | None:
    """Take a boolean."""
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise wrong_type(value, "a boolean", path(at, name))


def number(body: Mapping[str, Any], name: str, at: str = "") -> float | None:
    """Take a number; it stays an integer if it was written as one."""
    value = body.get(name)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise wrong_type(value, "a decimal", path(at, name))


def integer(body: Mapping[str, Any], name: str, at: str = "") -> int | None:
    """Take an integer, which may be written as `100.0`."""
    value = body.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise wrong_type(value, "an integer", path(at, name))


def mapping(body: Mapping[str, Any], name: str, at: str = "") -> dict[str, Any] | None:
    """Take an object."""
    value = body.get(name)
    if value is None or isinstance(value, dict):
        return value
    raise wrong_type(value, "an object", path(at, name))


def required_mapping(body: Mapping[str, Any], name: str, at: str = "") -> dict[str, Any]:
    """Take an object that must be there."""
    value = mapping(body, name, at)
    if value is None:
        raise BadRequest(f"Missing required parameter: '{path(at, name)}'.", param=path(at, name))
    return value


def sequence(body: Mapping[str, Any], name: str, at: str = "") -> list[Any]:
    """Take an array; none is an empty one."""
    value = body.get(name)
    if value is None:
        return []
    if isinstance(value, list):
        return value
    raise wrong_type(value, "an array", path(at, name))


def entry(value: object, at: str) -> dict[str, Any]:
    """Take an entry of an array that must be an object."""
    if isinstance(value, dict):
        return value
    raise wrong_type(value, "an object", at)
