"""Members of a caller's body, with their types checked and errors that name them by path."""

from __future__ import annotations

from typing import Any, TypeVar

from ai_gateway.errors import BadRequest

T = TypeVar("T")


class InvalidType(BadRequest):
    """A member has another JSON type than it must have."""

    code = "invalid_type"


class MissingMember(BadRequest):
    """A member that must be there is not."""

    code = "missing_required_parameter"


class BelowMinimum(BadRequest):
    """A number is smaller than it may be."""

    code = "integer_below_min_value"


def path(at: str, name: str) -> str:
    """Write the path of a member of what stands at `at`; "" is the body itself."""
    return f"{at}.{name}" if at else name


def string(body: dict[str, Any], name: str, at: str = "") -> str | None:
    """Read a string; null is as if it were not there."""
    return _typed(body, name, str, "a string", at)


def required_string(body: dict[str, Any], name: str, at: str) -> str:
    """Read a string that must be there."""
    return required(string(body, name, at), name, at)


def integer(body: dict[str, Any], name: str, at: str = "") -> int | None:
    """Read an integer. A number without a fraction (`16.0`) is one, as OpenAI has it."""
    value = number(body, name, at)
    if value is None or isinstance(value, int):
        return value
    if not value.is_integer():
        raise InvalidType(f"Invalid type for '{path(at, name)}': expected an integer.", param=path(at, name))
    return int(value)


def number(body: dict[str, Any], name: str, at: str = "") -> float | None:
    """Read a number."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidType(f"Invalid type for '{path(at, name)}': expected a number.", param=path(at, name))
    return value


def boolean(body: dict[str, Any], name: str, at: str = "") -> bool | None:
    """Read a boolean."""
    return _typed(body, name, bool, "a boolean", at)


def mapping(body: dict[str, Any], name: str, at: str = "") -> dict[str, Any]:
    """Read an object; an empty one if it is not there."""
    value: dict[str, Any] | None = _typed(body, name, dict, "an object", at)
    return {} if value is None else value


def listing(body: dict[str, Any], name: str, at: str = "") -> list[Any]:
    """Read a list; an empty one if it is not there."""
    value: list[Any] | None = _typed(body, name, list, "an array", at)
    return [] if value is None else value


def objects(values: list[Any], at: str) -> list[tuple[str, dict[str, Any]]]:
    """Give the objects of a list, each with its path."""
    found = []
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            place = f"{at}[{index}]"
            raise InvalidType(f"Invalid type for '{place}': expected an object.", param=place)
        found.append((f"{at}[{index}]", value))
    return found


def required(value: T | None, name: str, at: str) -> T:
    """Insist on a value that was read."""
    if value is None:
        raise MissingMember(f"Missing required parameter: '{path(at, name)}'.", param=path(at, name))
    return value


def _typed(body: dict[str, Any], name: str, kind: type[T], word: str, at: str) -> T | None:
    value = body.get(name)
    if value is None or isinstance(value, kind):
        return value
    raise InvalidType(f"Invalid type for '{path(at, name)}': expected {word}.", param=path(at, name))
