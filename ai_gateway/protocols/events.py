"""A streamed answer in the neutral vocabulary: what a stream reader makes of an upstream's events, and a writer takes.

A stream is `Started`, then parts, then `Finished`; or at any point `Failed`, after which nothing comes. Each part has a
key of its own, numbers in the order of opening: `Opened` with what is known of it so far, any number of `Grown` and
others, `Closed`. Parts may be open side by side, as OpenAI's formats allow; `ordering.InOrder` puts them one after the
other for formats that do not. What `Opened` holds is a beginning: text that came with it is not repeated by `Grown`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ai_gateway.errors import GatewayError
from ai_gateway.protocols.conversation import Citation, Node, Refusal, State, Stop, Text, Thinking, TokenUsage, ToolCall


class Event(Node, frozen=True, kw_only=True, gc=True):
    """Base of the events. One that tells of an error may be part of a cycle: by its traceback."""


class Started(Event, frozen=True, kw_only=True):
    """The answer has begun. `usage` is what is known of the prompt already; it does not count until `Finished`."""

    id: str
    model: str
    created: int | None = None
    service_tier: str | None = None
    usage: TokenUsage | None = None


class Opened(Event, frozen=True, kw_only=True):
    """A part has begun."""

    key: int
    part: Text | Refusal | Thinking | ToolCall


class Grown(Event, frozen=True, kw_only=True):
    """More of a part: of its text, or of a call's arguments. Never empty."""

    key: int
    text: str
    logprobs: list[dict[str, Any]] | None = None


class Signed(Event, frozen=True, kw_only=True):
    """The state of a part is known now. It replaces one that was known before."""

    key: int
    state: State


class Cited(Event, frozen=True, kw_only=True):
    """A text part has a citation. It may come before the text that it stands for."""

    key: int
    citation: Citation


class Closed(Event, frozen=True, kw_only=True):
    """A part is whole. A call that was closed with no arguments at all has the arguments `{}`."""

    key: int


class Finished(Event, frozen=True, kw_only=True):
    """The answer is whole, and the upstream has proved it. All parts are closed. As in `Answer`."""

    stop: Stop
    stop_sequence: str | None = None
    explanation: str | None = None
    usage: TokenUsage | None = None
    units: dict[str, float] = msgspec.field(default_factory=dict)
    service_tier: str | None = None


class Failed(Event, frozen=True, kw_only=True):
    """The upstream reported an error, or broke its own rules. Nothing comes after it."""

    error: GatewayError
