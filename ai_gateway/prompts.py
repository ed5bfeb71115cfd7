"""What a person asks a model by a form: the same for every wire format.

A `Prompt` is what the playground's page holds. It becomes a request by the neutral vocabulary, in any format, and a
request becomes a prompt again. Nothing here is sent anywhere; `hearing.py` tells what comes back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from ai_gateway.calls import Headers, Target
from ai_gateway.errors import BadRequest
from ai_gateway.protocols import PROTOCOLS
from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import (
    FunctionTool,
    HostedTool,
    Image,
    Message,
    OutputFormat,
    Part,
    Reasoning,
    Request,
    State,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from ai_gateway.protocols.efforts import EFFORTS
from ai_gateway.protocols.protocol import Head
from ai_gateway.protocols.writing import write_request
from ai_gateway.registry import Snapshot
from ai_gateway.suitability import capabilities_of

FORMATS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini")
"""The formats that can be asked in."""

DATA_URL = re.compile(r"data:(image/[a-z0-9.+-]+);base64,([A-Za-z0-9+/=]+)")

SCHEMA_KEYS = ("parameters", "input_schema", "parametersJsonSchema", "schema")
"""What the formats call the schema of a function's arguments."""

STREAMING = (":streamGenerateContent", "/converse-stream")
"""How the paths end that ask for a stream, where the body does not."""

REASONING = {"openai_chat": "effort", "openai_responses": "effort", "anthropic_messages": "budget", "gemini": "budget"}
"""How reasoning is asked for in a format, where nobody knows how the model wants it asked for."""


