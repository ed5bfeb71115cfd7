"""Writing a request for a provider.

Source: the parameters of OpenAI's chat completions reference. What compatible providers know of them, and what OpenAI
itself refuses of them for some models, is in the model's capabilities.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.errors import Unsupported
from ai_gateway.protocols.capabilities import Capabilities, Destination
from ai_gateway.protocols.conversation import OutputFormat, Request, ToolChoice
from ai_gateway.protocols.identifiers import identifier
from ai_gateway.protocols.json_output import instruction, says_json
from ai_gateway.protocols.openai_chat.message_writer import MessageWriter
from ai_gateway.protocols.openai_chat.reasoning_writer import is_reasoning, wanted_effort
from ai_gateway.protocols.openai_chat.states import FORMAT
from ai_gateway.protocols.openai_chat.tool_writer import ToolSet, loses_strictness, web_search
from ai_gateway.protocols.openai_tiers import WORDS
from ai_gateway.protocols.protocol import Outgoing
from ai_gateway.protocols.schemas import is_strict
from ai_gateway.protocols.writing import (
    refuse_logprobs,
    refuse_several_answers,
    shared_stop,
    wants_single_calls,
)

IDENTIFIER_LENGTH = 64
"""How long the names of users and sessions may be."""

OPENAI_HINTS = ("logit_bias", "prediction", "prompt_cache_retention", "prompt_cache_options", "store", "moderation")
"""Members that OpenAI's formats share, and that say the same to OpenAI whichever of them they came in."""

OWN_EXTRAS = frozenset(
    (
        *("reasoning_effort", "verbosity", "frequency_penalty", "presence_penalty", "logit_bias", "seed", "store"),
        *("prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier", "prediction"),
        *("provider", "models", "transforms", "route", "plugins", "reasoning", "include_reasoning"),
        "chat_template_kwargs",
    )
)
"""Members of this format that a caller of another one may put into its body: OpenAI's, OpenRouter's and vLLM's."""


def write_request(request: Request, destination: Destination) -> Outgoing:
    """Write a request. Raises Unsupported naming what would change the answer if it were left out."""
    return _Writing(request, destination).outgoing()


