"""The neutral vocabulary: a conversation as no single wire format writes it, holding what any of them can say.

Every format reads its bodies into these values and writes its bodies from them, so that N formats need N modules and
not N times M. Nothing here is sent anywhere, and nothing here is ever changed once it is made.

Three rules hold everywhere:

- The order of parts is data. An answer may have text before thinking, and thinking between two calls.
- The arguments of a call are the raw string. They may be no valid JSON: cut off by a limit, or badly escaped.
- Token counts are disjoint: no token is in two buckets, so a total is a sum.

`at` is where a thing stands in the caller's body, as a path for people (`messages[2].content[0]`): an error that
refuses the thing names it by that.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any, Literal

import msgspec
from msgspec.structs import astuple


class Node(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of all values of a conversation.

    The garbage collector need not look at them: what never changes is part of no cycle. A long conversation has tens of
    thousands, and each look at all of them stops everything else.
    """


class CacheMark(Node, frozen=True, kw_only=True):
    """The caller's wish that the prompt is cached up to here. `ttl` is "5m" or "1h"."""

    ttl: str = "5m"


class State(Node, frozen=True, kw_only=True):
    """Something that a provider wants back in a later turn, unread and unchanged: a signature, encrypted reasoning.

    `format` is the wire format it came in, `kind` what it is there ("signature", "redacted", "encrypted"), `id` the id
    of the item it belonged to. `provider` and `model` say whose it is; they are known only of a state that came back
    from a caller, for whom it was sealed (`carrier.py`).
    """

    format: str
    kind: str
    value: str
    id: str = ""
    provider: str = ""
    model: str = ""


class Citation(Node, frozen=True, kw_only=True):
    """Where a text has its claim from. `start` and `end` count characters of the text part that it belongs to.

    `verbatim` is the provider's own object for what is no web page; `format` the wire format of that.
    """

    url: str = ""
    title: str = ""
    cited_text: str = ""
    start: int | None = None
    end: int | None = None
    format: str = ""
    verbatim: dict[str, Any] | None = None


# The parts of a message.


class Part(Node, frozen=True, kw_only=True):
    """Base of what messages and answers consist of."""

    at: str = ""


class Text(Part, frozen=True, kw_only=True):
    """Text. `phase` is OpenAI's word for what an assistant's text is for ("commentary", "final_answer"); `logprobs` are
    in OpenAI's shape, token by token."""

    text: str = ""
    citations: list[Citation] = []
    cache: CacheMark | None = None
    state: State | None = None
    phase: str | None = None
    logprobs: list[dict[str, Any]] | None = None


class Refusal(Part, frozen=True, kw_only=True):
    """The model's words for why it does not answer."""

    text: str = ""


class Thinking(Part, frozen=True, kw_only=True):
    """Reasoning: what of it may be shown, and the state that proves it. Either may be missing. `is_redacted` says that
    there is nothing to show on purpose."""

    text: str = ""
    state: State | None = None
    is_redacted: bool = False


class ToolCall(Part, frozen=True, kw_only=True):
    """The model calls a tool. `arguments` is raw: JSON, or free text if `is_custom`."""

    id: str = ""
    name: str = ""
    arguments: str = ""
    is_custom: bool = False
    state: State | None = None
    cache: CacheMark | None = None


class Image(Part, frozen=True, kw_only=True):
    """A picture: base64 `data` with its `media_type`, or a `url`, or the `file_id` of a file at the provider."""

    data: str = ""
    media_type: str = ""
    url: str = ""
    file_id: str = ""
    detail: str = ""
    cache: CacheMark | None = None


class File(Part, frozen=True, kw_only=True):
    """A document: base64 `data` with its `media_type`, or plain `text`, or a `url`, or a `file_id`."""

    data: str = ""
    media_type: str = ""
    text: str | None = None
    url: str = ""
    file_id: str = ""
    name: str = ""
    cites: bool = False
    cache: CacheMark | None = None


class Audio(Part, frozen=True, kw_only=True):
    """Sound that the caller sends: base64 `data` in a `format` such as "wav" or "mp3"."""

    data: str
    format: str


class ToolResult(Part, frozen=True, kw_only=True):
    """What a tool gave back. `name` is known in formats that write it; `parts` hold text, images and files."""

    call_id: str
    name: str = ""
    parts: list[Part] = []
    is_error: bool | None = None
    is_custom: bool = False
    cache: CacheMark | None = None


class Opaque(Part, frozen=True, kw_only=True):
    """Something that only its own format knows: the object as it was written."""

    format: str
    value: dict[str, Any]


Role = Literal["system", "user", "assistant"]


class Message(Node, frozen=True, kw_only=True):
    """One turn. The results of tools are parts of a "user" turn; a "system" turn may stand anywhere."""

    role: Role
    parts: list[Part]
    at: str = ""


# What a request asks for.


class FunctionTool(Node, frozen=True, kw_only=True):
    """A function that the model may call. `schema` is the JSON Schema of its arguments, None for no arguments."""

    name: str
    description: str = ""
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    cache: CacheMark | None = None
    at: str = ""


class CustomTool(Node, frozen=True, kw_only=True):
    """A tool that takes free text. `grammar` is OpenAI's `format` object if the text must follow one."""

    name: str
    description: str = ""
    grammar: dict[str, Any] | None = None
    at: str = ""


class HostedTool(Node, frozen=True, kw_only=True):
    """A tool that the provider runs itself, or whose schema it knows: the object as the caller wrote it."""

    format: str
    type: str
    value: dict[str, Any]
    at: str = ""


Tool = FunctionTool | CustomTool | HostedTool


class ToolChoice(Node, frozen=True, kw_only=True):
    """Whether a tool must be called. `allowed` limits which ones may be, by name; `name` goes with "named"."""

    mode: Literal["auto", "required", "none", "named"]
    name: str = ""
    allowed: list[str] | None = None


