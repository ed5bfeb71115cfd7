"""JSON Schemas."""

from __future__ import annotations

from typing import Any

import pytest

from ai_gateway.protocols.schemas import is_strict, object_schema


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (None, {"type": "object", "properties": {}}),
        ({}, {"type": "object", "properties": {}}),
        ({"properties": {"a": {}}}, {"type": "object", "properties": {"a": {}}}),
        ({"anyOf": []}, {"anyOf": []}),
        ({"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}),
    ],
)
def test_arguments_are_an_object(schema: dict[str, Any] | None, expected: dict[str, Any]) -> None:
    assert object_schema(schema) == expected


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


@pytest.mark.parametrize(
    "schema",
    [
        closed(),
        closed(a={"type": "string"}),
        closed(a=closed(b={"type": "array", "items": closed(c={"anyOf": [{"type": "string"}, {"type": "null"}]})})),
        {**closed(a={"$ref": "#/$defs/x"}), "$defs": {"x": closed()}},
    ],
)
def test_a_closed_schema_with_every_property_required_is_strict(schema: dict[str, Any]) -> None:
    assert is_strict(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {}},
        {**closed(a={}), "required": []},
        closed(a={"type": "object"}),
        closed(a={"type": "array", "items": {"type": "object", "properties": {}}}),
        {**closed(), "$defs": {"x": {"type": "object"}}},
        closed(a={"oneOf": [{"type": "string"}]}),
        {"type": "object", "properties": ["a"], "required": ["a"], "additionalProperties": False},
        {"type": "object", "properties": {}, "required": 1, "additionalProperties": False},
        {**closed(), "anyOf": 7, "allOf": "x"},
    ],
)
def test_any_other_is_not(schema: dict[str, Any]) -> None:
    assert not is_strict(schema)


def test_a_schema_without_end_is_not_strict() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(5000):
        schema = {"anyOf": [schema]}
    assert not is_strict(schema)
