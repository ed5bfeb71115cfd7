"""The binary frames of `application/vnd.amazon.eventstream`, taken apart and written.

    length of all (4) | length of headers (4) | CRC of these (4) | headers | payload | CRC of all before it (4)

Numbers are big-endian, checksums CRC-32. A header is the length of its name (1), the name, a type (1) and a value. What
a frame means stands in its headers: `:message-type` is `event` with an `:event-type`, `exception` with an
`:exception-type`, or `error` with an `:error-code` and an `:error-message`.

Source: "Event stream encoding" in the documentation of Amazon Transcribe and of AWS's Smithy ("Amazon Event Stream").
"""

from __future__ import annotations

import struct
from functools import lru_cache
from zlib import crc32

from ai_gateway.errors import UpstreamProtocolError
from ai_gateway.protocols.jsontext import dumps

CONTENT_TYPE = b"application/vnd.amazon.eventstream"

MAX_PAYLOAD = 24 * 1024 * 1024
"""Bytes that one payload may have."""

MAX_HEADERS = 128 * 1024
"""Bytes that the headers of one frame may have."""

EXCEPTION = "exception:"
"""How the name of an event begins that is an exception in truth; the exception's own name follows."""

ERROR = "error:"
"""How the name of an event begins that is an error no exception is modelled for; its code follows."""

_LENGTHS = struct.Struct(">II")
_CHECKSUM = struct.Struct(">I")
_PRELUDE_BYTES = 12
_FRAME_BYTES = 16
"""Bytes of a frame that are neither headers nor payload."""

_VALUE_BYTES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Lengths of the values of a fixed length, by type: booleans, integers, a timestamp, a UUID."""

_BYTES, _STRING = 6, 7
"""Types of values that begin with their length in two bytes."""


class FrameSplitter:
    """Takes a stream of frames apart, however its bytes are cut. Time is linear in the bytes, memory bounded."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._wanted = _PRELUDE_BYTES

    def feed(self, data: bytes) -> list[tuple[str | None, bytes]]:
        """Take bytes; give the events that are whole now, each as its name and payload. An exception's name begins
        with `EXCEPTION`, an error's with `ERROR`. Raises UpstreamProtocolError for what cannot be a frame."""
        held = self._held
        held += data
        events: list[tuple[str | None, bytes]] = []
        start = 0
        while len(held) - start >= self._wanted:
            if self._wanted == _PRELUDE_BYTES:
                self._wanted = _frame_length(held, start)
                continue
            end = start + self._wanted
            events.append(_read_frame(bytes(held[start:end])))
            start, self._wanted = end, _PRELUDE_BYTES
        del held[:start]
        return events

    def flush(self) -> list[tuple[str | None, bytes]]:
        """The bytes are over. A frame that is not whole is none."""
        self._held.clear()
        return []


def _frame_length(held: bytearray, start: int) -> int:
    """Read the beginning of a frame; give the length of the frame."""
    length, header_length = _LENGTHS.unpack_from(held, start)
    if crc32(held[start : start + 8]) != _CHECKSUM.unpack_from(held, start + 8)[0]:
        raise UpstreamProtocolError("The provider's stream is damaged: the checksum of a frame's length is wrong.")
    payload_length = length - header_length - _FRAME_BYTES
    if header_length > MAX_HEADERS or not 0 <= payload_length <= MAX_PAYLOAD:
        raise UpstreamProtocolError("The provider's stream has a frame of an impossible length.")
    return int(length)


def _read_frame(data: bytes) -> tuple[str | None, bytes]:
    if crc32(data[:-4]) != _CHECKSUM.unpack_from(data, len(data) - 4)[0]:
        raise UpstreamProtocolError("The provider's stream is damaged: the checksum of a frame is wrong.")
    end = _PRELUDE_BYTES + int(_LENGTHS.unpack_from(data)[1])
    name, message = _meaning(data[_PRELUDE_BYTES:end])
    return name, message or data[end:-4]


@lru_cache(maxsize=32)
def _meaning(block: bytes) -> tuple[str | None, bytes]:
    """Read headers: the name of the event, and for an error, which has no payload, one in its place.

    All frames of one type have the same headers, so they are read once.
    """
    headers = read_headers(block)
    kind = headers.get(":message-type", "event")
    if kind == "exception":
        return EXCEPTION + headers.get(":exception-type", ""), b""
    if kind == "error":
        return ERROR + headers.get(":error-code", ""), dumps({"message": headers.get(":error-message", "")})
    return headers.get(":event-type"), b""


def read_headers(block: bytes) -> dict[str, str]:
    """Read the headers that are strings; skip the others. Raises UpstreamProtocolError for what are no headers."""
    headers: dict[str, str] = {}
    place = 0
    try:
        while place < len(block):
            name_end = place + 1 + block[place]
            name, kind = block[place + 1 : name_end].decode(), block[name_end]
            place = name_end + 1
            if kind in _VALUE_BYTES:
                place += _VALUE_BYTES[kind]
                continue
            if kind not in (_BYTES, _STRING):
                raise ValueError("unknown type")
            value_end = place + 2 + int.from_bytes(block[place : place + 2])
            if kind == _STRING:
                headers[name] = block[place + 2 : value_end].decode()
            place = value_end
        if place != len(block):
            raise ValueError("cut off")
    except (IndexError, ValueError):
        raise UpstreamProtocolError("The provider's stream has a frame whose headers cannot be read.") from None
    return headers


def frame(event_type: str, payload: bytes) -> bytes:
    """Write an event whose payload is JSON."""
    return _write_frame(_header_block("event", event_type), payload)


def exception_frame(exception_type: str, payload: bytes) -> bytes:
    """Write an exception, after which a client reads no more."""
    return _write_frame(_header_block("exception", exception_type), payload)


def _write_frame(headers: bytes, payload: bytes) -> bytes:
    lengths = _LENGTHS.pack(_FRAME_BYTES + len(headers) + len(payload), len(headers))
    data = lengths + _CHECKSUM.pack(crc32(lengths)) + headers + payload
    return data + _CHECKSUM.pack(crc32(data))


@lru_cache(maxsize=32)
def _header_block(kind: str, name: str) -> bytes:
    """Write the headers of one type of frame, in the order in which Bedrock writes them."""
    headers = {f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind}
    return b"".join(_header(key.encode(), value.encode()) for key, value in headers.items())


def _header(name: bytes, value: bytes) -> bytes:
    return bytes((len(name),)) + name + bytes((_STRING,)) + len(value).to_bytes(2) + value
