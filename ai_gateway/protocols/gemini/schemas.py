"""Google's own kind of schema, made a JSON Schema.

`parameters` and `responseSchema` take "a select subset of an OpenAPI 3.0 schema object" (`Schema` in the reference of
the Gemini API): types in capitals, `nullable`, and members that JSON Schema does not know.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.errors import BadRequest
from ai_gateway.protocols.gemini.spelling import camel

MAX_DEPTH = 64
"""How deep a schema may be nested. Google refuses far less."""

SPELLINGS = {"ref": "$ref", "defs": "$defs"}
LEFT_OUT = frozenset(("nullable", "propertyOrdering", "example"))
"""Members that are no JSON Schema: the first is said otherwise, the others change nothing."""

MACHINE_FORMATS = frozenset(("int32", "int64", "float", "double", "enum"))
"""Values of `format` that say how a value is stored, which no other provider knows."""

COUNTS = frozenset(("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"))
"""Numbers of 64 bits, which ProtoJSON may write as strings."""


def json_schema(schema: Any, at: str, depth: int = 0) -> Any:
    """Make a JSON Schema of one of Google's. Raises BadRequest if it is nested too deeply."""
    if not isinstance(schema, dict):
        return schema
    if depth > MAX_DEPTH:
        raise BadRequest(f"This schema is nested deeper than {MAX_DEPTH} levels.", param=at)
    given = {camel(name): value for name, value in schema.items() if value is not None}
    made = {
        SPELLINGS.get(name, name): _member(name, value, at, depth + 1)
        for name, value in given.items()
        if name not in LEFT_OUT and not (name == "format" and isinstance(value, str) and value in MACHINE_FORMATS)
    }
    if not given.get("nullable"):
        return made
    return {"anyOf": [*made.pop("anyOf", ()), {"type": "null"}], **made} if "anyOf" in made else _or_null(made)


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Say `nullable`. A description stays outside, where models look for it."""
    outside: dict[str, Any] = {name: schema.pop(name) for name in ("title", "description", "default") if name in schema}
    return {**outside, "anyOf": [schema, {"type": "null"}]}


def _member(name: str, value: Any, at: str, depth: int) -> Any:
    if name == "type" and isinstance(value, str):
        return value.lower()
    if name in ("properties", "defs", "$defs") and isinstance(value, dict):
        return {key: json_schema(inner, at, depth) for key, inner in value.items()}
    if name in ("anyOf", "allOf", "oneOf") and isinstance(value, list):
        return [json_schema(inner, at, depth) for inner in value]
    if name in COUNTS and isinstance(value, str) and value.isdecimal():
        return int(value[:20])
    if name in ("items", "additionalProperties"):
        return json_schema(value, at, depth)
    return value
