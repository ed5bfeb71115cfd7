"""Members of a caller's body, checked where they are taken out: what has the wrong type is the caller's mistake.

Null counts as absent everywhere, as it does at every vendor. An error names the member by its path. The messages and
codes are OpenAI's own: other vendors have none that their clients look at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from ai_gateway.errors import BadRequest

T = TypeVar("T")

NAMES: tuple[tuple[type, str], ...] = (
    (bool, "a boolean"),
    (str, "a string"),
    (int, "an integer"),
    (float, "a decimal"),
    (dict, "an object"),
    (list, "an array"),
)
"""What the types of JSON are called, the narrower first."""


class InvalidType(BadRequest):
    """A member has another JSON type than it must have."""

    code = "invalid_type"


class MissingMember(BadRequest):
    """A member that must be there is not."""

    code = "missing_required_parameter"


def wrong_type(value: object, expected: str, at: str) -> InvalidType:
    """Make the error for a value that is not what it must be."""
    found = next((name for kind, name in NAMES if isinstance(value, kind)), "null")
    subject = f" for '{at}'" if at else ""
    return InvalidType(f"Invalid type{subject}: expected {expected}, but got {found} instead.", param=at)


def path(at: str, name: str) -> str:
    """Write the path of a member of the object at a path; "" is the body itself."""
    return f"{at}.{name}" if at else name


# Values that were taken out already.


def text_at(value: object, at: str) -> str:
    """Give a string. Nothing is none."""
    if isinstance(value, str):
        return value
    raise wrong_type(value, "a string", at)


def number_at(value: Any, at: str) -> float | None:
    """Give a number, which stays an integer if it was written as one; None for nothing."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise wrong_type(value, "a decimal", at)


def integer_at(value: Any, at: str) -> int | None:
    """Give an integer, which may be written as `100.0`; None for nothing."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise wrong_type(value, "an integer", at)


def object_at(value: Any, at: str) -> dict[str, Any]:
    """Give an object; an empty one for nothing."""
    return {} if value is None else entry(value, at)


def list_at(value: Any, at: str) -> list[Any]:
    """Give an array; an empty one for nothing."""
    if value is None:
        return []
    if isinstance(value, list):
        return value
    raise wrong_type(value, "an array", at)


def entry(value: Any, at: str) -> dict[str, Any]:
    """Give an object that must be there, as the entries of an array must."""
    if isinstance(value, dict):
        return value
    raise wrong_type(value, "an object", at)


def entries(values: Iterable[Any], at: str) -> list[tuple[str, dict[str, Any]]]:
    """Give the objects that an array must consist of, each with its path."""
    found = ((f"{at}[{index}]", value) for index, value in enumerate(values))
    return [(place, entry(value, place)) for place, value in found]


# Members of an object, by name.


def text(body: Mapping[str, Any], name: str, at: str = "") -> str | None:
    """Take a string; None for nothing."""
    value = body.get(name)
    # The path is written only if it is needed: long conversations have tens of thousands of members.
    return value if value is None or isinstance(value, str) else text_at(value, path(at, name))


def required_text(body: Mapping[str, Any], name: str, at: str = "") -> str:
    """Take a string that must be there and not be empty."""
    value = body.get(name)
    return value if value and isinstance(value, str) else required(text(body, name, at) or None, name, at)


def present_text(body: Mapping[str, Any], name: str, at: str = "") -> str:
    """Take a string that must be there, though it may be empty."""
    return required(text(body, name, at), name, at)


def boolean(body: Mapping[str, Any], name: str, at: str = "") -> bool | None:
    """Take a boolean; None for nothing."""
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise wrong_type(value, "a boolean", path(at, name))


def number(body: Mapping[str, Any], name: str, at: str = "") -> float | None:
    """Take a number; None for nothing."""
    return number_at(body.get(name), path(at, name))


def integer(body: Mapping[str, Any], name: str, at: str = "") -> int | None:
    """Take an integer; None for nothing."""
    return integer_at(body.get(name), path(at, name))


def mapping(body: Mapping[str, Any], name: str, at: str = "") -> dict[str, Any] | None:
    """Take an object; None for nothing."""
    value = body.get(name)
    return value if value is None or isinstance(value, dict) else entry(value, path(at, name))


def object_in(body: Mapping[str, Any], name: str, at: str = "") -> dict[str, Any]:
    """Take an object; an empty one for nothing."""
    value = body.get(name)
    return value if isinstance(value, dict) else object_at(value, path(at, name))


def required_mapping(body: Mapping[str, Any], name: str, at: str = "") -> dict[str, Any]:
    """Take an object that must be there."""
    return required(mapping(body, name, at), name, at)


def sequence(body: Mapping[str, Any], name: str, at: str = "") -> list[Any]:
    """Take an array; an empty one for nothing."""
    value = body.get(name)
    return value if isinstance(value, list) else list_at(value, path(at, name))


def required(value: T | None, name: str, at: str = "") -> T:
    """Insist on a value that was taken."""
    if value is None:
        raise MissingMember(f"Missing required parameter: '{path(at, name)}'.", param=path(at, name))
    return value
