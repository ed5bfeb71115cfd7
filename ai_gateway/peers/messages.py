"""What goes from process to process, as JSON: who says it, what it is about, and what there is to say.

Processes of different releases may talk while a site is updated. So a message names its version, and one that is of
another version, malformed or too long is as good as none.
"""

from __future__ import annotations

from typing import Any

import msgspec

VERSION = 1

LONGEST = 1024 * 1024
"""Bytes of a message."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message. `sender` is unlike any other process's, ever; `name` is what people are shown: host and process.

    `question` is the id of what is asked, or answered if it `is_answer`. An answer without a body says that its sender
    has nothing to say."""

    version: int
    sender: str
    name: str
    kind: str
    body: dict[str, Any] | None = None
    question: str = ""
    is_answer: bool = False


class TooLong(ValueError):
    """A message that nobody would read."""


def encode(message: Message) -> bytes:
    """Write a message. Raises TooLong."""
    data = msgspec.json.encode(message)
    if len(data) > LONGEST:
        raise TooLong(f"A message of {len(data)} bytes to the peers is too long: {message.kind}")
    return data


def decode(data: object) -> Message | None:
    """Read a message. None: it is none, or for others."""
    if not isinstance(data, bytes) or len(data) > LONGEST:
        return None
    try:
        message = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return message if message.version == VERSION else None


_decoder = msgspec.json.Decoder(Message)
