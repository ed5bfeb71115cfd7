"""JSON Schemas as Anthropic takes them."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from anthropic import transform_schema

from ai_gateway.protocols.anthropic_messages.schemas import Inexpressible, subset, tool_schema

STRING: dict[str, Any] = {"type": "string"}


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": 1, "maximum": 10, "description": "A number"},
        closed(a={"type": "string", "format": "date-time", "title": "A"}, b={"type": "string", "format": "color"}),
        closed(a={"type": "array", "items": STRING, "minItems": 1}, b={"type": "array", "minItems": 3}),
        closed(a={"enum": ["x", 1, None]}, b={"type": "string", "enum": ["x"]}, c={"const": True}),
        closed(a={"anyOf": [STRING, {"type": "null"}], "default": None}),
        closed(a={"oneOf": [STRING, {"type": "null"}]}, b={"allOf": [STRING]}),
        {"type": "object", "properties": {"a": STRING}},
        {"$ref": "#/$defs/A", "$defs": {"A": closed(b=STRING)}},
        closed(a={"$ref": "#/$defs/A"}) | {"$defs": {"A": closed(b={"type": "string", "pattern": "x"})}},
        closed(a={"type": "string", "pattern": "^x", "maxLength": 5}),
    ],
)
def test_a_schema_comes_out_as_the_sdk_would_send_it(schema: dict[str, Any]) -> None:
    before = copy.deepcopy(schema)
    assert subset(schema) == transform_schema(schema)
    assert schema == before


def test_a_list_of_types_becomes_alternatives() -> None:
    given = closed(a={"type": ["string", "null"], "description": "A", "maxLength": 3}, b={"type": ["integer"]})
    assert subset(given)["properties"] == {
        "a": {
            "anyOf": [{"type": "string", "description": "{maxLength: 3}"}, {"type": "null"}],
            "description": "A",
        },
        "b": {"type": "integer"},
    }


def test_a_list_of_types_beside_literals_says_nothing_more() -> None:
    assert subset({"type": ["string", "null"], "enum": ["a", None]}) == {"enum": ["a", None]}


def test_older_definitions_are_found() -> None:
    given = closed(a={"$ref": "#/definitions/A"}) | {"definitions": {"A": STRING}}
    assert subset(given) == closed(a={"$ref": "#/$defs/A"}) | {"$defs": {"A": STRING}}


def test_what_says_nothing_of_values_is_left_out() -> None:
    assert subset({"$schema": "https://json-schema.org/draft/2020-12/schema", **STRING}) == STRING


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"type": "object", "additionalProperties": STRING},
        {"type": "object", "properties": {"a": STRING}, "patternProperties": {"^x": STRING}},
        closed(a={}),
        closed(a=True),
        closed(a={"enum": [{"x": 1}]}),
        closed(a={"$ref": "#"}),
        closed(a={"$ref": "#/$defs/A"}) | {"$defs": {"A": closed(b={"$ref": "#/$defs/A"})}},
        {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/B"}, "B": closed(a={"$ref": "#/$defs/A"})}},
        {"type": "object", "properties": {"a": STRING}, "anyOf": [{"required": ["a"]}]},
    ],
)
def test_what_would_mean_something_else_is_inexpressible(schema: dict[str, Any]) -> None:
    with pytest.raises(Inexpressible):
        subset(schema)


def test_what_is_nested_too_deeply_is_inexpressible() -> None:
    schema = STRING
    for _ in range(5000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(Inexpressible, match="deeply"):
        subset(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": 5},
        {"type": "object", "properties": [STRING]},
        {"type": "object", "properties": {"a": 5}},
        {"type": {"a": "b"}},
        {"type": [["string"]]},
        {"anyOf": 5},
        {"anyOf": [5]},
        {"$defs": [], "$ref": []},
        {"definitions": {"A": 5}, "type": "object", "properties": {"a": {"$ref": "#/definitions/A"}}},
    ],
)
def test_nothing_that_a_caller_may_call_a_schema_is_a_bug(schema: dict[str, Any]) -> None:
    for rewrite in (subset, tool_schema):
        with contextlib.suppress(Inexpressible):
            assert rewrite(schema)


# Tools.


def test_a_tools_schema_stays_as_it_is() -> None:
    schema = {"type": "object", "properties": {"a": {"anyOf": [STRING]}}, "$defs": {}, "additionalProperties": False}
    assert tool_schema(schema) == (schema, "")
    assert tool_schema(None) == ({"type": "object", "properties": {}}, "")
    assert tool_schema({"properties": {"a": STRING}}) == ({"type": "object", "properties": {"a": STRING}}, "")


def test_schemas_all_of_which_hold_are_merged() -> None:
    one = {"type": "object", "properties": {"a": STRING}, "required": ["a"]}
    other = {"$ref": "#/$defs/B"}
    merged, said = tool_schema(
        {"allOf": [one, other], "$defs": {"B": {"properties": {"b": STRING}, "required": ["b"]}}}
    )
    assert (merged["properties"], merged["required"], said) == ({"a": STRING, "b": STRING}, ["a", "b"], "")
    assert "allOf" not in merged


def test_alternatives_that_only_require_are_said_in_words() -> None:
    properties = {"a": STRING, "b": STRING}
    merged, said = tool_schema(
        {"type": "object", "properties": properties, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    )
    assert merged == {"type": "object", "properties": properties}
    assert '[{"required":["a"]},{"required":["b"]}]' in said


def test_alternatives_with_properties_of_their_own_are_merged() -> None:
    one = {"type": "object", "properties": {"kind": {"const": "a"}, "a": STRING}, "required": ["kind", "a"]}
    other = {"type": "object", "properties": {"kind": {"const": "b"}}, "required": ["kind"]}
    merged, said = tool_schema({"oneOf": [one, other]})
    assert merged == {
        "type": "object",
        "properties": {"kind": {"anyOf": [{"const": "a"}, {"const": "b"}]}, "a": STRING},
        "required": ["kind"],
    }
    assert said.startswith("The arguments must match exactly one")


def test_a_reference_at_the_root_is_followed() -> None:
    merged, _ = tool_schema({"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": {"a": STRING}}}})
    assert (merged["type"], merged["properties"]) == ("object", {"a": STRING})


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": STRING},
        {"anyOf": [STRING, {"type": "object"}]},
        {"anyOf": [{"anyOf": []}]},
        {"anyOf": [True]},
        {"$ref": "#/$defs/Missing"},
    ],
)
def test_arguments_that_would_be_others_are_inexpressible(schema: dict[str, Any]) -> None:
    with pytest.raises(Inexpressible):
        tool_schema(schema)
