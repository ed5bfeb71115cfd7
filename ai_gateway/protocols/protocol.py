"""What a wire format must offer to be translated from and to: as the caller's side, and as the provider's side.

Everything here is pure: dicts and events in, dicts, events and bytes out. A reader of requests raises BadRequest (or
one of its kind) naming the field; a reader of answers raises UpstreamProtocolError for what is no answer at all, and is
lenient about everything else: unknown members, events and parts are skipped.
"""

from __future__ import annotations

import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ai_gateway.errors import GatewayError, ProviderError
from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Answer, Request
from ai_gateway.protocols.events import Event
from ai_gateway.protocols.passing import Passing


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What of a request may stand outside its body: the model and whether the answer is streamed (in the path of some
    formats), the query string, and the headers by lower-case name."""

    model: str
    stream: bool
    query: bytes = b""
    fields: Mapping[bytes, bytes] = {}


class Emulation(msgspec.Struct, frozen=True, kw_only=True):
    """What a writer of requests did in place of what the format cannot say; undone in the answer by `emulation.py`.

    `json_tool` is the name of a tool whose arguments are the JSON answer that was asked for. `custom_tools` are names
    of functions that stand for tools with free text, whose one argument is `input`. `names` are names of tools that had
    to be changed: as sent, and as the caller knows them. `stop` are stop sequences that the model does not take: the
    text ends before the first of them, as if it did.
    """

    json_tool: str = ""
    custom_tools: frozenset[str] = frozenset()
    names: Mapping[str, str] = {}
    stop: tuple[str, ...] = ()


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A request, written. `dropped` names the caller's members that were left out, as the caller calls them."""

    body: dict[str, Any]
    dropped: Sequence[str] = ()
    headers: Sequence[tuple[bytes, bytes]] = ()
    """Headers that belong to the body (Anthropic's beta features)."""
    emulation: Emulation | None = None


class StreamReader(ABC):
    """Reads one stream of an upstream. Made anew for each stream; keeps no more than it needs to go on."""

    @abstractmethod
    def read(self, name: str | None, data: bytes) -> list[Event]:
        """Take one event of the wire, by its name (None if it has none) and data; give what it means. Never raises:
        what is wrong becomes `Failed`."""

    @abstractmethod
    def end(self) -> list[Event]:
        """The upstream's body is over. Gives `Finished` if it was not given before and the upstream has proved that
        the answer is whole, `Failed` if it has not proved it, nothing if either was given already."""

    @property
    def units(self) -> dict[str, float]:
        """What is charged apart of what has come by now, as in `Answer`: a stream that is cut has used that, too."""
        return {}


class StreamWriter(ABC):
    """Writes one stream to a caller, framing included."""

    @abstractmethod
    def write(self, event: Event) -> bytes:
        """Write an event; b"" if this format has nothing to say of it, or not yet. `Failed` does not come here, but to
        `fail`, once."""

    @abstractmethod
    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """Write the error that ends the stream. May come at any time, before the first event too."""

    def keep_alive(self) -> bytes:
        """Write a sign of life that is legal now."""
        return b": keep-alive\n\n"


class Splitter(typing.Protocol):
    """Takes a stream's bytes apart into events of the wire, however they are cut. `sse.EventSplitter` is one."""

    def feed(self, data: bytes) -> list[tuple[str | None, bytes]]:
        """Take bytes; give the events that are whole now. Raises UpstreamProtocolError for what cannot be a stream."""

    def flush(self) -> list[tuple[str | None, bytes]]:
        """The bytes are over; give what was still held and is whole all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """One wire format. `name` is that of its `Dialect`."""

    name: str

    # The caller's side.

    read_request: Callable[[dict[str, Any], Head, Carrier], Request]
    """Read a request. Raises BadRequest naming the field."""

    write_answer: Callable[[Answer, Request, Carrier], dict[str, Any]]
    """Write a whole answer for the caller whose request this was."""

    stream_writer: Callable[[Request, Carrier, Head], StreamWriter]
    """Make what writes a stream for the caller whose request this was."""

    stream_type: Callable[[Head], bytes]
    """The content type of a stream."""

    # The provider's side.

    write_request: Callable[[Request, Destination], Outgoing]
    """Write a request. Raises Unsupported naming the caller's field if the format, or the model, cannot say what would
    change the answer."""

    target: Callable[[str, bool], tuple[str, bytes]]
    """Tell the gateway's own path and query for a model, streamed or not, as a caller of this format would ask."""

    read_answer: Callable[[dict[str, Any]], Answer]
    """Read a whole answer. Raises ProviderError for one that is an error with status 200, UpstreamProtocolError for
    what is no answer."""

    stream_reader: Callable[[], StreamReader]
    """Make what reads a stream."""

    splitter: Callable[[], Splitter]
    """Make what takes the bytes of a stream apart."""

    read_error: Callable[[int, Mapping[bytes, bytes], bytes], ProviderError]
    """Read an error answer: the status, the headers by lower-case name, and the body, which may be anything."""

    restore: Callable[[dict[str, Any], Carrier, Destination], dict[str, Any]]
    """Copy a request body of this format that goes to a provider of the same format, with carriers replaced by the
    states that they hold if those are the destination's, and taken out with what they sign if not. Everything else
    stays as it is. Called only if a carrier's prefix is somewhere in the body."""

    passing: Callable[[], Passing]
    """Make what reads, of an answer that passes unchanged, what it used."""
