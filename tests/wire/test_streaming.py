"""Streams of events: unchanged, at once, alive."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.conftest import StartGateway
from tests.raw_client import RawClient
from tests.upstream import LAST_CHUNK, End, Upstream, chunk, event_stream, head, play, stream_head
from tests.wire.samples import BEARER, CHAT_DIALECT, CHAT_PATH, DIALECTS, JSON, MESSAGES_DIALECT, Dialect

pytestmark = pytest.mark.usefixtures("quiescent")

BY_DIALECT = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
ODD = (
    ": a comment\n\n"
    'data: {"choices":[{"delta":{"content":"\U0001f44b\U0001f3fd"}}]}\r\n\r\n'
    'data:{"no":"space"}\n\n'
    'event: x\rdata: {"bare":"CR"}\r\r'
    "id: 7\nretry: 10\ndata: two\ndata: lines\n\n"
    'data: {"separators":"\u2028\u0085\x1c"}\n\n'
    'data: {"choices":[{"finish_reason":"stop","delta":{}}]}\n\n'
    "data: [DONE]\n\n"
).encode()


def pieces_of(data: bytes, seed: int) -> list[bytes]:
    """Cut bytes at random places; seed 0 into single bytes."""
    if seed == 0:
        return [data[at : at + 1] for at in range(len(data))]
    dice = random.Random(seed)
    cuts = sorted({0, len(data), *(dice.randrange(len(data)) for _ in range(seed * 3))})
    return [data[start:end] for start, end in itertools.pairwise(cuts)]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("text", [ODD, ODD.replace(b"\n", b"\r\n").replace(b"\r\r\n", b"\r\n")], ids=["mixed", "crlf"])
def test_the_bytes_of_a_stream_are_the_upstreams_however_they_are_cut(
    raw: RawClient, upstream: Upstream, text: bytes, seed: int
) -> None:
    """T37: emoji split in the middle, CRLF between two pieces, single bytes."""
    pauses = 0.001 if seed else 0.0
    steps = [step for piece in pieces_of(text, seed) for step in (chunk(piece), pauses)]
    upstream.answer(play(stream_head(), *steps, LAST_CHUNK))
    assert raw.post(CHAT_PATH, CHAT_DIALECT.stream_body, [BEARER]).body == text


@BY_DIALECT
def test_the_bytes_of_each_dialect_pass_unchanged(raw: RawClient, upstream: Upstream, dialect: Dialect) -> None:
    text = b"".join(dialect.events)
    for seed in (0, 1, 2, 5):
        upstream.answer(play(stream_head(), *(chunk(piece) for piece in pieces_of(text, seed)), LAST_CHUNK))
        assert raw.post(dialect.stream_path, dialect.stream_body, [BEARER]).body == text


@BY_DIALECT
def test_an_event_arrives_before_the_next_one_is_sent(raw: RawClient, upstream: Upstream, dialect: Dialect) -> None:
    gates = [upstream.gate() for _ in dialect.events]
    steps = [step for pair in zip(gates, dialect.events, strict=True) for step in pair]
    upstream.answer(event_stream(*steps))
    with raw.connect() as connection:
        connection.request("POST", dialect.stream_path, [BEARER, JSON], write(dialect))
        gates[0].open()
        assert connection.read_head().status == 200
        for event, gate in zip(dialect.events, [*gates[1:], None], strict=True):
            assert connection.read_text_until(event) == event
            if gate is not None:
                gate.open()
        assert connection.read_chunk() == b""


def write(dialect: Dialect) -> bytes:
    """The request body of a stream."""
    return b'{"model": "m", "stream": true}'


def test_a_stream_framed_by_the_end_of_the_connection_passes(raw: RawClient, upstream: Upstream) -> None:
    text = b"".join(CHAT_DIALECT.events)
    upstream.answer(play(head(200, [("content-type", "text/event-stream")]), text, End.CLOSE))
    assert raw.post(CHAT_PATH, CHAT_DIALECT.stream_body, [BEARER]).body == text


def test_a_stream_with_a_length_passes(raw: RawClient, upstream: Upstream) -> None:
    text = b"".join(CHAT_DIALECT.events)
    fields = [("content-type", "text/event-stream"), ("content-length", str(len(text)))]
    upstream.answer(play(head(200, fields), text))
    assert raw.post(CHAT_PATH, CHAT_DIALECT.stream_body, [BEARER]).body == text


def test_an_event_longer_than_any_buffer_passes(raw: RawClient, upstream: Upstream) -> None:
    text = b'data: {"x":"' + b"y" * 3_000_000 + b'"}\n\n' + b"".join(CHAT_DIALECT.events)
    steps = [chunk(text[start : start + 65_000]) for start in range(0, len(text), 65_000)]
    upstream.answer(play(stream_head(), *steps, LAST_CHUNK))
    assert raw.post(CHAT_PATH, CHAT_DIALECT.stream_body, [BEARER]).body == text


def test_a_last_event_without_its_blank_line_passes(raw: RawClient, upstream: Upstream) -> None:
    text = b"".join(CHAT_DIALECT.events).rstrip(b"\n")
    upstream.answer(event_stream(text))
    assert raw.post(CHAT_PATH, CHAT_DIALECT.stream_body, [BEARER]).body == text


@pytest.mark.parametrize(
    ("dialect", "sign"),
    [
        (CHAT_DIALECT, b": keep-alive\n\n"),
        (MESSAGES_DIALECT, b'event: ping\ndata: {"type": "ping"}\n\n'),
    ],
    ids=["openai", "anthropic"],
)
def test_a_silent_stream_gets_signs_of_life_between_its_events(
    start_gateway: StartGateway, upstream: Upstream, dialect: Dialect, sign: bytes
) -> None:
    raw = RawClient(start_gateway(KEEP_ALIVE_INTERVAL=0.1).port)
    gate = upstream.gate()
    first, *rest = dialect.events
    upstream.answer(event_stream(first, gate, *rest))
    with raw.connect() as connection:
        connection.request("POST", dialect.stream_path, [BEARER, JSON], write(dialect))
        connection.read_head()
        assert connection.read_text_until(sign) == first + sign
        assert connection.read_text_until(sign) == sign
        gate.open()
        received = b"".join(connection.chunks())
    assert received.replace(sign, b"") == b"".join(rest)


def test_a_sign_of_life_never_stands_inside_an_event(start_gateway: StartGateway, upstream: Upstream) -> None:
    raw = RawClient(start_gateway(KEEP_ALIVE_INTERVAL=0.1).port)
    text = b"".join(CHAT_DIALECT.events)
    cut = [text[:30], text[30:90], text[90:]]
    upstream.answer(play(stream_head(), *(step for piece in cut for step in (chunk(piece), 0.35)), LAST_CHUNK))
    received = raw.post(CHAT_PATH, CHAT_DIALECT.stream_body, [BEARER]).body
    blocks = [block + b"\n\n" for block in received.split(b"\n\n")[:-1]]
    assert [block for block in blocks if not block.startswith(b":")] == list(CHAT_DIALECT.events)
    assert any(block.startswith(b":") for block in blocks)


def test_a_stream_that_does_not_begin_gets_comments_only(start_gateway: StartGateway, upstream: Upstream) -> None:
    """Before Anthropic's message_start a ping would be out of order; a comment is legal anywhere."""
    raw = RawClient(start_gateway(KEEP_ALIVE_INTERVAL=0.1).port)
    gate = upstream.gate()
    upstream.answer(play(stream_head(), gate, chunk(b"".join(MESSAGES_DIALECT.events)), LAST_CHUNK))
    with raw.connect() as connection:
        connection.request("POST", MESSAGES_DIALECT.path, [BEARER, JSON], write(MESSAGES_DIALECT))
        assert connection.read_head().status == 200
        assert connection.read_text_until(b"\n\n").startswith(b":")
        gate.open()
        received = b"".join(connection.chunks())
    assert received.endswith(b"".join(MESSAGES_DIALECT.events))


