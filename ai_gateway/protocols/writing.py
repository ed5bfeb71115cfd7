"""Writing a request for a destination: what is the same for every format.

Two things a destination may not take are taken out before its format is written, and reported: marks of where the
prompt shall be cached, and, if the model's row says so, tools that only the caller's own provider could run. What no
format but the caller's own can ask for is refused by the writers with the same words.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ai_gateway.errors import Unsupported
from ai_gateway.protocols.capabilities import Capabilities, Destination
from ai_gateway.protocols.conversation import HostedTool, Opaque, Part, Refusal, Request, Text, Tool, ToolResult
from ai_gateway.protocols.jsontext import dumps_text
from ai_gateway.protocols.protocol import Outgoing, Protocol


def write_request(protocol: Protocol, request: Request, destination: Destination) -> Outgoing:
    """Write a request in a format. Raises Unsupported naming the caller's member."""
    dropped: list[str] = []
    if not takes_cache_marks(destination) and has_cache_marks(request):
        request = without_cache_marks(request)
        dropped.append(request.name_of("cache"))
    while True:
        try:
            outgoing = protocol.write_request(request, destination)
        except Unsupported as error:
            refused = [tool.at for tool in request.tools if is_hosted_at(tool, error.param)]
            if not refused or destination.capabilities.hosted_tools != "drop":
                raise
            dropped += refused
            tools = [tool for tool in request.tools if tool.at not in refused]
            request = msgspec.structs.replace(request, tools=tools)
        else:
            return msgspec.structs.replace(outgoing, dropped=[*outgoing.dropped, *dropped])


def result_text(part: Part) -> str:
    """Write a part of a tool's result that is neither a picture nor a file as text; what another format alone knows as
    JSON, as a tool might have written it. Raises Unsupported for sound."""
    if isinstance(part, Text | Refusal):
        return part.text
    if isinstance(part, Opaque):
        return dumps_text(part.value)
    raise untranslatable(part)


def untranslatable(part: Part) -> Unsupported:
    """Make the error for a part of the caller's turn that cannot be said here: to leave it out would change the
    answer."""
    return Unsupported("This content cannot be translated for this provider.", param=part.at or None)


def location(given: object) -> dict[str, Any]:
    """Write where a search is to be made, as Responses and Messages have it: chat completions have the place inside
    `approximate`, the others beside its type."""
    place = given if isinstance(given, dict) else {}
    inner = place.get("approximate")
    members = inner if isinstance(inner, dict) else place
    known = {name: members[name] for name in ("city", "region", "country", "timezone") if members.get(name)}
    return {"type": "approximate", **known}


MAX_SOUGHT = 64
"""Stop sequences that are looked for here: each costs something with every piece of every answer."""

LONGEST_SOUGHT = 256
"""Characters of one of them."""


def shared_stop(
    request: Request, capabilities: Capabilities, takes_blanks: bool = True
) -> tuple[list[str], tuple[str, ...]]:
    """Share out the stop sequences: those that are sent, and those that are looked for in the answer here, because the
    model takes no more, or no blank ones."""
    stop = [sequence for sequence in request.stop if sequence]
    sent = [sequence for sequence in stop if takes_blanks or sequence.strip()][: capabilities.max_stop]
    known = frozenset(sent)
    return sent, sought_stop(request, [sequence for sequence in stop if sequence not in known])


def sought_stop(request: Request, stop: Iterable[str]) -> tuple[str, ...]:
    """Give stop sequences that are looked for here. Raises Unsupported if there are too many, or one is too long."""
    sought = tuple(dict.fromkeys(sequence for sequence in stop if sequence))
    if len(sought) > MAX_SOUGHT or any(len(sequence) > LONGEST_SOUGHT for sequence in sought):
        message = f"This model takes no more than {MAX_SOUGHT} stop sequences of {LONGEST_SOUGHT} characters."
        raise Unsupported(message, param=request.name_of("stop"))
    return sought


def wants_single_calls(request: Request) -> bool:
    """Whether the caller says that it wants one call at a time. One who knows only OpenAI's older functions has room
    for no more, and does not say so."""
    return request.parallel_tool_calls is False and not request.uses_functions


def refuse_several_answers(request: Request) -> None:
    """Refuse a wish for more than one answer (`n`): nobody could see in one that the others are missing."""
    if request.count is not None and request.count > 1:
        raise Unsupported("Only one answer can be given to a request.", param=request.name_of("count"))


def refuse_logprobs(request: Request) -> None:
    """Refuse a wish for the probabilities of tokens, where the model or the format does not tell them."""
    for field in ("logprobs", "top_logprobs"):
        if getattr(request, field):
            raise Unsupported("This model does not tell the probabilities of tokens.", param=request.name_of(field))


def is_hosted_at(tool: Tool, param: str | None) -> bool:
    """Whether an error about this member of the caller's is about this hosted tool."""
    if not isinstance(tool, HostedTool) or param is None or not tool.at:
        return False
    return param == tool.at or param.startswith(f"{tool.at}.")


def takes_cache_marks(destination: Destination) -> bool:
    """Whether marks mean something there: to Anthropic always, elsewhere as the model's row says."""
    return destination.format == "anthropic_messages" or destination.capabilities.cache_marks


def has_cache_marks(request: Request) -> bool:
    """Whether the caller marked anything."""
    if request.cache is not None or any(getattr(tool, "cache", None) for tool in request.tools):
        return True
    return any(_is_marked(part) for message in request.messages for part in message.parts)


def _is_marked(part: Part) -> bool:
    if getattr(part, "cache", None) is not None:
        return True
    return isinstance(part, ToolResult) and any(map(_is_marked, part.parts))


def without_cache_marks(request: Request) -> Request:
    """Copy a request without them."""
    messages = [
        msgspec.structs.replace(message, parts=list(map(_unmarked, message.parts))) for message in request.messages
    ]
    return msgspec.structs.replace(request, cache=None, messages=messages, tools=list(map(_unmarked, request.tools)))


def _unmarked(node: Any) -> Any:
    if isinstance(node, ToolResult) and any(map(_is_marked, node.parts)):
        node = msgspec.structs.replace(node, parts=list(map(_unmarked, node.parts)))
    return msgspec.structs.replace(node, cache=None) if getattr(node, "cache", None) is not None else node
