"""Writing a request for Responses.

Source: "Create a model response" in OpenAI's API reference. Nothing is stored: the conversation is the caller's, and
what the provider wants back of it travels as encrypted reasoning.
"""

from __future__ import annotations

import json
from typing import Any

from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.conversation import OutputFormat, Request
from ai_gateway.protocols.identifiers import identifier
from ai_gateway.protocols.json_output import ANY_OBJECT, BY_SCHEMA, says_json
from ai_gateway.protocols.openai_responses.message_writer import InputWriter
from ai_gateway.protocols.openai_responses.reasoning_writer import ReasoningWriter
from ai_gateway.protocols.openai_responses.tool_writer import NAME, ToolNames, ToolWriter, fits_strict
from ai_gateway.protocols.openai_tiers import WORDS
from ai_gateway.protocols.protocol import Outgoing
from ai_gateway.protocols.schemas import object_schema
from ai_gateway.protocols.tool_ids import made_id
from ai_gateway.protocols.writing import refuse_logprobs, refuse_several_answers, sought_stop

LOGPROBS = "message.output_text.logprobs"
ENCRYPTED = "reasoning.encrypted_content"

MIN_OUTPUT_TOKENS = 16
"""The smallest limit that OpenAI takes."""

IDENTIFIER_LENGTH = 64
"""How long the names of users and sessions may be."""

KEPT_HINTS = ("prompt_cache_retention", "prompt_cache_options", "moderation")
"""Hints that OpenAI's Responses take under the name that they have in chat completions, too."""

EXTRAS = ("include", "max_tool_calls", "context_management", "truncation", "reasoning", "text")
"""Members of this format that a caller of another one may put into its body on purpose."""

UNKNOWN = {"top_k": None, "seed": None, "frequency_penalty": 0, "presence_penalty": 0}
"""Fields that Responses have no member for, with the value that says nothing."""


def write_request(request: Request, destination: Destination) -> Outgoing:
    """Write a request. Raises Unsupported naming the caller's field."""
    return RequestWriter(request, destination).write()


