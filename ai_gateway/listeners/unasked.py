"""Hearing a stream whose provider was asked for its usage by the gateway, and taking the answer to that out again.

What is taken out is what OpenAI sends because of `include_usage`, and nothing else: an event whose chunk has usage and
no choices. A provider that tells its usage in a chunk with choices tells it unasked, or its callers can bear it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ai_gateway.listeners.events import EventListener
from ai_gateway.protocols.passing import decoded
from ai_gateway.sse import BLANK_LINE, first_event

MARKER = b'"prompt_tokens"'


class _Chunk(msgspec.Struct):
    choices: list[msgspec.Raw] | None = None
    usage: Any = None


_chunk = msgspec.json.Decoder(_Chunk)


class UnaskedListener(EventListener):
    """Hears one stream, and takes the usage event out of it."""

    __slots__ = ()

    def hear(self, data: bytes) -> bytes:
        """See Listener.hear()."""
        held = self._held  # As in EventListener, whose call would cost more than all of this.
        held += data
        if len(held) > self._room:
            self._turn(held)
        return without_usage(data) if MARKER in data else data


def without_usage(data: bytes) -> bytes:
    """Take the events that tell usage and nothing else out of whole events; the others stay as they are, framing and
    all."""
    ends = [found.end() for found in BLANK_LINE.finditer(data)]
    if not ends or ends[-1] < len(data):
        ends.append(len(data))
    starts = [0, *ends[:-1]]
    return b"".join(
        data[start:end] for start, end in zip(starts, ends, strict=True) if not is_only_usage(data[start:end])
    )


def is_only_usage(event: bytes) -> bool:
    """Whether a chunk has usage and no choices."""
    if MARKER not in event:
        return False
    found = first_event(event)
    chunk = decoded(_chunk, found[1]) if found is not None else None
    return chunk is not None and chunk.choices == [] and isinstance(chunk.usage, dict)
