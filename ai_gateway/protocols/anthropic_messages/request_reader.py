"""Reading the requests of callers of Messages: `POST /v1/messages`, and the bodies of its `count_tokens`.

Sources: Anthropic's Messages API reference; what Claude Code sends, as recorded.
"""

from __future__ import annotations

import re
from typing import Any

from ai_gateway.errors import BadRequest, ThreadUnsupported, Unsupported
from ai_gateway.protocols.anthropic_messages.citations import FORMAT
from ai_gateway.protocols.anthropic_messages.content_reader import read_content, read_mark
from ai_gateway.protocols.anthropic_messages.tool_reader import read_choice, read_tools
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Message, OutputFormat, Part, Reasoning, Request, Role, Text
from ai_gateway.protocols.jsontext import loads
from ai_gateway.protocols.members import integer, number, object_in
from ai_gateway.protocols.protocol import Head
from ai_gateway.protocols.schemas import is_strict

BILLING = "x-anthropic-billing-header:"
"""What Claude Code begins its instructions with: a line for Anthropic's own accounting, different in each request. To
another provider it says nothing, and it would spoil every prompt cache."""

NAMES = {
    "max_output_tokens": "max_tokens",
    "stop": "stop_sequences",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "user": "metadata.user_id",
    "session": "metadata.user_id",
    "cache": "cache_control",
}

READ = frozenset(
    (
        "model",
        "messages",
        "system",
        "max_tokens",
        "stream",
        "temperature",
        "top_p",
        "top_k",
        "stop_sequences",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "output_format",
        "metadata",
        "service_tier",
        "cache_control",
    )
)
"""The members that are read. All others are hints."""

REFUSED = {
    "mcp_servers": "MCP servers, which Anthropic calls itself, cannot be reached through another provider.",
}
"""Members that change what the answer is made of, and that no other provider can take."""

TIERS = {"auto": "auto", "standard_only": "default"}
"""Anthropic's `service_tier` in OpenAI's words."""


def read_request(body: dict[str, Any], head: Head, carrier: Carrier) -> Request:
    """Read a request. `max_tokens` may be missing, as in the bodies of `count_tokens`; it may be 0, which asks for
    nothing but a warm cache. Raises BadRequest."""
    for name, message in REFUSED.items():
        if body.get(name):
            raise Unsupported(message, param=name)
    if body.get("thread"):
        raise ThreadUnsupported(
            "A conversation that Anthropic keeps cannot go on with another provider.", param="thread"
        )
    hints = {name: value for name, value in body.items() if name not in READ and name not in REFUSED}
    tools = read_tools(body.get("tools"), hints)
    choice, is_parallel = read_choice(body.get("tool_choice"))
    reasoning, reasoning_name = _read_reasoning(body)
    output, output_name = _read_output(body)
    user = _user(body.get("metadata"))
    return Request(
        format=FORMAT,
        model=head.model,
        messages=_read_system(body.get("system"), carrier) + _read_messages(body.get("messages"), carrier),
        stream=head.stream,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=is_parallel,
        max_output_tokens=_count(body, "max_tokens"),
        temperature=number(body, "temperature"),
        top_p=number(body, "top_p"),
        top_k=_count(body, "top_k"),
        stop=_read_stop(body.get("stop_sequences")),
        output=output,
        reasoning=reasoning,
        user=user,
        session=session_of(user),
        service_tier=TIERS.get(str(body.get("service_tier"))),
        cache=read_mark(body.get("cache_control")),
        hints=hints,
        names={**NAMES, "reasoning": reasoning_name, "output": output_name},
        source=body,
    )


# The conversation.


def _read_system(system: object, carrier: Carrier) -> list[Message]:
    if system is None:
        return []
    parts = [_without_billing(part) for part in read_content(system, carrier, "system")]
    kept = [part for part in parts if not isinstance(part, Text) or part.text]
    return [Message(role="system", parts=kept, at="system")] if kept else []


