"""JSON Schemas, as far as formats differ in what they take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

COMPOSITIONS = ("anyOf", "allOf", "oneOf", "prefixItems")
MAPS = ("properties", "$defs", "definitions", "patternProperties")
INNER = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")


def object_schema(schema: dict[str, Any] | None) -> dict[str, Any]:
    """Give the schema of a function's arguments for a format that needs one, of type object."""
    if not schema:
        return {"type": "object", "properties": {}}
    if "type" in schema or any(word in schema for word in (*COMPOSITIONS, "$ref")):
        return schema
    return {"type": "object", **schema}


def subschemas(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give every schema that stands directly inside another. Callers write schemas: what is none is passed over."""
    for word in COMPOSITIONS:
        inner = schema.get(word)
        yield from (each for each in inner if isinstance(each, dict)) if isinstance(inner, list) else ()
    for word in MAPS:
        inner = schema.get(word)
        yield from (each for each in inner.values() if isinstance(each, dict)) if isinstance(inner, dict) else ()
    for word in INNER:
        if isinstance(schema.get(word), dict):
            yield schema[word]


MAX_DEPTH = 50
"""How deep schemas may stand in each other to be called strict. OpenAI takes ten levels."""


def is_strict(schema: dict[str, Any], depth: int = 0) -> bool:
    """Whether a schema is what OpenAI demands for `strict`: every object closed, and every property of it required.

    Source: "Structured Outputs", section "Supported schemas", of OpenAI's documentation.
    """
    if depth > MAX_DEPTH or "oneOf" in schema or "allOf" in schema:
        return False
    if (schema.get("type") == "object" or "properties" in schema) and not _is_closed(schema):
        return False
    return all(is_strict(inner, depth + 1) for inner in subschemas(schema))


def _is_closed(schema: dict[str, Any]) -> bool:
    required, properties = schema.get("required") or [], schema.get("properties") or {}
    if not isinstance(required, list) or not isinstance(properties, dict):
        return False
    names = {name for name in required if isinstance(name, str)}
    return schema.get("additionalProperties") is False and names == properties.keys()
