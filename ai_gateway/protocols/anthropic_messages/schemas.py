"""JSON Schemas, as Anthropic takes them.

For structured outputs and strict tools it takes a subset; the rest of a schema is moved to its description, where the
model at least reads it. Its SDKs do the same (`transform_schema` in `anthropic.lib._parse._transform`), and so a schema
comes out as they would send it. Source of the subset: "Structured outputs", section "JSON Schema limitations".

A tool's schema must be of type object, and have no composition at its root.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ai_gateway.protocols.jsontext import dumps_text
from ai_gateway.protocols.schemas import object_schema, subschemas

FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"),
)
"""The formats of strings that are held to."""

TYPES = frozenset(("object", "array", "string", "integer", "number", "boolean", "null"))
UNIONS = ("anyOf", "oneOf", "allOf")
OUTSIDE = ("description", "title", "default")
"""Members that are said of a value of any type."""

NOT_SAID = frozenset(("$schema", "$id", "$comment"))
"""Members that say nothing about the values, and are left out."""


MALFORMED = (AttributeError, TypeError, RecursionError)
"""What comes of a schema that is none: a number where a list must be, a list where names must be, no end of nesting.
Schemas are the caller's data, and they are looked into no further than to rewrite them."""

NO_SCHEMA = "it is not a JSON Schema, or is nested too deeply"


class Inexpressible(ValueError):
    """A schema means something that the subset cannot say."""


def subset(schema: dict[str, Any]) -> dict[str, Any]:
    """Rewrite a schema in Anthropic's subset. Raises Inexpressible if it would then mean something else."""
    try:
        schema = _with_defs(schema)
        if is_recursive(schema):
            raise Inexpressible("it refers to itself")
        return _subset(schema)
    except MALFORMED:
        raise Inexpressible(NO_SCHEMA) from None


def _with_defs(schema: dict[str, Any]) -> dict[str, Any]:
    """Call the older `definitions` `$defs`."""
    if not isinstance(schema.get("definitions"), dict):
        return schema
    renamed = {name: _renamed(value) for name, value in schema.items() if name != "definitions"}
    defs = {**schema["definitions"], **(schema.get("$defs") or {})}
    return {**renamed, "$defs": _renamed(defs)}


