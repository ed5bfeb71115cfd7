"""What can be written of a call whose record the database refuses: who it was, what it used, and what that cost.

A call that is not written down is in no sum, and in no budget after the next start. So one value that a column does not
hold, a name that is too long, a character or a number, must not take the others along: it is made to fit, and if that
does not help, all is left out that no sum is made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec
from django.db import models

from ai_gateway.meter import NOT_COLUMNS, Entry
from ai_gateway.models import UsageRecord
from ai_gateway.models.usage import NAME
from ai_gateway.models.usage_queries import BUCKETS
from ai_gateway.rollups import WHO

KEPT = frozenset(
    (
        *("id", "request_id", "started_at", "outcome", "status", "is_estimated", "cost_nanos", "saved_nanos"),
        *WHO,
        *BUCKETS,
        *NOT_COLUMNS,
    )
)
"""What is left of a call in the end."""

MOST = {"PositiveSmallIntegerField": 2**15 - 1, "PositiveIntegerField": 2**31 - 1, "BigIntegerField": 2**53}
"""The largest number of a column, by its type; of those that are summed up one of which there is room for hundreds."""


def versions(entry: Entry) -> Iterator[Entry]:
    """Give what may be taken in place of an entry that is refused, the most that is left of it first."""
    made = fitted(entry)
    if made != entry:
        yield made
    least = bare(made)
    if least != made:
        yield least


def fitted(entry: Entry) -> Entry:
    """Make every value one that its column holds."""
    values = ((name, getattr(entry, name)) for name in _FITTING)
    return msgspec.structs.replace(
        entry, **{name: _FITTING[name](value) for name, value in values if value is not None}
    )


def bare(entry: Entry) -> Entry:
    """Leave out what no sum is made of."""
    return Entry(**{name: getattr(entry, name) for name in KEPT})


def _text(value: str, length: int) -> str:
    """Cut a text, without what is no character, or none that databases take."""
    return value.encode("utf-8", "replace").decode().replace("\0", "")[:length]


def _number(value: int, most: int) -> int:
    return max(0, min(value, most))


def _document(value: Any) -> Any:
    """Make a value one of JSON that every database takes."""
    if isinstance(value, str):
        return _text(value, len(value))
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {_document(str(name)): _document(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_document(each) for each in value]
    return value


def _tags(value: list[str]) -> list[str]:
    """Cut tags: the sums by label have a column for each."""
    return [_text(str(tag), NAME) for tag in value]


def _fit(field: models.Field[Any, Any]) -> Callable[[Any], Any] | None:
    """Give what makes a value fit into a column, for those that anything can be wrong with."""
    if isinstance(field, models.CharField):
        return partial(_text, length=field.max_length or NAME)
    if isinstance(field, models.JSONField):
        return _document
    most = MOST.get(field.get_internal_type())
    return None if most is None else partial(_number, most=most)


_FITTING = {
    field.attname: fit
    for field in UsageRecord._meta.concrete_fields
    if field.attname in Entry.__struct_fields__ and (fit := _fit(field)) is not None
} | {"tags": _tags}
