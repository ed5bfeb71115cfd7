"""Writing requests for Converse and ConverseStream.

Source: the shape `ConverseRequest` of the service model.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ai_gateway.errors import BadRequest, Unsupported
from ai_gateway.protocols.bedrock_converse.content_writer import Block, ContentWriter, cache_point
from ai_gateway.protocols.bedrock_converse.message_writer import limit_cache_points, order_cache_points, write_turns
from ai_gateway.protocols.bedrock_converse.reasoning_writer import Plan, planned, switched_off
from ai_gateway.protocols.bedrock_converse.schemas import supported
from ai_gateway.protocols.bedrock_converse.tool_writer import (
    NO_CALLS,
    ToolNames,
    called_names,
    can_force,
    is_forced,
    offered,
    write_choice,
    write_remembered,
    write_tool,
)
from ai_gateway.protocols.bedrock_converse.words import NAME, SERVICE_TIERS, STOP_SEQUENCE_PATH
from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.conversation import CustomTool, FunctionTool, OutputFormat, Request
from ai_gateway.protocols.json_output import instruction, tool_name
from ai_gateway.protocols.jsontext import dumps_text
from ai_gateway.protocols.protocol import Emulation, Outgoing
from ai_gateway.protocols.schemas import object_schema
from ai_gateway.protocols.writing import (
    refuse_logprobs,
    refuse_several_answers,
    shared_stop,
    wants_single_calls,
)

OWN_MEMBERS = (
    "inferenceConfig",
    "toolConfig",
    "outputConfig",
    "guardrailConfig",
    "additionalModelRequestFields",
    "additionalModelResponseFieldPaths",
    "promptVariables",
    "requestMetadata",
    "performanceConfig",
    "serviceTier",
)
"""Members of Converse that a caller may put into a body of another format."""

MODEL_MEMBERS = ("output_config", "anthropic_beta")
"""Members of Anthropic's own format that its models take in `additionalModelRequestFields`, besides `thinking`."""

ONE_CALL = {"type": "auto", "disable_parallel_tool_use": True}
"""How Anthropic's models are asked there, as `tool_choice`, for one call at a time. It must not contradict the choice
that Converse has a member for."""

TIERS = {"standard_only": "default"} | {tier: tier for tier in SERVICE_TIERS}
"""How callers name the tiers that there are."""

LOG_TEXT = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{0,256}", re.ASCII)
"""What the keys and values of `requestMetadata` may be."""

LOWEST_TOP_P = 0.95
"""The lowest `top_p` that Anthropic's models take while they reason."""


def write_request(request: Request, destination: Destination) -> Outgoing:
    """Write a request. Raises Unsupported naming the caller's field if what would change the answer cannot be said."""
    return _RequestWriter(request, destination).write()