class OutputFormat(Node, frozen=True, kw_only=True):
    """That the answer is JSON: any object, or one that a schema describes."""

    kind: Literal["json_object", "json_schema"]
    name: str = ""
    description: str = ""
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class Reasoning(Node, frozen=True, kw_only=True):
    """How much the model shall think.

    `effort` is one of none, minimal, low, medium, high, xhigh, max. `budget` is in tokens. `mode` is Anthropic's word
    (enabled, adaptive, disabled, between_tools) where a caller used it. `is_shown`: whether the caller wants to see it.
    """

    effort: str | None = None
    budget: int | None = None
    mode: str | None = None
    is_shown: bool | None = None


class Request(Node, frozen=True, kw_only=True):
    """What a caller asks for, whatever format it wrote it in.

    `names` tells what the caller calls a field of this class (`{"max_output_tokens": "max_completion_tokens"}`).
    `hints` are members that no other format has a word for and that do not change what an answer means, by the name
    that the caller gave them: unless a writer knows better, they are dropped and reported. `extras` are members of
    another format that the caller put in on purpose (Anthropic's `thinking` in a chat body), by that other format's
    name for them: the writer of that format takes them as they are, and they win over what it would derive.
    """

    format: str
    model: str
    messages: list[Message]
    stream: bool = False
    tools: list[Tool] = []
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: list[str] = []
    count: int | None = None
    """How many answers are wanted (`n`)."""
    logprobs: bool = False
    top_logprobs: int | None = None
    output: OutputFormat | None = None
    reasoning: Reasoning | None = None
    verbosity: str | None = None
    user: str | None = None
    """Who uses the caller's product, as the caller writes it. It may be long, or an address: writers hash it."""
    session: str | None = None
    """What the requests of one session have in common, for the provider's cache."""
    service_tier: str | None = None
    metadata: dict[str, str] | None = None
    cache: CacheMark | None = None
    """A wish to cache the whole prompt, where the caller marks the request and no part of it."""
    includes_usage: bool = True
    """Whether the caller wants to see the usage at the end of a stream (an OpenAI chat caller must ask for it)."""
    uses_functions: bool = False
    """Whether an OpenAI chat caller wrote the older `functions`, and so expects `function_call` in the answer."""
    hints: dict[str, Any] = {}
    extras: dict[str, Any] = {}
    names: dict[str, str] = {}
    source: dict[str, Any] = {}
    """The body as the caller wrote it, for answers that repeat parts of it (Responses)."""

    def name_of(self, field: str) -> str:
        """Say what the caller calls a field of this class."""
        return self.names.get(field, field)


# What comes back.


class Stop(Enum):
    """Why an answer ended."""

    END = "the model was done"
    TOOL_USE = "the model called tools and waits for their results"
    STOP_SEQUENCE = "one of the caller's stop sequences came"
    MAX_TOKENS = "the limit of output tokens was reached"
    CONTEXT_FULL = "the context window was full"
    FILTERED = "the provider's policy stopped it, or the model refused"
    PAUSED = "the provider paused a long turn of its own tools"

    def given(self, is_calling: bool) -> Stop:
        """Give why an answer ended, in view of whether there are calls in it. A client runs tools only if it is told
        to: an upstream that says otherwise (some models on Bedrock, servers that are compatible with Anthropic's) is
        corrected. An answer that was cut off or refused stays so."""
        return Stop.TOOL_USE if is_calling and self in (Stop.END, Stop.STOP_SEQUENCE, Stop.PAUSED) else self


class TokenUsage(Node, frozen=True, kw_only=True):
    """What an answer used, in tokens. The buckets are disjoint.

    `input` was neither read from nor written to a cache; `cache_write` is what was written for five minutes or for an
    unnamed time, `cache_write_1h` for an hour; `output` is without `reasoning`. What of a prompt or an answer is audio
    or images is counted apart where the provider does, and not in `input` and `output`.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    input_audio: int = 0
    input_image: int = 0
    output_audio: int = 0
    output_image: int = 0
    is_estimated: bool = False

    @property
    def total_input(self) -> int:
        """All tokens of the prompt."""
        cached = self.cache_read + self.cache_write + self.cache_write_1h
        return self.input + cached + self.input_audio + self.input_image

    @property
    def total_output(self) -> int:
        """All tokens of the answer, reasoning included."""
        return self.output + self.reasoning + self.output_audio + self.output_image

    @property
    def total(self) -> int:
        """All tokens."""
        fields: tuple[int, ...] = astuple(self)
        return sum(fields) - self.is_estimated  # All the others are buckets.


BUCKETS = tuple(name for name in TokenUsage.__struct_fields__ if name != "is_estimated")
"""The kinds of tokens, which are disjoint, in the order of the first fields of `TokenUsage`: prices rely on it."""


def total(usages: Iterable[TokenUsage]) -> TokenUsage:
    """Add up what several answers used."""
    used = list(usages)
    sums = {name: sum(getattr(each, name) for each in used) for name in BUCKETS}
    return TokenUsage(**sums, is_estimated=any(each.is_estimated for each in used))


class Answer(Node, frozen=True, kw_only=True):
    """A whole answer. `created` is in seconds since 1970, None where the format does not say.

    `explanation` is why the provider refused, where it says so outside the text. `units` is what it may charge apart
    from tokens, by name, as in `Consumption`: how often it searched the web for the answer, for example.
    """

    id: str
    model: str
    parts: list[Part]
    stop: Stop
    stop_sequence: str | None = None
    explanation: str | None = None
    usage: TokenUsage | None = None
    units: dict[str, float] = {}
    created: int | None = None
    service_tier: str | None = None