def _renamed(value: Any) -> Any:
    if isinstance(value, list):
        return [_renamed(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: each.replace("#/definitions/", "#/$defs/", 1)
        if name == "$ref" and isinstance(each, str)
        else _renamed(each)
        for name, each in value.items()
    }


def is_recursive(schema: dict[str, Any]) -> bool:
    """Whether a schema refers to itself, directly or through others."""
    defs = schema.get("$defs")
    refers = {name: set(_references(each)) for name, each in defs.items()} if isinstance(defs, dict) else {}
    if "#" in _references(schema):
        return True
    return any(name in _reached(name, refers) for name in refers)


def _reached(name: str, refers: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = list(refers[name])
    while waiting:
        each = waiting.pop()
        if each not in reached:
            reached.add(each)
            waiting += refers.get(each, ())
    return reached


def _references(schema: object) -> Iterator[str]:
    """Give the names of the definitions that a schema refers to; "#" for the whole."""
    if not isinstance(schema, dict):
        return
    reference = schema.get("$ref")
    if isinstance(reference, str):
        yield "#" if reference == "#" else reference.removeprefix("#/$defs/")
    for inner in subschemas(schema):
        yield from _references(inner)


def _subset(schema: object) -> dict[str, Any]:
    if not isinstance(schema, dict):
        raise Inexpressible("a part of it is no object")
    rest = {name: value for name, value in schema.items() if name not in NOT_SAID}
    written: dict[str, Any] = {}
    defs = rest.pop("$defs", None)
    if isinstance(defs, dict):
        written["$defs"] = {name: _subset(each) for name, each in defs.items()}
    if "$ref" in rest:
        return written | {"$ref": rest["$ref"]}
    if isinstance(rest.get("type"), list):
        return written | _subset(_split(rest))
    kind = _take_kind(rest, written)
    for member in ("description", "title"):
        if rest.get(member) is not None:
            written[member] = rest.pop(member)
    take = _TAKING.get(kind or "")
    if take is not None:
        take(rest, written)
    return _with_rest(written, rest)


def _split(schema: dict[str, Any]) -> dict[str, Any]:
    """Write a list of types as alternatives. What is said of one type holds for that one only, in JSON Schema too."""
    if "enum" in schema or "const" in schema:
        return {name: value for name, value in schema.items() if name != "type"}
    outside: dict[str, Any] = {name: value for name, value in schema.items() if name in OUTSIDE}
    inside = {name: value for name, value in schema.items() if name not in outside and name != "type"}
    kinds = [{"type": kind} if kind == "null" else {"type": kind, **inside} for kind in schema["type"]]
    return {"anyOf": kinds, **outside} if len(kinds) != 1 else {**kinds[0], **outside}


def _take_kind(rest: dict[str, Any], written: dict[str, Any]) -> str | None:
    """Take over what says of which kind the values are: literals, alternatives, or a type, which is given back."""
    kind = rest.pop("type", None)
    unions = {word: rest.pop(word) for word in UNIONS if word in rest}
    if _is_primitives(rest.get("enum")):
        written["enum"] = rest.pop("enum")
    if "const" in rest and _is_primitive(rest["const"]):
        written["const"] = rest.pop("const")
    has_literals = "enum" in written or "const" in written
    for word, each in unions.items():
        if isinstance(each, list):
            written["allOf" if word == "allOf" else "anyOf"] = [_subset(one) for one in each]
            if kind == "object" and rest.get("properties"):
                raise Inexpressible("it has properties beside alternatives")
            return None
    if has_literals:
        return None
    if kind not in TYPES:
        raise Inexpressible("a part of it has no type")
    written["type"] = kind
    return str(kind)


def _is_primitive(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _is_primitives(values: object) -> bool:
    return isinstance(values, list) and bool(values) and all(map(_is_primitive, values))


def _take_object(rest: dict[str, Any], written: dict[str, Any]) -> None:
    properties = rest.pop("properties", None) or {}
    more = rest.pop("additionalProperties", None)
    if isinstance(more, dict) or "patternProperties" in rest or (not properties and more is not False):
        raise Inexpressible("an object of it has properties that it does not name")
    written["properties"] = {name: _subset(each) for name, each in properties.items()}
    written["additionalProperties"] = False
    if rest.get("required") is not None:
        written["required"] = rest.pop("required")


def _take_string(rest: dict[str, Any], written: dict[str, Any]) -> None:
    if rest.get("format") in FORMATS:
        written["format"] = rest.pop("format")


def _take_array(rest: dict[str, Any], written: dict[str, Any]) -> None:
    if rest.get("items") is not None:
        written["items"] = _subset(rest.pop("items"))
    if rest.get("minItems") in (0, 1):
        written["minItems"] = rest.pop("minItems")


_TAKING = {"object": _take_object, "string": _take_string, "array": _take_array}


def _with_rest(written: dict[str, Any], rest: dict[str, Any]) -> dict[str, Any]:
    """Move what is left to the description."""
    if not rest:
        return written
    said = "{" + ", ".join(f"{name}: {value}" for name, value in rest.items()) + "}"
    before = written.get("description")
    return {**written, "description": f"{before}\n\n{said}" if before else said}


# Tools.


def tool_schema(schema: dict[str, Any] | None) -> tuple[dict[str, Any], str]:
    """Give a tool's schema with a root of type object and without a composition there, and what is to be said in the
    tool's description instead. Everything else of it stays as it is.

    The schema may allow more than it did, but never other arguments. Raises Inexpressible if that cannot be had.
    """
    try:
        return _tool_schema(schema)
    except MALFORMED:
        raise Inexpressible(NO_SCHEMA) from None


def _tool_schema(schema: dict[str, Any] | None) -> tuple[dict[str, Any], str]:
    root = _resolved(object_schema(schema))
    said: list[str] = []
    for word in UNIONS:
        if word in root:
            branches = root[word]
            root = {name: value for name, value in root.items() if name != word}
            root = _all_of(root, branches) if word == "allOf" else _any_of(root, branches)
            if word != "allOf":
                said.append(f"The arguments must match {_WORDS[word]} of these JSON Schemas: {dumps_text(branches)}")
    if root.get("type", "object") != "object":
        raise Inexpressible("its arguments are no object")
    return {**root, "type": "object"}, "\n".join(said)


_WORDS = {"anyOf": "at least one", "oneOf": "exactly one"}


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """Put what the root refers to in place of the reference."""
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    for word in ("$defs", "definitions"):
        target = (schema.get(word) or {}).get(reference.removeprefix(f"#/{word}/"))
        if isinstance(target, dict) and "$ref" not in target:
            return {**{name: value for name, value in schema.items() if name != "$ref"}, **target}
    raise Inexpressible("its root refers to something that is not there")


def _objects(root: dict[str, Any], branches: object) -> list[dict[str, Any]]:
    if not isinstance(branches, list) or not all(isinstance(each, dict) for each in branches):
        raise Inexpressible("its root has alternatives that are no schemas")
    context: dict[str, Any] = {word: value for word, value in root.items() if word in ("$defs", "definitions")}
    resolved = [_resolved({**each, **context}) if "$ref" in each else each for each in branches]
    if any(each.get("type", "object") != "object" or any(word in each for word in UNIONS) for each in resolved):
        raise Inexpressible("its root has alternatives that are no plain objects")
    return resolved


def _all_of(root: dict[str, Any], branches: object) -> dict[str, Any]:
    """Merge schemas all of which hold."""
    for branch in _objects(root, branches):
        required = dict.fromkeys([*(root.get("required") or ()), *(branch.get("required") or ())])
        properties = {**(branch.get("properties") or {}), **(root.get("properties") or {})}
        root = {**branch, **root, "properties": properties}
        if required:
            root["required"] = list(required)
    return root


def _any_of(root: dict[str, Any], branches: object) -> dict[str, Any]:
    """Merge schemas one of which holds: what any of them has may be there, what all of them require must be."""
    objects = _objects(root, branches)
    properties: dict[str, list[Any]] = {}
    for branch in [root, *objects]:
        for name, each in (branch.get("properties") or {}).items():
            if each not in properties.setdefault(name, []):
                properties[name].append(each)
    required = [set(branch.get("required") or ()) for branch in objects]
    common = set.intersection(*required) if required else set()
    merged = {**root, "properties": {name: _either(each) for name, each in properties.items()}}
    names = [*(root.get("required") or ()), *sorted(common - set(root.get("required") or ()))]
    return {**merged, "required": names} if names else merged


def _either(schemas: list[Any]) -> Any:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
