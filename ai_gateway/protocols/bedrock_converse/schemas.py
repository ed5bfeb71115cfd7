"""JSON Schemas for structured output: the subset that Bedrock takes.

What it does not take (`minimum`, `maxLength`, `pattern`, ...) is said in the description instead, so that the model
knows of it. Every object must be closed.

Source: "Get validated JSON results from models" (structured outputs) in the Amazon Bedrock User Guide.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.jsontext import dumps_text
from ai_gateway.protocols.schemas import COMPOSITIONS

KEPT = frozenset(("type", "enum", "const", "$ref", "title", "required", "description"))
"""Words that are passed on as they are."""

DEFINITIONS = ("$defs", "definitions", "properties")
"""Words whose values are schemas by name."""

FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"),
)
"""The formats of strings that are known."""

UNSAID = frozenset(("additionalProperties", "$schema", "$id", "$comment"))
"""Words that are left out and not worth saying."""


def supported(schema: dict[str, Any]) -> dict[str, Any]:
    """Copy a schema with nothing in it that is not taken."""
    written: dict[str, Any] = {}
    unsaid: dict[str, Any] = {}
    for word, value in schema.items():
        if word in KEPT or _is_taken(word, value):
            written[word] = value
        elif word in DEFINITIONS and isinstance(value, dict):
            written[word] = {name: _inner(inner) for name, inner in value.items()}
        elif word == "items":
            written[word] = _inner(value)
        elif word in COMPOSITIONS and word != "prefixItems" and isinstance(value, list):
            written["anyOf" if word == "oneOf" else word] = [_inner(each) for each in value]
        elif word not in UNSAID:
            unsaid[word] = value
    if written.get("type") == "object" or "properties" in written:
        written["additionalProperties"] = False
    if unsaid:
        written["description"] = f"{written.get('description', '')} {dumps_text(unsaid)}".strip()
    return written


def _is_taken(word: str, value: Any) -> bool:
    return (word == "format" and value in FORMATS) or (word == "minItems" and value in (0, 1))


def _inner(value: Any) -> Any:
    return supported(value) if isinstance(value, dict) else value