class Call(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A call of a tool that the model made. `state` is what its provider wants back with it."""

    id: str = ""
    name: str = ""
    arguments: str = ""
    state: dict[str, str] | None = None


class Thought(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What the model thought, as far as it is shown."""

    text: str = ""
    state: dict[str, str] | None = None


class Turn(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One message. That of a "tool" is what it gave back for the call of this id; `model` said that of an assistant."""

    role: Literal["user", "assistant", "tool"]
    text: str = ""
    images: list[str] = []
    """Data URLs, or addresses."""
    thoughts: list[Thought] = []
    calls: list[Call] = []
    call_id: str = ""
    name: str = ""
    is_error: bool = False
    model: str = ""


class Prompt(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is asked. `tools`, `schema` and `extra` are JSON as it was typed."""

    model: str = ""
    format: Literal["openai_chat", "openai_responses", "anthropic_messages", "gemini"] = "openai_chat"
    system: str = ""
    messages: list[Turn] = []
    stream: bool = True
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: list[str] = []
    effort: Literal["", "none", "minimal", "low", "medium", "high", "xhigh", "max"] = ""
    tools: str = ""
    schema: str = ""
    extra: str = ""


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt as a request. `extra` are the members of the body that the writer does not know, `dropped` the fields
    that the model does not take."""

    format: str
    model: str
    path: str
    query: str
    headers: Headers
    body: dict[str, Any]
    extra: dict[str, Any]
    content: bytes
    """The body as it is sent, with the extra members."""
    dropped: Sequence[str] = ()

    @property
    def stream(self) -> bool:
        """Whether the answer is to be streamed."""
        return bool(self.body.get("stream")) or self.path.endswith(STREAMING)


_decoder = msgspec.json.Decoder(Prompt)


def read(document: bytes) -> Prompt:
    """Read a prompt as the page sends it. Raises BadRequest."""
    try:
        return _decoder.decode(document)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"The page sent what is no prompt: {error}") from None


# From a prompt to a request.


def write(prompt: Prompt, snapshot: Snapshot) -> Written:
    """Write a prompt as a request of its format. Raises BadRequest, whose `param` names the field that is wrong."""
    if not prompt.model:
        raise BadRequest("Choose a model.", param="model")
    if not prompt.messages:
        raise BadRequest("Say something: there is no message.", param="messages")
    target = likely_target(prompt.model, snapshot)
    capabilities = capabilities_of(target, snapshot)
    if capabilities.reasoning == "none":
        # It says itself whether it can: what is not known to the table is asked for all the same.
        capabilities = msgspec.structs.replace(capabilities, reasoning=REASONING[prompt.format])
    destination = Destination(
        provider=target.provider, model=prompt.model, format=prompt.format, capabilities=capabilities
    )
    protocol = PROTOCOLS[prompt.format]
    outgoing = write_request(protocol, _request(prompt, destination), destination)
    path, query = protocol.target(prompt.model, prompt.stream)
    headers = [*outgoing.headers]
    if prompt.format == "anthropic_messages":
        headers.append((b"anthropic-version", b"2023-06-01"))
    extra = _object(prompt.extra, "extra") or {}
    return Written(
        format=prompt.format,
        model=prompt.model,
        path=path,
        query=query.decode(),
        headers=headers,
        body=outgoing.body,
        extra=extra,
        content=json.dumps({**outgoing.body, **extra}, ensure_ascii=False).encode("utf-8", "replace"),
        dropped=outgoing.dropped,
    )


def likely_target(model: str, snapshot: Snapshot) -> Target:
    """Tell what most likely answers for a model: what it can do says how it is asked."""
    routed = snapshot.routes.get(model)
    if routed:
        return routed[0]
    provider, slash, name = model.partition("/")
    return Target(provider.lower(), name) if slash else Target(snapshot.default_provider, model)


def _request(prompt: Prompt, destination: Destination) -> Request:
    system = [Message(role="system", parts=[Text(text=prompt.system)])] if prompt.system.strip() else []
    schema = _object(prompt.schema, "schema")
    return Request(
        format=prompt.format,
        model=prompt.model,
        messages=[*system, *_messages(prompt, destination)],
        stream=prompt.stream,
        tools=list(_tools(prompt)),
        max_output_tokens=prompt.max_tokens,
        temperature=prompt.temperature,
        top_p=prompt.top_p,
        seed=prompt.seed,
        stop=[each for each in prompt.stop if each],
        output=None if schema is None else OutputFormat(kind="json_schema", name="answer", schema=schema),
        reasoning=Reasoning(effort=prompt.effort, is_shown=True) if prompt.effort else None,
    )


def _messages(prompt: Prompt, destination: Destination) -> Iterator[Message]:
    """Write the turns. Results of tools are parts of one turn of the user's, as many as stand together."""
    results: list[Part] = []
    for place, turn in enumerate(prompt.messages):
        at = f"messages[{place}]"
        if turn.role == "tool":
            content: list[Part] = [Text(text=turn.text)]
            results.append(
                ToolResult(call_id=turn.call_id, name=turn.name, parts=content, is_error=turn.is_error or None, at=at)
            )
            continue
        if results:
            yield Message(role="user", parts=results)
            results = []
        parts = _said(turn, prompt, destination) if turn.role == "assistant" else _asked(turn, at)
        yield Message(role=turn.role, parts=parts, at=at)
    if results:
        yield Message(role="user", parts=results)


def _asked(turn: Turn, at: str) -> list[Part]:
    text: list[Part] = [Text(text=turn.text)] if turn.text or not turn.images else []
    return [*(_image(each, at) for each in turn.images), *text]


def _image(address: str, at: str) -> Image:
    found = DATA_URL.fullmatch(address)
    if found is not None:
        return Image(media_type=found[1], data=found[2], at=at)
    if not address.startswith(("https://", "http://")):
        raise BadRequest("An image is a data URL in base64, or an address.", param="messages")
    return Image(url=address, at=at)


def _said(turn: Turn, prompt: Prompt, destination: Destination) -> list[Part]:
    """Write what the assistant said. States go back to the model that they came from, and to no other."""
    is_theirs = turn.model == prompt.model

    def state(given: dict[str, str] | None) -> State | None:
        if given is None or not is_theirs or given.get("format") != prompt.format:
            return None
        names = {name: given.get(name, "") for name in ("format", "kind", "value", "id")}
        return State(**names, provider=destination.provider, model=destination.model)

    thoughts = [Thinking(text=each.text, state=state(each.state)) for each in turn.thoughts if is_theirs]
    text: list[Part] = [Text(text=turn.text)] if turn.text or not turn.calls else []
    calls = [
        ToolCall(id=each.id, name=each.name, arguments=each.arguments, state=state(each.state)) for each in turn.calls
    ]
    return [*thoughts, *text, *calls]


def _tools(prompt: Prompt) -> Iterator[Tool]:
    given = read_json(prompt.tools, "tools")
    if given is None:
        return
    if isinstance(given, dict):
        given = [given]
    if not isinstance(given, list):
        raise BadRequest("Tools are a list of objects.", param="tools")
    declared = (
        each for one in given for each in (one.get("functionDeclarations") or [one] if isinstance(one, dict) else [one])
    )
    for place, each in enumerate(declared):
        yield _tool(each, f"tools[{place}]", prompt.format)


def _tool(given: Any, at: str, format: str) -> Tool:
    """Read a tool in the shape of any format: one that is no function is the provider's own, and goes as it is."""
    inner = given.get("function", given) if isinstance(given, dict) else None
    if not isinstance(inner, dict):
        raise BadRequest(f"{at} is no object.", param="tools")
    kind = given.get("type", "function")
    if kind not in ("function", "custom") or ("name" not in inner and "type" not in given):
        return HostedTool(format=format, type=str(kind), value=given, at=at)
    name = inner.get("name")
    if not isinstance(name, str) or not name:
        raise BadRequest(f"{at} has no name.", param="tools")
    schema = next((inner[key] for key in SCHEMA_KEYS if key in inner), None)
    if schema is not None and not isinstance(schema, dict):
        raise BadRequest(f"The schema of {name} is no object.", param="tools")
    return FunctionTool(
        name=name,
        description=str(inner.get("description", "")),
        schema=schema,
        strict=inner.get("strict") if isinstance(inner.get("strict"), bool) else None,
        at=at,
    )


def _object(text: str, field: str) -> dict[str, Any] | None:
    found = read_json(text, field)
    if found is not None and not isinstance(found, dict):
        raise BadRequest("This is no JSON object.", param=field)
    return found


def read_json(text: str, field: str) -> Any:
    """Read JSON that somebody typed; None for nothing. Raises BadRequest that says in which line it is wrong."""
    if not text.strip():
        return None
    try:
        found = json.loads(text)
        json.dumps(found, ensure_ascii=False).encode()  # Half of a character cannot be sent.
    except json.JSONDecodeError as error:
        message = f"Line {error.lineno}, column {error.colno}: {error.msg}."
        raise BadRequest(message, param=field) from None
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"This is no JSON: {error}.", param=field) from None
    return found


# From a request to a prompt.


def read_request(format: str, path: str, body: Mapping[str, Any], carrier: Carrier) -> Prompt:
    """Make a prompt of a request that was made, as far as a prompt has room for it. Raises BadRequest."""
    protocol = PROTOCOLS.get(format)
    if protocol is None:
        raise BadRequest("This was no call for a text.")
    streams = path.endswith(STREAMING) or body.get("stream") is True
    model = str(body.get("model") or _model_in(path))
    request = protocol.read_request(dict(body), Head(model=model, stream=streams), carrier)
    extra = {**request.hints, **request.extras} if format in FORMATS else {}
    return Prompt(
        model=model,
        format=format if format in FORMATS else "openai_chat",  # type: ignore[arg-type]
        system="\n\n".join(part.text for each in request.messages if each.role == "system" for part in _texts(each)),
        messages=[turn for each in request.messages if each.role != "system" for turn in _turns(each, model)],
        stream=streams,
        temperature=request.temperature,
        top_p=request.top_p,
        max_tokens=request.max_output_tokens,
        seed=request.seed,
        stop=list(request.stop),
        effort=_effort(request.reasoning),  # type: ignore[arg-type]
        tools=_shown([_tool_shown(tool) for tool in request.tools]),
        schema=_shown(request.output.schema if request.output is not None else None),
        extra=_shown(extra),
    )


def _model_in(path: str) -> str:
    found = re.search(r"/models?/(.+?)(?::[A-Za-z]+|/converse(?:-stream)?)$", path)
    return found[1] if found is not None else ""


def _texts(message: Message) -> list[Text]:
    return [part for part in message.parts if isinstance(part, Text)]


def _turns(message: Message, model: str) -> Iterator[Turn]:
    """Read a message: the results of tools in it, and then the rest."""
    for part in message.parts:
        if isinstance(part, ToolResult):
            text = "\n".join(each.text for each in part.parts if isinstance(each, Text))
            yield Turn(role="tool", text=text, call_id=part.call_id, name=part.name, is_error=bool(part.is_error))
    said = [part for part in message.parts if not isinstance(part, ToolResult)]
    if not said:
        return
    yield Turn(
        role="assistant" if message.role == "assistant" else "user",
        text="\n\n".join(part.text for part in said if isinstance(part, Text)),
        images=[_address(part) for part in said if isinstance(part, Image) and (part.data or part.url)],
        thoughts=[Thought(text=part.text, state=told(part.state)) for part in said if isinstance(part, Thinking)],
        calls=[
            Call(id=part.id, name=part.name, arguments=part.arguments, state=told(part.state))
            for part in said
            if isinstance(part, ToolCall)
        ],
        model=model if message.role == "assistant" else "",
    )


def _address(image: Image) -> str:
    return f"data:{image.media_type};base64,{image.data}" if image.data else image.url


def _effort(wanted: Reasoning | None) -> str:
    return wanted.effort if wanted is not None and wanted.effort in EFFORTS else ""


def _tool_shown(tool: Tool) -> dict[str, Any]:
    if isinstance(tool, HostedTool):
        return tool.value
    schema = {"parameters": tool.schema} if isinstance(tool, FunctionTool) and tool.schema is not None else {}
    return {"name": tool.name, **({"description": tool.description} if tool.description else {}), **schema}


def _shown(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) if value else ""


def told(state: State | None) -> dict[str, str] | None:
    """Write a state for the page, which keeps it for the next turn."""
    if state is None:
        return None
    return {"format": state.format, "kind": state.kind, "value": state.value, "id": state.id}
