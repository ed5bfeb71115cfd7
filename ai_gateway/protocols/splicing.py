"""One stream for the caller, made of several answers: the second goes on where the first one died.

A `Splice` stands before the writer of the caller's format and stays when the reader behind it changes. The writer never
learns of the change: it gets one beginning, parts whose numbers go on, and the end that the last answer proved. So
whatever the format, the ids, indexes and sequence numbers of the stream are of one piece.

Only text can be gone on with. As soon as anything else has begun (a call, reasoning, a refusal) a stream that dies has
failed, as any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from ai_gateway.errors import GatewayError
from ai_gateway.protocols.conversation import HostedTool, Message, Reasoning, Request, Text, Thinking, TokenUsage, total
from ai_gateway.protocols.events import Closed, Event, Finished, Grown, Opened, Started
from ai_gateway.protocols.overlap import Overlap
from ai_gateway.protocols.protocol import StreamWriter

MAX_SAID = 256 * 1024
"""Characters of text that are remembered. A longer answer is not gone on with."""

INSTRUCTION = (
    "Your answer was cut off. Continue exactly where this text stops. Repeat nothing of it, and add no introduction."
)
"""What is asked of a model that does not go on with the beginning of an answer by itself."""


class Splice(StreamWriter):
    """Writes one stream to the caller, whoever answers.

    An error does not reach the caller while the answer can be gone on with: it is kept in `error`, until `join` says
    that somebody goes on, or `give_up` that nobody does.
    """

    __slots__ = (
        "_earlier",
        "_has_ended",
        "_is_plain",
        "_keys",
        "_length",
        "_next",
        "_open",
        "_overlap",
        "_prompt",
        "_said",
        "_silent",
        "_trimmed",
        "_writer",
        "error",
    )

    def __init__(self, writer: StreamWriter) -> None:
        self._writer = writer
        self.error: GatewayError | None = None
        self._said: list[str] = []
        self._length = 0
        self._is_plain = True
        self._has_ended = False
        self._keys: dict[int, int] = {}
        """The parts of the answer under way that are open: their keys there, and those that the writer knows."""
        self._next = 0
        self._open: int | None = None
        """The text that was open when its answer died, until it goes on."""
        self._silent: set[int] = set()
        """Texts of which nothing has come: some formats have told of them, others have not."""
        self._overlap: Overlap | None = None
        self._trimmed: int | None = None
        self._prompt: TokenUsage | None = None
        self._earlier: TokenUsage | None = None

    @property
    def said(self) -> str:
        """The text that the caller has."""
        return "".join(self._said)

    @property
    def length(self) -> int:
        """How many characters it has."""
        return self._length

    @property
    def can_go_on(self) -> bool:
        """Whether somebody else can go on from here: the caller has some text, and nothing but text."""
        return self._is_plain and self._length > 0 and not self._silent and not self._has_ended

    # As a writer.

    def write(self, event: Event) -> bytes:
        """See StreamWriter.write()."""
        return b"".join([self._pass(each) for each in self._taken(event)])

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """See StreamWriter.fail(). Keeps the error, if the answer can be gone on with."""
        if not self.can_go_on:
            return self._writer.fail(error, request_id)
        self.error = error
        return b""

    def keep_alive(self) -> bytes:
        """See StreamWriter.keep_alive()."""
        return self._writer.keep_alive()

    # When an answer has died.

    def join(self, used: TokenUsage) -> None:
        """Go on with another answer. `used` is what the one that died had used."""
        self.error = None
        earlier = self._earlier
        self._earlier = used if earlier is None else total((earlier, used))
        if self._keys:
            self._open = max(self._keys.values())
        self._keys = {}
        self._trimmed = None
        self._overlap = Overlap(self.said)

    def give_up(self, error: GatewayError, request_id: str) -> bytes:
        """Nobody goes on: write the error that ends the stream."""
        self.error = None
        self._has_ended = True
        return self._writer.fail(error, request_id)

    # Event by event.

    def _taken(self, event: Event) -> Iterable[Event]:
        """Give what an event of the answer under way is to the writer."""
        if isinstance(event, Started):
            return self._started(event)
        if isinstance(event, Opened):
            return self._opened(event)
        if isinstance(event, Finished):
            return self._finished(event)
        key = getattr(event, "key", None)
        if key not in self._keys:
            return ()
        if key == self._trimmed and self._overlap is not None:
            return self._compared(event, self._keys[key], self._overlap)
        number = self._keys[key]
        moved = event if number == key else msgspec.structs.replace(event, key=number)
        if isinstance(event, Closed):
            del self._keys[key]
        return (moved,)

    def _started(self, event: Started) -> Iterable[Event]:
        if self._earlier is not None:
            return ()
        self._prompt = event.usage
        return (event,)

    def _opened(self, event: Opened) -> Iterable[Event]:
        part = event.part
        if self._earlier is None:
            return (self._numbered(event),)
        if isinstance(part, Thinking):
            return ()  # Nobody asked for it, and it would stand in the middle of the text.
        if not isinstance(part, Text):
            return (*self._end_open(), self._numbered(event))
        if self._overlap is None or self._trimmed is not None:
            return (self._numbered(event),)
        self._trimmed = event.key
        new = self._overlap.feed(part.text)
        if self._open is None:
            return (self._numbered(msgspec.structs.replace(event, part=msgspec.structs.replace(part, text=new))),)
        self._keys[event.key], self._open = self._open, None
        return (Grown(key=self._keys[event.key], text=new),) if new else ()

    def _numbered(self, event: Opened) -> Opened:
        """Give a part the next number."""
        self._keys[event.key] = number = self._next
        self._next += 1
        return event if number == event.key else msgspec.structs.replace(event, key=number)

    def _compared(self, event: Event, key: int, overlap: Overlap) -> Iterable[Event]:
        """Take an event of the text that may begin with what was said already."""
        if isinstance(event, Grown):
            new = overlap.feed(event.text)
            if overlap.is_over:
                self._overlap = None
            return (Grown(key=key, text=new),) if new else ()
        moved = msgspec.structs.replace(event, key=key)
        if not isinstance(event, Closed):
            return (moved,)
        del self._keys[event.key]
        self._overlap = None
        rest = overlap.rest()
        return (Grown(key=key, text=rest), moved) if rest else (moved,)

    def _end_open(self) -> Iterable[Event]:
        """Nothing goes on with the text that was open."""
        key, self._open = self._open, None
        return () if key is None else (Closed(key=key),)

    def _finished(self, event: Finished) -> Iterable[Event]:
        self._has_ended = True
        if self._earlier is None:
            return (event,)
        usage = event.usage
        if usage is not None:
            usage = shown(usage, self._earlier, self._prompt)
        return (*self._end_open(), msgspec.structs.replace(event, usage=usage))

    def _pass(self, event: Event) -> bytes:
        """Write an event, and remember what the caller has been told by it."""
        if isinstance(event, Grown):
            self._remember(event.key, event.text)
        elif isinstance(event, Opened):
            if not isinstance(event.part, Text):
                self._is_plain = False
            else:
                self._silent.add(event.key)
                self._remember(event.key, event.part.text)
        return self._writer.write(event)

    def _remember(self, key: int, text: str) -> None:
        if not text or not self._is_plain:
            return
        self._silent.discard(key)
        self._length += len(text)
        if self._length > MAX_SAID:
            self._is_plain, self._said = False, []
        else:
            self._said.append(text)


ANSWERED = ("output", "reasoning", "output_audio", "output_image")


def shown(last: TokenUsage, earlier: TokenUsage, prompt: TokenUsage | None) -> TokenUsage:
    """Tell the caller what its answer used: the prompt once, as the first provider counted it, if it did; and the
    answer in all its pieces."""
    sums = {name: getattr(last, name) + getattr(earlier, name) for name in ANSWERED}
    return msgspec.structs.replace(prompt or last, **sums, is_estimated=True)


# The requests.


NOT_FOR_TEXT = frozenset(("modalities", "thinking", "mcp_servers", "web_search_options"))
"""Members by which chat completions are asked for more than text."""


def is_possible(request: Request) -> bool:
    """Whether the answer to a request may be text that somebody else can go on with: one streamed answer, of no
    prescribed form, and without reasoning or tools that the provider runs."""
    return (
        request.stream
        and (request.count or 1) == 1
        and request.output is None
        and not request.logprobs
        and not request.uses_functions
        and not reasons(request.reasoning)
        and not any(isinstance(tool, HostedTool) for tool in request.tools)
        and NOT_FOR_TEXT.isdisjoint((*request.source, *request.extras))
    )


def reasons(reasoning: Reasoning | None) -> bool:
    """Whether a request asks for reasoning."""
    if reasoning is None:
        return False
    return reasoning.effort not in (None, "none") or bool(reasoning.budget) or reasoning.mode not in (None, "disabled")


def continued(request: Request, said: str, tokens: int, *, is_asked: bool) -> Request:
    """Write the request for the rest of an answer: the conversation with what was said of it, about `tokens` tokens,
    as the assistant's turn; behind it, if the model must be asked to go on, the instruction."""
    messages = [*request.messages]
    text = said if is_asked else said.rstrip()
    if messages and messages[-1].role == "assistant":
        messages[-1] = _with_more(messages[-1], text)
    else:
        messages.append(Message(role="assistant", parts=[Text(text=text)]))
    if is_asked:
        messages.append(Message(role="user", parts=[Text(text=INSTRUCTION)]))
    limit = request.max_output_tokens
    left = max(1, limit - tokens) if limit else limit
    return msgspec.structs.replace(request, messages=messages, max_output_tokens=left)


def _with_more(message: Message, text: str) -> Message:
    """Add text to a turn that the caller began itself."""
    parts: Sequence[object] = message.parts
    last = parts[-1] if parts else None
    if isinstance(last, Text):
        grown = msgspec.structs.replace(last, text=last.text + text)
        return msgspec.structs.replace(message, parts=[*message.parts[:-1], grown])
    return msgspec.structs.replace(message, parts=[*message.parts, Text(text=text)])
