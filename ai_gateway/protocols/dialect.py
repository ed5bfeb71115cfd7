"""What every wire format must be able to say, as one value per format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ai_gateway.errors import GatewayError


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One wire format, from the caller's side. Compared by identity: there is one value of each."""

    name: str
    """For logs, provider rows and error messages."""

    family: str
    """Whose API it belongs to: "openai", "anthropic" or "gemini"."""

    is_generation: bool
    """Whether it is a format for generating text, which a provider must speak to be asked in it."""

    write_error: Callable[[GatewayError, str], bytes]
    """Write an error as the body of an answer. The second argument is the request id."""

    write_error_event: Callable[[GatewayError, str], bytes]
    """Write an error as the last event of a stream that has begun."""

    keep_alive: bytes = b": keep-alive\n\n"
    """What may be sent between two events while the upstream is silent."""

    terminal: tuple[bytes, ...] = ()
    """Byte strings one of which is in every stream that ended well. None: the end of the body is the end."""

    read_error: Callable[[str | None, bytes], int | None] = lambda name, data: None
    """Judge the first event of a stream, given its name and data: the HTTP status it stands for if it is an error."""
