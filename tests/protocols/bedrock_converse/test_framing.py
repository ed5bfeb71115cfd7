"""The binary frames: against frames made by hand, and against botocore's own parser."""

from __future__ import annotations

import json
import random
import struct
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_gateway.errors import UpstreamProtocolError
from ai_gateway.protocols.bedrock_converse.framing import (
    MAX_PAYLOAD,
    FrameSplitter,
    exception_frame,
    frame,
    read_headers,
)
from tests.protocols.bedrock_converse.botocore_client import frames
from tests.protocols.bedrock_converse.samples import STREAMS, event, exception, hand_made_frame

Events = list[tuple[str | None, bytes]]


def split(data: bytes, sizes: list[int] | None = None) -> Events:
    """Feed a splitter with pieces of the sizes given, and with the rest."""
    splitter, events, start = FrameSplitter(), Events(), 0
    for size in sizes or ():
        events += splitter.feed(data[start : start + size])
        start += size
    return [*events, *splitter.feed(data[start:]), *splitter.flush()]


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_taken_apart_as_botocore_does_it(name: str) -> None:
    data = b"".join(STREAMS[name])
    assert split(data) == [(headers[":event-type"], payload) for headers, payload in frames(data)]


@pytest.mark.parametrize("name", STREAMS)
def test_it_does_not_matter_how_the_bytes_are_cut(name: str) -> None:
    data = b"".join(STREAMS[name])
    whole = split(data)
    for size in (1, 7, 1024):
        assert split(data, [size] * (len(data) // size)) == whole
    chance = random.Random(name)
    assert split(data, [chance.randint(0, 60) for _ in range(200)]) == whole


def test_what_is_cut_off_is_no_event() -> None:
    data = event("metadata", usage={})
    for end in range(len(data)):
        assert split(data[:end]) == []


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40), st.binary(max_size=300))
@settings(deadline=None)
def test_a_written_frame_is_read_by_botocore_and_here(name: str, payload: bytes) -> None:
    written = frame(name, payload)
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    assert frames(written) == [(headers, payload)]
    assert split(written) == [(name, payload)]
    assert written == hand_made_frame(headers, payload)


def test_an_exception_is_told_by_its_message_type() -> None:
    written = exception_frame("throttlingException", b'{"message":"Slow down."}')
    assert split(written) == [("exception:throttlingException", b'{"message":"Slow down."}')]
    assert frames(written)[0][0][":message-type"] == "exception"
    assert split(exception("new", "Oh."))[0][0] == "exception:new"


def test_an_error_has_its_message_in_the_headers() -> None:
    data = hand_made_frame({":message-type": "error", ":error-code": "InternalError", ":error-message": "Oh."}, b"")
    name, payload = split(data)[0]
    assert name == "error:InternalError"
    assert json.loads(payload) == {"message": "Oh."}


@pytest.mark.parametrize("place", range(40))
def test_a_damaged_frame_is_refused(place: int) -> None:
    data = bytearray(event("messageStart", role="assistant"))
    data[place] ^= 1
    with pytest.raises(UpstreamProtocolError):
        split(bytes(data))


def test_the_end_of_a_damaged_frame_is_refused() -> None:
    data = bytearray(event("messageStart", role="assistant"))
    data[-1] ^= 1
    with pytest.raises(UpstreamProtocolError, match="checksum"):
        split(bytes(data))


@pytest.mark.parametrize(
    ("length", "header_length"),
    [(MAX_PAYLOAD + 17, 0), (2**32 - 1, 0), (15, 0), (20, 8), (200_000, 150_000)],
)
def test_an_impossible_length_is_refused_before_anything_is_held(length: int, header_length: int) -> None:
    lengths = struct.pack("!II", length, header_length)
    with pytest.raises(UpstreamProtocolError, match="impossible length"):
        FrameSplitter().feed(lengths + struct.pack("!I", crc32(lengths)))


def test_what_is_no_stream_of_frames_is_refused() -> None:
    with pytest.raises(UpstreamProtocolError):
        split(b'{"message": "This is JSON and no stream of frames."}')


def test_headers_of_every_type_are_skipped_or_read() -> None:
    values = [b"\0", b"\1", b"\2" + b"x" * 1, b"\3" + b"x" * 2, b"\4" + b"x" * 4, b"\5" + b"x" * 8]
    values += [b"\6\0\3abc", b"\x08" + b"x" * 8, b"\x09" + b"x" * 16, b"\7\0\2hi"]
    block = b"".join(b"\1" + bytes((97 + number,)) + value for number, value in enumerate(values))
    assert read_headers(block) == {"j": "hi"}


@pytest.mark.parametrize(
    "block", [b"\5abc", b"\1a", b"\1a\x0a", b"\1a\7\0\5abc", b"\1a\4xx", b"\1\xff\7\0\1a", b"\1a\7\0\1\xff", b"\1a\7\0"]
)
def test_headers_that_cannot_be_read_are_refused(block: bytes) -> None:
    with pytest.raises(UpstreamProtocolError, match="headers"):
        read_headers(block)


def test_a_frame_without_headers_has_no_name() -> None:
    assert split(hand_made_frame({}, b"{}")) == [(None, b"{}")]
