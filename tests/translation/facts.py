"""What an answer says, whoever says it: the facts that must be the same on both sides of the gateway."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic_core import from_json

Stop = Literal["end", "stop_sequence", "tool_use", "length", "filtered"]

OBJECT_ARGUMENTS = frozenset(("anthropic_messages", "gemini", "bedrock_converse"))
"""The formats in which the arguments of a call are an object, and never a text."""

NAMES_STOP_SEQUENCES = frozenset(("anthropic_messages", "bedrock_converse"))
"""The formats that tell that a stop sequence ended the answer."""

HAS_REFUSALS = frozenset(("openai_chat", "openai_responses"))
"""The formats in which a model's words of refusal are another thing than its text."""

EXPLAINS_FILTERS = frozenset(("openai_chat", "openai_responses", "anthropic_messages"))
"""The formats that tell why a policy stopped the answer. Google's SDK leaves out Gemini's member for it."""

MUST_TELL_USAGE = frozenset(("anthropic_messages", "bedrock_converse"))
"""The formats in which an answer cannot be without its usage: what nobody has told is 0 there."""

INVALID_JSON = "INVALID_JSON"
"""The member under which arguments that are no object stand in a format that takes only objects."""


@dataclass(frozen=True)
class Call:
    """A call of a tool. `arguments` are the object, or the text if they are none; `is_custom`: they are meant to be."""

    id: str
    name: str
    arguments: dict[str, Any] | str
    is_custom: bool = False


@dataclass(frozen=True)
class Usage:
    """Tokens in buckets that do not overlap."""

    input: int
    cache_read: int
    cache_write: int
    output: int
    reasoning: int


@dataclass(frozen=True)
class Facts:
    """What an answer says. `refusal` are the words for why nothing else was said."""

    text: str
    reasoning: tuple[str, ...]
    calls: tuple[Call, ...]
    stop: Stop
    usage: Usage | None
    refusal: str = ""


def arguments_of(text: str) -> dict[str, Any] | str:
    """Read the arguments of a call: none at all are an empty object; what is no object stays the text that it is."""
    if not text.strip() or text.strip() == "null":
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, dict) else text


def as_far_as_it_goes(arguments: dict[str, Any] | str) -> dict[str, Any]:
    """Read arguments that a limit has cut off, as Anthropic's own SDK does."""
    if isinstance(arguments, dict) and arguments.keys() == {INVALID_JSON}:
        arguments = arguments[INVALID_JSON]
    if isinstance(arguments, dict):
        return arguments
    value = from_json(arguments, allow_partial=True)
    assert isinstance(value, dict)
    return value


def told_in(facts: Facts, dialect: str) -> Facts:
    """Say what of these facts a dialect has words for. This is the whole list of what may be missing."""
    if facts.stop == "stop_sequence" and dialect not in NAMES_STOP_SEQUENCES:
        facts = replace(facts, stop="end")
    if facts.refusal and facts.stop == "filtered" and dialect not in EXPLAINS_FILTERS:
        facts = replace(facts, refusal="")
    if facts.refusal and facts.stop != "filtered" and dialect not in HAS_REFUSALS:
        facts = replace(facts, text=facts.text + facts.refusal, refusal="")
    return replace(
        facts,
        calls=tuple(_call_told_in(call, dialect) for call in facts.calls),
        usage=_usage_told_in(facts.usage, dialect),
    )


def _call_told_in(call: Call, dialect: str) -> Call:
    """A tool with free text is called with an object of one member where arguments are objects; what is no JSON is
    kept as a text there."""
    if dialect not in OBJECT_ARGUMENTS or isinstance(call.arguments, dict):
        return call
    member = "input" if call.is_custom else INVALID_JSON
    return replace(call, arguments={member: call.arguments}, is_custom=False)


def _usage_told_in(usage: Usage | None, dialect: str) -> Usage | None:
    if usage is None:
        return Usage(0, 0, 0, 0, 0) if dialect in MUST_TELL_USAGE else None
    if dialect == "gemini":
        # Gemini does not tell what was written to a cache; its prompt holds all.
        return replace(usage, input=usage.input + usage.cache_write, cache_write=0)
    if dialect == "bedrock_converse":
        # Converse does not tell reasoning from other output.
        return replace(usage, output=usage.output + usage.reasoning, reasoning=0)
    return usage
