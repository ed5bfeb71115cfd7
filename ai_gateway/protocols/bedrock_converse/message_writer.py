"""Writing the turns of a conversation, by Converse's rules of what may follow what.

- Turns alternate. The results of all calls of a turn stand first in the one user turn behind it.
- Beside results there may be no documents, and with models whose results hold no files nothing at all: what would stand
  there gets a turn of its own, with an answer of one character between the two.
- A document needs a text beside it.
- With most models, the user's turn must be the first.
- Texts may not be blank, and the last one, if it is the assistant's, may not end with blanks.

Source: the shape `Message` of the service model; the errors of the API, as documented in the issues of clients that met
them (pydantic-ai #6081).
"""

from __future__ import annotations

from collections.abc import Sequence

from ai_gateway.errors import BadRequest, Unsupported
from ai_gateway.protocols.bedrock_converse.content_writer import (
    Block,
    ContentWriter,
    add_cache_point,
    cache_point,
)
from ai_gateway.protocols.bedrock_converse.words import NAME
from ai_gateway.protocols.capabilities import Capabilities
from ai_gateway.protocols.conversation import CacheMark, Message, Opaque, Part, Request, ToolResult
from ai_gateway.protocols.tool_ids import with_ids

FILLER = "."
"""A text that says nothing. Several models refuse blanks."""


class Turn:
    """One turn while it is put together: the results of tools, which come first, and the rest."""

    __slots__ = ("blocks", "results", "role")

    def __init__(self, role: str) -> None:
        self.role = role
        self.results: list[Block] = []
        self.blocks: list[Block] = []

    def add(self, part: Part, writer: ContentWriter) -> None:
        """Write a part into its place. Raises Unsupported for what a user sends and only another format knows."""
        if isinstance(part, Opaque) and part.format != NAME and self.role == "user":
            raise Unsupported("This provider cannot take in this part of a message.", param=part.at)
        if isinstance(part, ToolResult):
            result, outside = writer.result(part)
            self.results.append(result)
            self.blocks += outside
            target = self.results
        else:
            self.blocks += writer.write(part)
            target = self.blocks
        for marked in (part, *part.parts) if isinstance(part, ToolResult) else (part,):
            mark = getattr(marked, "cache", None)
            if mark is not None:
                add_cache_point(target, mark)

    def messages(self, capabilities: Capabilities) -> list[Block]:
        """Write the turn, as one message or as two with a filler between them."""
        if self.results and self.blocks and not _may_stand_together(self.blocks, capabilities):
            filler = {"role": "assistant", "content": [{"text": FILLER}]}
            return [self._message(self.results), filler, self._message(_with_text(self.blocks))]
        content = [*self.results, *self.blocks]
        return [self._message(_with_text(content))] if content else []

    def _message(self, content: list[Block]) -> Block:
        return {"role": self.role, "content": content}


def _may_stand_together(blocks: Sequence[Block], capabilities: Capabilities) -> bool:
    """Whether some blocks may stand behind the results of tools in one turn."""
    return capabilities.result_media and all(block.keys().isdisjoint(("document", "video")) for block in blocks)


def _with_text(content: list[Block]) -> list[Block]:
    """Give content with a text, if there is a document in it."""
    if any("document" in block for block in content) and not any("text" in block for block in content):
        return [*content, {"text": FILLER}]
    return content


def write_turns(request: Request, capabilities: Capabilities, writer: ContentWriter) -> tuple[list[Block], list[Block]]:
    """Write the system's blocks and the messages. Raises BadRequest for a conversation without a turn."""
    system: list[Block] = []
    turns: list[Turn] = []
    for message in with_ids(request.messages):
        if message.role == "system" and not (capabilities.mid_system and turns and turns[-1].role == "user"):
            _add_system(system, message, writer)
        else:
            _add_turn(turns, message, writer)
    if request.cache is not None:
        _mark_last(turns, request)
    messages = [written for turn in turns for written in turn.messages(capabilities)]
    if not messages:
        raise BadRequest("The conversation has no message with content.", param="messages")
    if capabilities.user_first and messages[0]["role"] != "user":
        messages.insert(0, {"role": "user", "content": [{"text": FILLER}]})
    return system, _without_blank_end(messages)


def _add_system(system: list[Block], message: Message, writer: ContentWriter) -> None:
    for part in message.parts:
        system += (block for block in writer.write(part) if not block.keys().isdisjoint(("text", "guardContent")))
        mark = getattr(part, "cache", None)
        if mark is not None:
            add_cache_point(system, mark)


def _add_turn(turns: list[Turn], message: Message, writer: ContentWriter) -> None:
    """Write a message into a turn: into the last one, if it is of the same role."""
    if not turns or turns[-1].role != message.role:
        turns.append(Turn(message.role))
    turn = turns[-1]
    for part in message.parts:
        turn.add(part, writer)
    if not turn.results and not turn.blocks:
        if message.role == "user":
            raise BadRequest("The content of a message must not be empty or blank.", param=message.at or "messages")
        turns.pop()


def _mark_last(turns: list[Turn], request: Request) -> None:
    """Mark the whole prompt: behind the last turn of the user."""
    last = next((turn for turn in reversed(turns) if turn.role == "user"), None)
    if last is not None and request.cache is not None:
        add_cache_point(last.blocks or last.results, request.cache)


def _without_blank_end(messages: list[Block]) -> list[Block]:
    """Strip the blanks off the end of a beginning that the assistant shall continue."""
    last = messages[-1]
    if last["role"] == "assistant" and "text" in last["content"][-1]:
        last["content"][-1] = {"text": last["content"][-1]["text"].rstrip()}
    return messages


def limit_cache_points(places: Sequence[list[Block]], limit: int = 4) -> int:
    """Take out the first cache points if there are more than may be; tell how many were taken out.

    `places` are the lists that may hold them, in the order of the prompt: tools, system, messages.
    """
    surplus = sum("cachePoint" in block for place in places for block in place) - limit
    if surplus <= 0:
        return 0
    left = surplus
    for place in places:
        kept: list[Block] = []
        for block in place:
            if "cachePoint" in block and left:
                left -= 1
            else:
                kept.append(block)
        place[:] = kept
    return surplus


def order_cache_points(places: Sequence[list[Block]]) -> None:
    """Shorten the cache points for an hour that stand behind one for five minutes: they would be refused.

    Source: "Prompt caching" in Anthropic's documentation, section "Mixing different TTLs".
    """
    is_short = False
    for place in places:
        for number, block in enumerate(place):
            if "cachePoint" in block:
                is_short = is_short or "ttl" not in block["cachePoint"]
                if is_short:
                    place[number] = cache_point(CacheMark())