class RequestWriter:
    """Writes one request; `dropped` grows on the way."""

    def __init__(self, request: Request, destination: Destination) -> None:
        self._request = request
        self._destination = destination
        self._capabilities = destination.capabilities
        self._names = ToolNames(request)
        self._tools = ToolWriter(request, self._capabilities, self._names)
        self._reasoning = ReasoningWriter(request, self._capabilities)
        self._dropped: list[str] = []

    def write(self) -> Outgoing:
        """Write it."""
        self._refuse()
        conversation = InputWriter(self._request, self._destination, self._names)
        items = conversation.write()
        text, instructions = self._text()
        body: dict[str, Any] = {"model": self._destination.model, "input": [*instructions, *items]}
        body.update(self._tools.write())
        body.update(text)
        body.update(self._reasoning.write())
        body.update(self._sampling())
        body.update(self._limit())
        body.update(self._include())
        body.update(self._account())
        body.update(stream=self._request.stream, store=False)
        self._drop_unknown()
        self._hints(body)
        dropped = [*self._dropped, *conversation.dropped, *self._tools.dropped, *self._reasoning.dropped]
        stop = sought_stop(self._request, self._request.stop)  # Responses have no member for them.
        return Outgoing(body=body, dropped=list(dict.fromkeys(dropped)), emulation=self._tools.emulation(stop))

    def _refuse(self) -> None:
        """Refuse what Responses cannot do and what would change the answer."""
        refuse_several_answers(self._request)
        if not self._capabilities.logprobs:
            refuse_logprobs(self._request)

    def _name(self, field: str) -> str:
        return self._request.name_of(field)

    def _drop(self, field: str) -> None:
        self._dropped.append(self._name(field))

    def _drop_unknown(self) -> None:
        for field, neutral in UNKNOWN.items():
            if getattr(self._request, field) not in (None, neutral):
                self._drop(field)
        if self._request.cache is not None:
            self._drop("cache")

    def _sampling(self) -> dict[str, Any]:
        """Write `temperature` and `top_p`, where the model takes them as it is asked to reason."""
        given = {
            field: value for field in ("temperature", "top_p") if (value := getattr(self._request, field)) is not None
        }
        rule = self._capabilities.sampling
        if rule == "never" or (rule == "without_reasoning" and self._reasoning.is_on):
            for field, value in given.items():
                if value != 1:
                    self._drop(field)
            return {}
        if len(given) == 2 and not self._capabilities.both_samplings:
            del given["top_p"]
            self._drop("top_p")
        return given

    def _limit(self) -> dict[str, Any]:
        limit = self._request.max_output_tokens
        if limit is None:
            return {}
        if self._capabilities.openai_hints and limit < MIN_OUTPUT_TOKENS:
            self._drop("max_output_tokens")
            limit = MIN_OUTPUT_TOKENS
        return {"max_output_tokens": limit}

    def _text(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Write `text`, and the instructions for a model that cannot be held to a format in another way."""
        output = self._request.output
        text: dict[str, Any] = {}
        instructions: list[dict[str, Any]] = []
        if output is not None:
            written = self._format(output)
            if written is not None:
                text["format"] = written
            if written is None or (written["type"] == "json_object" and not says_json(self._request.messages)):
                instructions = [{"role": self._capabilities.system_role, "content": _instruction(output)}]
        if self._request.verbosity is not None:
            if self._capabilities.openai_hints:
                text["verbosity"] = self._request.verbosity
            else:
                self._drop("verbosity")
        return ({"text": text} if text else {}), instructions

    def _format(self, output: OutputFormat) -> dict[str, Any] | None:
        can_combine = self._capabilities.json_with_tools or not self._request.tools
        if output.kind == "json_schema" and self._capabilities.structured_outputs and can_combine:
            return _schema_format(output)
        if output.kind == "json_object" and self._capabilities.json_mode and can_combine:
            return {"type": "json_object"}
        return None

    def _include(self) -> dict[str, Any]:
        include = [ENCRYPTED] if self._capabilities.reasoning != "none" else []
        if not self._request.logprobs:
            return {"include": include} if include else {}
        top = self._request.top_logprobs
        return {"include": [*include, LOGPROBS], **({} if top is None else {"top_logprobs": top})}

    def _account(self) -> dict[str, Any]:
        """Write who asks, what belongs together, and how it is to be served."""
        request, is_openai = self._request, self._capabilities.openai_hints
        account: dict[str, Any] = {}
        if request.user and self._capabilities.user_field:
            account[self._capabilities.user_field] = identifier(request.user, IDENTIFIER_LENGTH)
        elif request.user:
            self._drop("user")
        if request.session and is_openai:
            account["prompt_cache_key"] = identifier(request.session, IDENTIFIER_LENGTH)
        elif request.session and self._name("session") != self._name("user"):
            self._drop("session")
        account.update(self._service_tier())
        if request.metadata and is_openai:
            account["metadata"] = request.metadata
        elif request.metadata:
            self._drop("metadata")
        return account

    def _service_tier(self) -> dict[str, str]:
        tier = self._request.service_tier
        if tier is None:
            return {}
        if self._capabilities.openai_hints and tier in WORDS:
            return {"service_tier": WORDS[tier]}
        if tier not in ("auto", "default", "standard"):
            self._drop("service_tier")
        return {}

    def _hints(self, body: dict[str, Any]) -> None:
        """Take over what was meant for this very format, and report what was meant for none."""
        for name, value in self._request.extras.items():
            if name in EXTRAS:
                body[name] = _merged(body.get(name), value)
            else:
                self._dropped.append(name)
        for name, value in self._request.hints.items():
            if name in KEPT_HINTS and self._capabilities.openai_hints:
                body[name] = value
            else:
                self._dropped.append(name)


def _merged(derived: Any, given: Any) -> Any:
    """Put what a caller wrote on purpose over what was derived from the rest of its request."""
    if isinstance(derived, dict) and isinstance(given, dict):
        return {**derived, **given}
    if isinstance(derived, list) and isinstance(given, list):
        return [*derived, *(entry for entry in given if entry not in derived)]
    return given


def _schema_format(output: OutputFormat) -> dict[str, Any]:
    schema = object_schema(output.schema)
    written: dict[str, Any] = {"type": "json_schema", "name": _schema_name(output.name)}
    if output.description:
        written["description"] = output.description
    strict = fits_strict(schema) if output.strict is None else output.strict
    return {**written, "schema": schema, "strict": strict}


def _schema_name(name: str) -> str:
    if not name:
        return "output"
    return name if NAME.fullmatch(name) else made_id("output_", name)


def _instruction(output: OutputFormat) -> str:
    """Ask for JSON in words."""
    return ANY_OBJECT if output.schema is None else BY_SCHEMA + json.dumps(output.schema, ensure_ascii=False)
