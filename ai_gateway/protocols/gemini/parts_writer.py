"""Writing an answer's parts for a caller of Google's format, from the events of a stream (or of a whole answer).

Google's clients act on whole calls, and take the first part for the beginning of the text unless they asked for
thoughts. So a call is written when it is whole, and a thought only for a caller who wants it (`includeThoughts`). A
thought goes with the next part, in its signature, if it is not shown or has a state.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Citation, Refusal, Request, State, Stop, Text, Thinking, ToolCall
from ai_gateway.protocols.events import Cited, Closed, Event, Grown, Opened, Signed
from ai_gateway.protocols.gemini.grounding import CitedText
from ai_gateway.protocols.gemini.states import Thought, write_carried
from ai_gateway.protocols.jsontext import arguments_object
from ai_gateway.protocols.partial import arguments_of, is_broken

PartDict = dict[str, Any]


def shows_thoughts(request: Request) -> bool:
    """Whether a caller wants to see thoughts. Google shows none to those who do not say so."""
    return request.reasoning is not None and bool(request.reasoning.is_shown)


class PartsWriter:
    """Writes parts, one after the other: the events must be in order (`ordering.InOrder`)."""

    def __init__(self, request: Request, carrier: Carrier) -> None:
        self._carrier = carrier
        self._shows_thoughts = shows_thoughts(request)
        self._part: Text | Refusal | Thinking | ToolCall | None = None
        self._state: State | None = None
        self._hidden: list[Thought] = []
        self._pieces: list[str] = []
        self._citations: list[Citation] = []
        self._bytes = 0
        self._broken: tuple[PartDict, str] | None = None
        """A call whose arguments are no object, and those: a limit may have cut it off, which the end tells."""
        self.cited: list[CitedText] = []
        """The texts with citations, each after all the text before it: Google counts through the text of a stream."""

    def write(self, event: Event) -> list[PartDict]:
        """Write an event of a part: the parts that it gives, often none."""
        if isinstance(event, Grown):
            return self._grown(event.text)
        if isinstance(event, Opened):
            return [*self.held(), *self._opened(event.part)]
        if isinstance(event, Closed):
            return self._closed()
        if isinstance(event, Signed):
            self._state = event.state
        elif isinstance(event, Cited):
            self._citations.append(event.citation)
        return []

    def _opened(self, part: Text | Refusal | Thinking | ToolCall) -> list[PartDict]:
        self._part, self._pieces = part, []
        self._state = None if isinstance(part, Refusal) else part.state
        self._citations = [*part.citations] if isinstance(part, Text) else []
        begun = part.arguments if isinstance(part, ToolCall) else part.text
        return self._grown(begun) if begun else []

    def _grown(self, text: str) -> list[PartDict]:
        """Text passes live, and so do thoughts that are shown; what a call has is kept until it is whole."""
        self._pieces.append(text)
        if isinstance(self._part, Text | Refusal):
            self._bytes += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
            return [self._with_thoughts({"text": text})]
        if isinstance(self._part, Thinking) and self._shows_thoughts:
            return [{"text": text, "thought": True}]
        return []

    def _closed(self) -> list[PartDict]:
        part, self._part = self._part, None
        if isinstance(part, ToolCall):
            return self._call(part)
        if isinstance(part, Thinking):
            return self._thought()
        if self._citations:
            text = "".join(self._pieces)
            before = self._bytes - len(text.encode("utf-8", "surrogatepass"))
            self.cited.append(CitedText(0, before, text, self._citations))
        signature = write_carried(self._state, self._carrier)
        return [{"text": "", "thoughtSignature": signature}] if signature else []

    def _thought(self) -> list[PartDict]:
        """A thought ends. The part behind it carries it, words and state: clients keep the signature of a call, as
        Google signs calls, and few keep that of a thought. One that is shown and has no state is whole already."""
        if self._state is not None or not self._shows_thoughts:
            self._hidden.append(("".join(self._pieces), self._state))
        return []

    def _call(self, call: ToolCall) -> list[PartDict]:
        arguments = "".join(self._pieces)
        args = {"input": arguments} if call.is_custom else arguments_object(arguments)
        written: PartDict = {"functionCall": {"name": call.name, "args": args}}
        if call.id:
            written["functionCall"]["id"] = call.id
        hidden, self._hidden = self._hidden, []
        signature = write_carried(self._state, self._carrier, hidden)
        written |= {"thoughtSignature": signature} if signature else {}
        if not is_broken(args, arguments):
            return [written]
        self._broken = (written, arguments)
        return []

    def held(self, stop: Stop = Stop.TOOL_USE) -> list[PartDict]:
        """Give the call that was held back, if one was: at the end of the answer, or as something comes behind it."""
        if self._broken is None:
            return []
        (written, arguments), self._broken = self._broken, None
        call = {**written["functionCall"], "args": arguments_of(arguments, stop)}
        return [{**written, "functionCall": call}]

    def _with_thoughts(self, part: PartDict) -> PartDict:
        """Let a text carry the thoughts before it that are not shown, if they have a state. Thoughts without one are
        asked for again only before calls."""
        if not self._hidden:
            return part
        hidden, self._hidden = self._hidden, []
        signature = write_carried(None, self._carrier, [thought for thought in hidden if thought[1] is not None])
        return {**part, "thoughtSignature": signature} if signature else part

    def rest(self) -> PartDict:
        """Give the part that stands at the end, as Google ends its streams: an empty text."""
        return self._with_thoughts({"text": ""})