class _Writing:
    """One request being written."""

    def __init__(self, request: Request, destination: Destination) -> None:
        self._request = request
        self._destination = destination
        self._capabilities: Capabilities = destination.capabilities
        self._tools = ToolSet(request, destination.capabilities)
        self._dropped: list[str] = []
        self._messages = MessageWriter(request, destination, self._tools)
        self._effort = wanted_effort(request.reasoning, self._capabilities)
        self._choice = request.tool_choice

    def outgoing(self) -> Outgoing:
        """Write the whole."""
        self._refuse()
        output, words = self._output()
        self._respect_forced_choice()
        tools = self._tool_members()
        body: dict[str, Any] = {
            "model": self._destination.model,
            "messages": self._messages.write(words),
            **tools,
            **output,
            **self._limits(),
            **self._sampling(),
            **self._logprobs(),
            **self._reasoning(),
            **self._identity(),
            **self._matters(),
            **self._others(),
            **self._stream(),
        }
        _, kept = self._stop()
        emulation = self._tools.emulation(kept)
        dropped = tuple(dict.fromkeys([*self._dropped, *self._messages.dropped]))
        return Outgoing(body=body, dropped=dropped, emulation=emulation)

    def _drop(self, field: str) -> None:
        self._dropped.append(self._request.name_of(field))

    def _refuse(self) -> None:
        """Refuse what no answer could honour."""
        request = self._request
        refuse_several_answers(request)
        if not self._capabilities.logprobs:
            refuse_logprobs(request)
        if request.max_output_tokens is not None and request.max_output_tokens < 1:
            raise Unsupported(
                "This provider cannot be asked for no output at all.", param=request.name_of("max_output_tokens")
            )

    def _limits(self) -> dict[str, Any]:
        limits: dict[str, Any] = {}
        if self._request.max_output_tokens is not None:
            limits[self._capabilities.max_tokens_field] = self._request.max_output_tokens
        sent, _ = self._stop()
        return limits | ({"stop": sent} if sent else {})

    def _stop(self) -> tuple[list[str], tuple[str, ...]]:
        """Give the stop sequences that are sent, and those that are kept here because the model takes no more."""
        return shared_stop(self._request, self._capabilities)

    def _sampling(self) -> dict[str, Any]:
        """Write how tokens are chosen, as far as the model lets one choose."""
        capabilities, request = self._capabilities, self._request
        takes = capabilities.sampling == "any"
        if capabilities.sampling == "without_reasoning":
            takes = not is_reasoning(self._effort, request.reasoning, capabilities)
        has_both = request.temperature is not None and request.top_p is not None
        allowed = {
            "temperature": takes,
            "top_p": takes and (capabilities.both_samplings or not has_both),
            "top_k": takes and capabilities.top_k,
            "frequency_penalty": takes and capabilities.penalties,
            "presence_penalty": takes and capabilities.penalties,
            "seed": capabilities.seed,
        }
        written: dict[str, Any] = {}
        for field, is_allowed in allowed.items():
            value = getattr(request, field)
            if value is not None and is_allowed:
                written[field] = value
            elif value is not None and not (field in NEUTRAL and value == NEUTRAL[field]):
                self._drop(field)
        return written

    def _logprobs(self) -> dict[str, Any]:
        request = self._request
        if not request.logprobs and not request.top_logprobs:
            return {}
        return {"logprobs": True} | ({"top_logprobs": request.top_logprobs} if request.top_logprobs else {})

    def _respect_forced_choice(self) -> None:
        """Where a tool cannot be forced, refuse; where it cannot be forced while the model reasons, do not reason."""
        if self._choice is None or self._choice.mode not in ("required", "named") or not self._tools.has_functions():
            return
        rule = self._capabilities.forced_tool_choice
        param = self._request.name_of("tool_choice")
        if rule == "never":
            raise Unsupported("This model cannot be forced to call a tool.", param=param)
        if rule == "without_reasoning" and is_reasoning(self._effort, self._request.reasoning, self._capabilities):
            if "none" not in self._capabilities.efforts:
                raise Unsupported("This model cannot be forced to call a tool while it reasons.", param=param)
            self._effort = "none"
            if self._request.reasoning is not None:
                self._drop("reasoning")

    def _tool_members(self) -> dict[str, Any]:
        """Write the tools, the choice among them, and whether several may be called at once."""
        tools = self._tools.write()
        if loses_strictness(self._request, self._capabilities):
            self._dropped.append(f"{self._request.name_of('tools')}[].strict")
        members: dict[str, Any] = web_search(self._request)
        if not tools:
            return members
        choice: Any = None
        if self._choice is not None:
            choice, tools = self._tools.write_choice(self._choice, tools)
        members["tools"] = tools
        if choice is not None:
            members["tool_choice"] = choice
        if self._request.parallel_tool_calls is not None and self._capabilities.parallel_flag:
            members["parallel_tool_calls"] = self._request.parallel_tool_calls
        elif wants_single_calls(self._request):
            self._drop("parallel_tool_calls")
        return members

    def _output(self) -> tuple[dict[str, Any], str]:
        """Write that the answer is JSON: as the format has it, as the arguments of a tool, or in words."""
        wanted = self._request.output
        if wanted is None:
            return {}, ""
        capabilities = self._capabilities
        is_possible = capabilities.json_with_tools or not self._tools.has_functions()
        if wanted.kind == "json_schema" and wanted.schema is not None:
            if capabilities.structured_outputs and is_possible:
                return {"response_format": self._schema_format(wanted, wanted.schema)}, ""
            words = instruction(wanted.schema)
            if self._takes_json_tool():
                return {}, ""
        else:
            words = instruction(None)
        if not (capabilities.json_mode and is_possible):
            return {}, words
        # OpenAI refuses this mode if no message has the word JSON in it.
        is_said = wanted.kind == "json_object" and says_json(self._request.messages)
        return {"response_format": {"type": "json_object"}}, "" if is_said else words

    def _schema_format(self, wanted: OutputFormat, form: dict[str, Any]) -> dict[str, Any]:
        schema: dict[str, Any] = {"name": wanted.name or "output", "schema": form}
        if wanted.description:
            schema["description"] = wanted.description
        schema["strict"] = is_strict(form) if wanted.strict is None else wanted.strict
        return {"type": "json_schema", "json_schema": schema}

    def _takes_json_tool(self) -> bool:
        """Ask for the answer as the arguments of a tool, if the model can be made to call one."""
        capabilities = self._capabilities
        rule = capabilities.forced_tool_choice
        reasons = is_reasoning(self._effort, self._request.reasoning, capabilities)
        if not capabilities.tools or rule == "never" or (rule == "without_reasoning" and reasons):
            return False
        if self._choice is not None and (self._choice.mode == "named" or self._choice.allowed is not None):
            return False
        name = self._tools.add_json_tool()
        is_alone = not self._tools.has_functions() or (self._choice is not None and self._choice.mode == "none")
        self._choice = ToolChoice(mode="named", name=name) if is_alone else ToolChoice(mode="required")
        return True

    def _reasoning(self) -> dict[str, Any]:
        wanted = self._request.reasoning
        if self._effort is not None:
            if wanted is not None and wanted.effort == "none" != self._effort:
                self._drop("reasoning")
            return {"reasoning_effort": self._effort}
        asks = wanted is not None and (wanted.effort or wanted.budget or wanted.mode)
        is_off = wanted is not None and (wanted.effort == "none" or wanted.mode == "disabled")
        if asks and self._capabilities.reasoning == "none" and not is_off:
            self._drop("reasoning")
        return {}

    def _identity(self) -> dict[str, Any]:
        """Write who uses the caller's product, and what its requests have in common."""
        written: dict[str, Any] = {}
        if self._request.user and self._capabilities.user_field:
            written[self._capabilities.user_field] = identifier(self._request.user, IDENTIFIER_LENGTH)
        elif self._request.user:
            self._drop("user")
        if self._request.session and self._capabilities.openai_hints:
            written["prompt_cache_key"] = identifier(self._request.session, IDENTIFIER_LENGTH)
        elif self._request.session and "session" in self._request.names:
            self._drop("session")
        return written

    def _matters(self) -> dict[str, Any]:
        """Write what only OpenAI itself knows, and the wish to cache, which others know."""
        request, written = self._request, dict[str, Any]()
        is_openai = self._capabilities.openai_hints
        tier = WORDS.get(request.service_tier or "")
        values: dict[str, Any] = {"verbosity": request.verbosity, "service_tier": tier}
        # OpenAI takes metadata only of answers that it stores.
        values |= {"metadata": request.metadata} if request.hints.get("store") is True else {}
        for field in ("verbosity", "service_tier", "metadata"):
            if is_openai and values.get(field):
                written[field] = values[field]
            elif getattr(request, field) not in (None, {}, "auto"):
                self._drop(field)
        if request.cache is not None:
            written |= self._tools.mark(request.cache)
        return written

    def _others(self) -> dict[str, Any]:
        """Write the members that are this format's own, and report those that are nobody's."""
        request, written = self._request, dict[str, Any]()
        is_known = request.format == FORMAT
        for name, value in request.hints.items():
            if (is_known and "[" not in name) or (self._capabilities.openai_hints and name in OPENAI_HINTS):
                written[name] = value
            else:
                self._dropped.append(name)
        for name, value in request.extras.items():
            if name in OWN_EXTRAS:
                written[name] = value
            elif name not in request.names.values():
                self._dropped.append(name)
        return written

    def _stream(self) -> dict[str, Any]:
        if not self._request.stream:
            return {}
        asks = {"stream_options": {"include_usage": True}} if self._capabilities.stream_usage else {}
        return {"stream": True, **asks}


NEUTRAL = {"temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0}
"""Values that ask for nothing."""