def _without_billing(part: Part) -> Part:
    if not isinstance(part, Text) or not part.text.startswith(BILLING):
        return part
    return Text(text=part.text.partition("\n")[2], cache=part.cache, at=part.at)


ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}


def _read_messages(messages: object, carrier: Carrier) -> list[Message]:
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages must be a list with at least one message.", param="messages")
    return [_read_message(message, carrier, f"messages[{place}]") for place, message in enumerate(messages)]


def _read_message(message: object, carrier: Carrier, at: str) -> Message:
    if not isinstance(message, dict):
        raise BadRequest("A message must be an object.", param=at)
    role = ROLES.get(str(message.get("role")))
    if role is None:
        raise BadRequest("The role must be user, assistant or system.", param=f"{at}.role")
    return Message(role=role, parts=read_content(message.get("content"), carrier, f"{at}.content"), at=at)


# The rest.


def _read_reasoning(body: dict[str, Any]) -> tuple[Reasoning | None, str]:
    """Read `thinking` and `output_config.effort`, and tell which of them the caller wrote."""
    thinking = object_in(body, "thinking")
    effort = object_in(body, "output_config").get("effort")
    if not thinking and effort is None:
        return None, "thinking"
    mode = thinking.get("type")
    budget = thinking.get("budget_tokens")
    if effort is None and mode == "disabled":
        effort = "none"
    reasoning = Reasoning(
        effort=effort if isinstance(effort, str) else None,
        budget=budget if isinstance(budget, int) and budget > 0 and mode == "enabled" else None,
        mode=mode if isinstance(mode, str) else None,
        is_shown=_is_shown(mode, thinking.get("display")),
    )
    return reasoning, "thinking" if thinking else "output_config.effort"


def _is_shown(mode: object, display: object) -> bool | None:
    """Whether thinking is to be seen. Models that take a budget show it if nothing is said."""
    if display in ("summarized", "omitted"):
        return display == "summarized"
    return True if mode == "enabled" else None


def _read_output(body: dict[str, Any]) -> tuple[OutputFormat | None, str]:
    """Read `output_config.format`, or the `output_format` that came before it."""
    name = "output_config.format" if object_in(body, "output_config").get("format") else "output_format"
    given = object_in(body, "output_config").get("format") or body.get("output_format")
    if not given:
        return None, "output_config.format"
    schema = given.get("schema") if isinstance(given, dict) else None
    if not isinstance(schema, dict):
        raise BadRequest("The format of the output must be of type json_schema, with a schema.", param=name)
    try:
        # Anthropic always holds the model to the schema; OpenAI does so only if it can be told to with `strict`.
        strict = is_strict(schema)
    except (TypeError, RecursionError):
        raise BadRequest("The schema is not a JSON Schema, or is nested too deeply.", param=name) from None
    return OutputFormat(kind="json_schema", name="output", schema=schema, strict=strict), name


def _count(body: dict[str, Any], name: str) -> int | None:
    value = integer(body, name)
    if value is not None and value < 0:
        raise BadRequest(f"{name} must not be below 0.", param=name)
    return value


def _read_stop(stop: object) -> list[str]:
    if stop is None:
        return []
    if not isinstance(stop, list) or not all(isinstance(each, str) for each in stop):
        raise BadRequest("stop_sequences must be a list of strings.", param="stop_sequences")
    return stop


def _user(metadata: object) -> str | None:
    user = metadata.get("user_id") if isinstance(metadata, dict) else None
    return user if isinstance(user, str) and user else None


_SESSION = re.compile(r"_session_([A-Za-z0-9-]+)")


def session_of(user: str | None) -> str | None:
    """Find the session in the `user_id` that Claude Code sends: `user_…_account_…_session_<id>`, or JSON with a
    `session_id`."""
    if not user:
        return None
    if user.startswith("{"):
        return _session_member(user)
    found = _SESSION.search(user)
    return found[1] if found else None


def _session_member(user: str) -> str | None:
    try:
        session = loads(user).get("session_id")
    except (ValueError, RecursionError):
        return None
    return session if isinstance(session, str) and session else None
