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
    """Give every schema that stands directly inside another."""
    for word in COMPOSITIONS:
        yield from (each for each in schema.get(word) or () if isinstance(each, dict))
    for word in MAPS:
        inner = schema.get(word)
        yield from (each for each in inner.values() if isinstance(each, dict)) if isinstance(inner, dict) else ()
    for word in INNER:
        if isinstance(schema.get(word), dict):
            yield schema[word]


def is_strict(schema: dict[str, Any]) -> bool:
    """Whether a schema is what OpenAI demands for `strict`: every object closed, and every property of it required.

    Source: "Structured Outputs", section "Supported schemas", of OpenAI's documentation.
    """
    if schema.get("type") == "object" or "properties" in schema:
        if schema.get("additionalProperties") is not False:
            return False
        if set(schema.get("required") or ()) != set(schema.get("properties") or ()):
            return False
    if "oneOf" in schema or "allOf" in schema:
        return False
    return all(is_strict(inner) for inner in subschemas(schema))
