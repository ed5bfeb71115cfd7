"""What every wire format must be able to say, as one value per format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ai_gateway.errors import GatewayError, Kind

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One wire format, from the caller's side. Compared by identity: there is one value of each."""

    name: str
    """For logs, provider rows and error messages."""

    family: str
    """Whose API it belongs to: "openai", "anthropic" or "gemini"."""

    is_generation: bool
    """Whether it is a format for generating text, which a provider must speak to be asked in it."""

    is_session: bool = False
    """Whether it is a websocket in which answers follow one another, and not one answer to one request."""

    write_error: Callable[[GatewayError, str], bytes]
    """Write an error as the body of an answer. The second argument is the request id."""

    write_error_event: Callable[[GatewayError, str], bytes]
    """Write an error as the last event of a stream that has begun."""

    statuses: Mapping[Kind, int] = field(default_factory=dict)
    """The statuses that an error of a provider of another format has in this one, where the class of the error has one
    of its own here (Anthropic's 529 for an overloaded provider)."""

    error_headers: Callable[[GatewayError], Headers] = lambda error: []
    """Write the headers that an error has beside its body."""

    keep_alive: bytes = b": keep-alive\n\n"
    """What may be sent between two events while the upstream is silent."""

    first_sign: bytes = b": keep-alive\n\n"
    """The same before the first event: a comment, which is legal anywhere, but for clients that choke on one."""

    terminal: tuple[bytes, ...] = ()
    """Byte strings one of which is in every stream that ended well. None: the end of the body is the end."""

    done: bytes = b""
    """The data of the event that ends a stream behind its proof, where more may come between the two (the usage of a
    chat completion). If it is one of `terminal`, it is a proof only as the data of an event, and not within a text."""

    last: tuple[bytes, ...] = ()
    """How the last event of a stream ends, in a way that no other event can. None: any event may be the last one."""

    read_error: Callable[[str | None, bytes], int | None] = lambda name, data: None
    """Judge the first event of a stream, given its name and data: the HTTP status it stands for if it is an error."""

    error_body: Callable[[bytes], bytes] = lambda data: data
    """Write such an event as the body of an answer."""

    refuses_prompt: Callable[[bytes], bool] = lambda data: False
    """Whether an answer, or a stream's first event, with a good status says that the prompt is refused, and no more."""