@pytest.mark.parametrize(
    ("dialect", "event", "status"),
    [
        (CHAT_DIALECT, b'data: {"error":{"message":"slow down","type":"rate_limit_error","code":429}}\n\n', 429),
        (MESSAGES_DIALECT, b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n', 529),
    ],
    ids=["openai", "anthropic"],
)
def test_an_error_as_the_first_event_becomes_a_real_status(
    raw: RawClient, upstream: Upstream, dialect: Dialect, event: bytes, status: int
) -> None:
    upstream.answer(event_stream(b": comment\n\n", event))
    answer = raw.post(dialect.path, dialect.stream_body, [BEARER])
    assert answer.status == status
    assert b"error" in answer.body
    assert not answer.body.startswith((b"data:", b"event:"))
    assert answer.json()["error"]


def test_an_error_after_the_first_event_passes_as_it_is(raw: RawClient, upstream: Upstream) -> None:
    events = [
        MESSAGES_DIALECT.events[0],
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n',
    ]
    upstream.answer(event_stream(*events))
    answer = raw.post(MESSAGES_DIALECT.path, MESSAGES_DIALECT.stream_body, [BEARER])
    assert answer.status == 200
    assert answer.body.startswith(b"".join(events))


def test_a_stream_that_was_not_asked_for_passes_too(raw: RawClient, upstream: Upstream) -> None:
    upstream.answer(event_stream(*CHAT_DIALECT.events))
    assert raw.post(CHAT_PATH, CHAT_DIALECT.body, [BEARER]).body == b"".join(CHAT_DIALECT.events)


def test_a_json_answer_to_a_stream_request_passes(raw: RawClient, upstream: Upstream) -> None:
    assert raw.post(CHAT_PATH, CHAT_DIALECT.stream_body, [BEARER]).json() == {"ok": True}


def test_a_compressed_stream_passes_untouched(raw: RawClient, upstream: Upstream) -> None:
    upstream.answer(play(stream_head([("content-encoding", "br")]), chunk(b"\x1b\x03\x00"), chunk(b"\xff"), LAST_CHUNK))
    answer = raw.post(CHAT_PATH, CHAT_DIALECT.stream_body, [BEARER])
    assert answer.header("content-encoding") == "br"
    assert answer.body == b"\x1b\x03\x00\xff"


def test_gzip_middleware_leaves_a_stream_alone(start_gateway: StartGateway, upstream: Upstream) -> None:
    """T94: each version of Django gets it wrong in a way of its own."""
    site = {"MIDDLEWARE": ["django.middleware.gzip.GZipMiddleware", "django.middleware.common.CommonMiddleware"]}
    raw = RawClient(start_gateway(site=site).port)
    gate = upstream.gate()
    first, *rest = CHAT_DIALECT.events
    upstream.answer(event_stream(first, gate, *rest))
    with raw.connect() as connection:
        connection.request("POST", CHAT_PATH, [BEARER, JSON, ("accept-encoding", "gzip")], write(CHAT_DIALECT))
        answer = connection.read_head()
        assert answer.values("content-encoding") == []
        assert connection.read_text_until(first) == first
        gate.open()
        assert b"".join(connection.chunks()) == b"".join(rest)
