"""Members of a caller's body, taken out with their types checked: what is wrong is refused by its path."""

from __future__ import annotations

from typing import Any

from ai_gateway.errors import BadRequest


def object_at(value: Any, at: str) -> dict[str, Any]:
    """Give an object; an empty one for nothing. Raises BadRequest for anything else."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(f"{at} must be an object.", param=at)
    return value


def list_at(value: Any, at: str) -> list[Any]:
    """Give a list; an empty one for nothing. Raises BadRequest for anything else."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadRequest(f"{at} must be a list.", param=at)
    return value


def text_at(value: Any, at: str) -> str:
    """Give a string. Raises BadRequest for anything else."""
    if not isinstance(value, str):
        raise BadRequest(f"{at} must be a string.", param=at)
    return value


def number_at(value: Any, at: str) -> float | None:
    """Give a number, None for nothing. Raises BadRequest for anything else."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRequest(f"{at} must be a number.", param=at)
    return value


def integer_at(value: Any, at: str) -> int | None:
    """Give an integer, None for nothing. Raises BadRequest for anything else."""
    number = number_at(value, at)
    if number is None:
        return None
    if isinstance(number, float) and not number.is_integer():
        raise BadRequest(f"{at} must be an integer.", param=at)
    return int(number)