class _RequestWriter:
    """Writes one request: decides first, then writes member by member."""

    def __init__(self, request: Request, destination: Destination) -> None:
        self._request = request
        self._destination = destination
        self._capabilities = destination.capabilities
        self._dropped: list[str] = []
        self._instructions: list[str] = []
        self._json_tool = ""
        declared = [tool.name for tool in request.tools if isinstance(tool, FunctionTool | CustomTool)]
        self._names = ToolNames([*declared, *called_names(request.messages)])
        self._refuse()
        self._plan = self._planned_reasoning()

    def write(self) -> Outgoing:
        """Write all of it."""
        output = self._output(self._request.output)
        writer = ContentWriter(self._destination, self._names)
        system, messages = write_turns(self._request, self._capabilities, writer)
        tools = self._tools()
        system += ({"text": text} for text in self._instructions)
        self._limit_cache_points(tools, system, messages)
        members: dict[str, Any] = {
            "messages": messages,
            "system": system,
            "inferenceConfig": self._inference(),
            "toolConfig": tools,
            "outputConfig": output,
            "requestMetadata": self._metadata(),
            "serviceTier": self._service_tier(),
            "additionalModelRequestFields": self._model_fields(),
            "additionalModelResponseFieldPaths": [STOP_SEQUENCE_PATH] if self._stop()[0] else [],
        }
        body = {name: value for name, value in self._with_own(members).items() if value}
        self._drop_the_rest()
        dropped = list(dict.fromkeys([*self._dropped, *writer.dropped]))
        return Outgoing(body=body, dropped=dropped, emulation=self._emulation())

    def _refuse(self) -> None:
        """Raise for what would change the answer and cannot be said."""
        request = self._request
        refuse_several_answers(request)
        refuse_logprobs(request)
        if request.tools and not self._capabilities.tools:
            raise Unsupported("This model does not call tools.", param=request.name_of("tools"))
        limit = request.max_output_tokens
        if limit is not None and limit < 1:
            name = request.name_of("max_output_tokens")
            raise BadRequest(f"{name} must be at least 1 with this provider.", param=name)

    def _drop(self, field: str) -> None:
        self._dropped.append(self._request.name_of(field))

    def _planned_reasoning(self) -> Plan:
        """Decide on reasoning. A tool that must be called comes first, where the two exclude each other."""
        request, capabilities = self._request, self._capabilities
        plan = planned(request, self._destination)
        if is_forced(request) and not can_force(capabilities, plan.kind):
            if not capabilities.can_disable_reasoning or not can_force(capabilities, "none"):
                name = request.name_of("tool_choice")
                raise Unsupported("This model cannot be forced to call a tool.", param=name)
            plan = msgspec.structs.replace(
                switched_off(capabilities), is_lost=plan.is_lost or request.reasoning is not None
            )
        if plan.is_lost:
            self._drop("reasoning")
        return plan

    # The format of the answer.

    def _output(self, output: OutputFormat | None) -> dict[str, Any]:
        """Write `outputConfig`. An answer in JSON that the model cannot be held to comes by a tool, or for the
        asking."""
        written: dict[str, Any] = {}
        if output is not None and output.kind == "json_schema" and output.schema is not None:
            if self._has_native_output():
                written["textFormat"] = _text_format(output, output.schema)
            elif self._can_use_json_tool(output.schema):
                self._json_tool = tool_name(self._names.taken)
            else:
                self._instructions.append(instruction(output.schema))
        elif output is not None:
            self._instructions.append(instruction(None))
        if self._plan.effort is not None and "output_config" not in self._request.extras:
            written["effort"] = self._plan.effort
        return written

    def _has_native_output(self) -> bool:
        capabilities = self._capabilities
        return capabilities.structured_outputs and (capabilities.json_with_tools or not self._request.tools)

    def _can_use_json_tool(self, schema: dict[str, Any]) -> bool:
        """Whether a tool can be forced whose arguments are the answer, which must be an object then."""
        capabilities = self._capabilities
        is_object = schema.get("type") == "object" or "properties" in schema
        is_free = can_force(capabilities, self._plan.kind) and not is_forced(self._request)
        return capabilities.tools and is_object and is_free

    # Tools.

    def _tools(self) -> dict[str, Any]:
        """Write `toolConfig`, which must be there if the history has calls."""
        request = self._request
        may_call = request.tool_choice is None or request.tool_choice.mode != "none"
        called = list(dict.fromkeys(called_names(request.messages)))
        tools: list[Block] = []
        if may_call or called:
            tools = self._offered()
            if not tools:
                tools = [write_remembered(self._names.sent(name)) for name in called]
        if self._json_tool:
            return {"tools": [*tools, self._json_spec()], "toolChoice": self._json_choice(bool(tools) and may_call)}
        if not tools:
            return {}
        if not may_call:
            self._drop("tool_choice")
        if not may_call or not request.tools:
            self._instructions.append(NO_CALLS)
        choice = write_choice(request, self._names)
        return {"tools": tools, "toolChoice": choice} if choice is not None else {"tools": tools}

    def _offered(self) -> list[Block]:
        tools: list[Block] = []
        for tool in offered(self._request):
            tools.append(write_tool(tool, self._names, self._capabilities))
            if not isinstance(tool, FunctionTool):
                continue
            if tool.cache is not None:
                tools.append(cache_point(tool.cache))
            if tool.strict and not self._capabilities.strict_tools:
                self._dropped.append(f"{tool.at}.strict" if tool.at else "strict")
        return tools

    def _json_spec(self) -> Block:
        """Write the tool whose arguments are the answer."""
        output = self._request.output or OutputFormat(kind="json_object")
        description = output.description or "Give the answer by calling this tool."
        schema = object_schema(output.schema)
        return {"toolSpec": {"name": self._json_tool, "description": description, "inputSchema": {"json": schema}}}

    def _json_choice(self, others: bool) -> dict[str, Any]:
        return {"any": {}} if others and self._request.tools else {"tool": {"name": self._json_tool}}

    def _emulation(self) -> Emulation | None:
        custom = [tool.name for tool in self._request.tools if isinstance(tool, CustomTool)]
        _, stop = self._stop()
        if not (self._json_tool or custom or self._names.changed or stop):
            return None
        return Emulation(
            json_tool=self._json_tool,
            custom_tools=frozenset(map(self._names.sent, custom)),
            names=self._names.changed,
            stop=stop,
        )

    # Parameters.

    def _stop(self) -> tuple[list[str], tuple[str, ...]]:
        """Give the stop sequences that are sent, and those that are looked for here. Models refuse blank ones."""
        return shared_stop(self._request, self._capabilities, takes_blanks=False)

    def _inference(self) -> dict[str, Any]:
        request = self._request
        config: dict[str, Any] = {}
        if request.max_output_tokens is not None:
            config["maxTokens"] = request.max_output_tokens
        config |= self._sampling()
        sent, _ = self._stop()
        return config | ({"stopSequences": sent} if sent else {})

    def _sampling(self) -> dict[str, float]:
        """Write `temperature` and `topP`, as far as the model takes them. The temperature ends at 1."""
        request, capabilities = self._request, self._capabilities
        is_free = capabilities.sampling == "any" or (
            capabilities.sampling == "without_reasoning" and not self._plan.is_on
        )
        is_thinking = self._plan.is_thinking
        sampling: dict[str, float] = {}
        if request.temperature is not None:
            if is_free and not is_thinking:
                sampling["temperature"] = min(request.temperature, 1)
            elif request.temperature != 1:
                self._drop("temperature")
        if request.top_p is not None:
            if is_free and (not is_thinking or request.top_p >= LOWEST_TOP_P) and self._may_add_top_p(sampling):
                sampling["topP"] = request.top_p
            elif request.top_p != 1:
                self._drop("top_p")
        return sampling

    def _may_add_top_p(self, sampling: dict[str, float]) -> bool:
        return self._capabilities.both_samplings or "temperature" not in sampling

    def _model_fields(self) -> dict[str, Any]:
        """Write what the model itself understands, beyond Converse."""
        request = self._request
        fields = dict(self._plan.fields)
        if request.top_k is not None:
            if self._capabilities.top_k and not self._plan.is_thinking:
                fields["top_k"] = request.top_k
            else:
                self._drop("top_k")
        if self._can_ask_for_one_call():
            fields["tool_choice"] = ONE_CALL
        return fields | {name: request.extras[name] for name in self._model_members() if name in request.extras}

    def _model_members(self) -> tuple[str, ...]:
        return MODEL_MEMBERS if self._capabilities.reasoning in ("budget", "adaptive") else ()

    def _can_ask_for_one_call(self) -> bool:
        """Whether one call at a time is wanted, the model knows how to ask for it, and no tool is forced."""
        request = self._request
        is_wanted = request.parallel_tool_calls is False and bool(offered(request))
        is_known = self._capabilities.parallel_flag and bool(self._model_members())
        is_free = request.tool_choice is None or request.tool_choice.mode == "auto"
        return is_wanted and is_known and is_free and not self._json_tool and "toolConfig" not in request.extras

    def _metadata(self) -> dict[str, str]:
        """Write what Bedrock's log of requests can be searched by, if all of it fits."""
        metadata = self._request.metadata or {}
        texts = [*metadata, *metadata.values()]
        if len(metadata) <= 16 and all(metadata) and all(LOG_TEXT.fullmatch(text) for text in texts):
            return metadata
        self._drop("metadata")
        return {}

    def _service_tier(self) -> dict[str, str]:
        tier = self._request.service_tier
        if tier in (None, "auto"):
            return {}
        if tier not in TIERS:
            self._drop("service_tier")
            return {}
        return {"type": TIERS[tier]}

    # What is left.

    def _limit_cache_points(self, tools: dict[str, Any], system: list[Block], messages: list[Block]) -> None:
        places = [tools.get("tools", []), system, *(message["content"] for message in messages)]
        if limit_cache_points(places):
            self._drop("cache")
        order_cache_points(places)

    def _with_own(self, members: dict[str, Any]) -> dict[str, Any]:
        """Lay the members over it that the caller wrote in Converse's own words."""
        request = self._request
        own = {name: value for name, value in request.extras.items() if name in OWN_MEMBERS}
        if request.format == NAME:
            own |= {name: value for name, value in request.hints.items() if name in OWN_MEMBERS}
        laid = {
            name: {**members[name], **value}
            if isinstance(value, dict) and isinstance(members.get(name), dict)
            else value
            for name, value in own.items()
        }
        return members | laid

    def _drop_the_rest(self) -> None:
        """Name what Converse has no member for."""
        request = self._request
        for field in ("seed", "user", "session", "verbosity"):
            if getattr(request, field) is not None:
                self._drop(field)
        for field in ("frequency_penalty", "presence_penalty"):
            if getattr(request, field):
                self._drop(field)
        if wants_single_calls(request) and request.tools and not self._can_ask_for_one_call():
            self._drop("parallel_tool_calls")
        own = OWN_MEMBERS if request.format == NAME else ()
        self._dropped += (name for name, value in request.hints.items() if name not in own and value is not None)
        used = {*OWN_MEMBERS, *self._model_members(), *self._plan.fields}
        self._dropped += (name for name in request.extras if name not in used)


def _text_format(output: OutputFormat, schema: dict[str, Any]) -> dict[str, Any]:
    definition = {"schema": dumps_text(supported(schema)), "name": output.name or "output"}
    if output.description:
        definition["description"] = output.description
    return {"type": "json_schema", "structure": {"jsonSchema": definition}}
