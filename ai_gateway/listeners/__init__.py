"""Who hears an answer that passes, and what it used: reported by the provider, else estimated.

reckoning     from what was told, and what passed, to what was used
events        a stream of events: read in samples, so that it costs next to nothing
unasked       the same, without the event that the gateway asked for and the caller did not
bodies        a body that is no stream, however long
listings      what such a body lists that is charged apart
naming        the model that such a body names
translated    an answer that is translated, from its meaning
"""

from __future__ import annotations

from collections.abc import Mapping

from ai_gateway.calls import Call
from ai_gateway.consumption import UNUSED, Consumption, Listener
from ai_gateway.listeners.bodies import BodyListener
from ai_gateway.listeners.events import EventListener, FrameListener
from ai_gateway.listeners.translated import MeaningListener
from ai_gateway.listeners.unasked import UnaskedListener
from ai_gateway.protocols import PROTOCOLS
from ai_gateway.protocols.bedrock_converse.framing import CONTENT_TYPE as FRAMES
from ai_gateway.protocols.endpoints import is_unpaid, passing_of
from ai_gateway.protocols.gemini import system_parameters
from ai_gateway.protocols.openai_responses.passing import is_in_background
from ai_gateway.protocols.passing import Passing

EVENTS, JSON = b"text/event-stream", b"application/json"


class Known(Listener):
    """Need not hear: what the answer uses is known before."""

    __slots__ = ("_consumption", "has_content")

    def __init__(self, consumption: Consumption | None) -> None:
        self._consumption = consumption
        self.has_content = True

    def hear(self, data: bytes) -> bytes:
        """See Listener.hear()."""
        return data

    def consumption(self) -> Consumption | None:
        """See Listener.consumption()."""
        return self._consumption


def is_paid(call: Call) -> bool:
    """Whether a call is for work that a provider wants to be paid for, as far as its path tells."""
    return call.method == "POST" and not is_unpaid(call.path)


def is_countable(call: Call) -> bool:
    """Whether the answer to a call tells what the call used, or it can be estimated from it."""
    if call.method != "POST" or call.dialect.is_session:
        return True
    if call.dialect.name == "openai_responses":
        return not isinstance(call.body, bytes) or not is_in_background(call.body, call.reading)
    return call.dialect.is_generation or passing_of(call.path) is not None or is_unpaid(call.path)


def is_legible(call: Call) -> bool:
    """Whether the answer to a call that is paid for comes in a form of which the gateway can read what it used."""
    return system_parameters.is_legible(call.query, call.fields) or not is_paid(call)


def listener_of(call: Call, headers: Mapping[bytes, bytes], *, is_unasked: bool = False) -> Listener:
    """Choose who hears the answer to a call that a provider has accepted, by its headers.

    `is_unasked` says that the gateway asked for a usage event that its caller did not want.
    """
    passing = _passing(call)
    if passing is None:
        return Known(None if is_paid(call) else UNUSED)
    content_type = headers.get(b"content-type", b"").lower()
    if content_type == JSON or b"content-encoding" in headers:
        return BodyListener(call, passing)
    if content_type.startswith(EVENTS):
        return (UnaskedListener if is_unasked else EventListener)(call, passing)
    if content_type.startswith(FRAMES):
        return FrameListener(call, passing)
    return BodyListener(call, passing)


def _passing(call: Call) -> Passing | None:
    if call.method != "POST":
        return None
    if call.dialect.is_generation:
        return PROTOCOLS[call.dialect.name].passing()
    make = passing_of(call.path)
    return make(call.body if isinstance(call.body, bytes) else b"") if make is not None else None


__all__ = [
    "BodyListener",
    "EventListener",
    "Known",
    "MeaningListener",
    "UnaskedListener",
    "is_countable",
    "is_legible",
    "is_paid",
    "listener_of",
]
