"""Streams of Converse, read, and held against what a botocore client reads."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_gateway.errors import ProviderError, UpstreamClosed
from ai_gateway.protocols.bedrock_converse import DIALECT, PROTOCOL
from ai_gateway.protocols.conversation import Part, Stop, Text, Thinking, ToolCall
from ai_gateway.protocols.events import Closed, Failed, Finished, Grown, Opened, Started
from tests.protocols.bedrock_converse.botocore_client import parsed_stream
from tests.protocols.bedrock_converse.samples import (
    METADATA,
    START,
    STREAMS,
    delta,
    ending,
    event,
    exception,
    whole_answer,
)
from tests.protocols.bedrock_converse.streaming import EVERY_STREAM, accumulated, failure, read, without_id
from tests.protocols.streams import check_grammar, collected


@EVERY_STREAM
def test_a_stream_says_what_the_whole_answer_says(name: str) -> None:
    stream = without_id(collected(read(*STREAMS[name])))
    whole = without_id(PROTOCOL.read_answer(whole_answer(name)))
    assert [shown(part) for part in stream.parts] == [shown(part) for part in whole.parts]
    assert msgspec.structs.replace(stream, parts=[]) == msgspec.structs.replace(whole, parts=[])


def shown(part: Part) -> Any:
    """A part; the arguments of a call may be written otherwise, and those of a call without any not at all."""
    if isinstance(part, ToolCall):
        return msgspec.structs.replace(part, arguments=json.dumps(json.loads(part.arguments or "{}")))
    return part


@EVERY_STREAM
def test_what_is_read_is_what_a_client_puts_together(name: str) -> None:
    seen = accumulated(parsed_stream(b"".join(STREAMS[name])))
    parts = collected(read(*STREAMS[name])).parts
    assert "".join(part.text for part in parts if isinstance(part, Text)) == seen["text"]
    assert "".join(part.text for part in parts if isinstance(part, Thinking)) == seen["reasoning"]
    calls = [(part.id, part.name, part.arguments) for part in parts if isinstance(part, ToolCall)]
    assert calls == [call for call in seen["calls"] if call[1] != "nova_code_interpreter"]


@EVERY_STREAM
def test_it_does_not_matter_how_the_bytes_are_cut(name: str) -> None:
    data, chance = b"".join(STREAMS[name]), random.Random(name)
    whole = read(data)[1:]
    for size in (1, 7, 1024):
        assert read(*(data[start : start + size] for start in range(0, len(data), size)))[1:] == whole
    borders = sorted(chance.sample(range(len(data)), 20))
    assert read(*(data[start:end] for start, end in zip([0, *borders], [*borders, None], strict=True)))[1:] == whole


@EVERY_STREAM
def test_a_stream_that_is_cut_off_is_never_whole(name: str) -> None:
    data = b"".join(STREAMS[name])
    for end in range(len(data)):
        assert isinstance(failure(read(data[:end])), UpstreamClosed)


@EVERY_STREAM
def test_every_part_is_closed_and_numbered_in_order(name: str) -> None:
    check_grammar(read(*STREAMS[name]))


def test_an_end_with_calls_waits_for_their_results() -> None:
    pieces = [*STREAMS["parallel calls"][:-2], *ending("end_turn")]
    assert collected(read(*pieces)).stop is Stop.TOOL_USE


def test_parts_that_the_upstream_forgot_to_close_are_closed() -> None:
    events = read(START, delta(0, text="Hi"), *ending("end_turn"))
    assert [type(each) for each in events] == [Started, Opened, Grown, Closed, Finished]


def test_a_stream_may_lack_its_beginning() -> None:
    assert collected(read(delta(0, text="Hi"), *ending("end_turn"))).parts == [Text(text="Hi")]


def test_the_usage_may_come_before_the_end() -> None:
    events = read(START, delta(0, text="Hi"), METADATA, ending("end_turn")[0])
    assert isinstance(events[-1], Finished)
    assert events[-1].usage is not None


def test_without_the_usage_the_end_is_not_proved() -> None:
    assert isinstance(failure(read(START, ending("end_turn")[0])), UpstreamClosed)


def test_what_comes_after_the_end_is_not_read() -> None:
    events = read(START, *ending("end_turn"), delta(0, text="Hi"), exception("throttlingException", "Slow down."))
    assert isinstance(events[-1], Finished)


def test_two_answers_in_one_stream_are_refused() -> None:
    assert "second answer" in failure(read(START, delta(0, text="Hi"), START, *ending("end_turn"))).message


@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
def test_a_stream_that_the_model_spoiled_is_an_error(reason: str) -> None:
    assert reason in failure(read(START, delta(0, text="Hi"), *ending(reason))).message


@pytest.mark.parametrize(
    "broken",
    [
        event("contentBlockDelta", contentBlockIndex="0", delta={"text": "x"}),
        event("contentBlockDelta", contentBlockIndex=5, delta={"toolUse": {"input": "{}"}}),
        event("contentBlockDelta", contentBlockIndex=5, delta={"reasoningContent": {"redactedContent": "é"}}),
    ],
)
def test_a_broken_event_ends_the_stream(broken: bytes) -> None:
    assert failure(read(START, broken, *ending("end_turn"))).status == 502


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_an_event_that_is_no_json_object_ends_the_stream(data: bytes) -> None:
    reader = PROTOCOL.stream_reader()
    assert "not valid" in failure(reader.read("contentBlockDelta", data)).message
    assert reader.end() == []


MEMBERS = [
    "contentBlockIndex",
    "start",
    "delta",
    "toolUse",
    "text",
    "input",
    "reasoningContent",
    "signature",
    "redactedContent",
    "citation",
    "usage",
    "stopReason",
    "toolUseId",
    "name",
    "location",
    "web",
]
NAMES = [
    "messageStart",
    "contentBlockStart",
    "contentBlockDelta",
    "contentBlockStop",
    "messageStop",
    "metadata",
    "new",
    "exception:new",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=5),
    max_leaves=12,
)


@given(
    st.lists(
        st.tuples(
            st.none() | st.sampled_from(NAMES),
            JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20),
        ),
        max_size=6,
    )
)
@settings(deadline=None)
def test_reading_never_raises(events: list[tuple[str | None, bytes]]) -> None:
    reader = PROTOCOL.stream_reader()
    given = [each for name, data in events for each in reader.read(name, data)] + reader.end()
    assert sum(isinstance(each, Finished | Failed) for each in given) == 1


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("throttlingException", 429, "rate_limit_exceeded"),
        ("serviceUnavailableException", 503, None),
        ("internalServerException", 500, None),
        ("modelStreamErrorException", 502, None),
        ("validationException", 400, None),
        ("somethingNewException", 502, None),
    ],
)
def test_an_exception_ends_the_stream(name: str, status: int, code: str | None) -> None:
    error = failure(read(START, delta(0, text="Hi"), exception(name, "It went wrong.")))
    assert isinstance(error, ProviderError)
    assert (error.status, error.code, error.message) == (status, code, "It went wrong.")
    assert DIALECT.read_error(f"exception:{name}", b"{}") == status


def test_an_ordinary_event_is_no_error() -> None:
    assert DIALECT.read_error("messageStart", b"{}") is None
    assert DIALECT.read_error(None, b"{}") is None


@EVERY_STREAM
def test_every_stream_has_a_marker_of_its_end(name: str) -> None:
    data = b"".join(STREAMS[name])
    assert any(marker in data for marker in DIALECT.terminal)
    assert not any(marker in data[: -len(METADATA)] for marker in DIALECT.terminal)


def test_a_text_may_hold_the_words_of_a_marker() -> None:
    assert not any(marker in delta(0, text="metadata messageStop") for marker in DIALECT.terminal)
