"""Every recorded answer, heard while it passes: it used what the translating reader of its format says it used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from ai_gateway.consumption import Consumption
from ai_gateway.listeners import listener_of
from ai_gateway.protocols import PROTOCOLS
from tests.consumption.hearing import PATHS, SSE, asking, consumption_of, events_of, hear
from tests.protocols.streams import collected, events_of_pieces
from tests.protocols.vectors import Vector, vectors

FORMATS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini")

NO_ANSWERS = {
    "anthropic-spliced-message-start-0",  # Two messages in one stream.
    "openai-background-mode-vcr-1",  # Queued.
    "openai-background-mode-with-tool-vcr-2",
}
"""What the translating readers refuse."""


def answered(format: str, *, is_stream: bool) -> Iterator[Vector]:
    for vector in vectors(format):
        has_body = vector.is_stream if is_stream else not vector.is_stream and isinstance(vector.response, dict)
        if vector.name in NO_ANSWERS:
            continue
        if vector.status < 300 and has_body and PATHS[format].rpartition("/")[2].partition(":")[0] in vector.path:
            yield vector


def cases(*, is_stream: bool) -> list[object]:
    return [
        pytest.param(format, vector, id=f"{format}-{vector}")
        for format in FORMATS
        for vector in answered(format, is_stream=is_stream)
    ]


def same_as_read(consumption: Consumption | None, format: str, vector: Vector) -> None:
    protocol = PROTOCOLS[format]
    if vector.is_stream:
        answer = collected(events_of_pieces(protocol, [vector.stream]))
    else:
        answer = protocol.read_answer(vector.response)
    assert consumption is not None
    assert consumption.units == answer.units
    if answer.usage is None:
        assert consumption.tokens.is_estimated
        return
    assert consumption.tokens == answer.usage
    assert consumption.upstream_id in (answer.id, "")
    assert consumption.model == answer.model
    assert consumption.service_tier == (answer.service_tier or "")


@pytest.mark.parametrize(("format", "vector"), cases(is_stream=False))
def test_a_whole_answer(format: str, vector: Vector) -> None:
    body = (vector.folder / "response.json").read_bytes()
    same_as_read(consumption_of(asking(PATHS[format]), body), format, vector)


@pytest.mark.parametrize(("format", "vector"), cases(is_stream=False))
def test_a_whole_answer_of_any_length(format: str, vector: Vector) -> None:
    """What stands in the middle does not matter, for it is not kept."""
    document = {"padding_of_the_test": "x" * 200_000, **vector.response}
    consumption = consumption_of(asking(PATHS[format]), *pieces(json.dumps(document).encode()))
    same = consumption_of(asking(PATHS[format]), json.dumps(vector.response).encode())
    assert consumption is not None
    assert same is not None
    if not same.tokens.is_estimated:
        assert consumption.tokens == same.tokens
        assert (consumption.units, consumption.service_tier) == (same.units, same.service_tier)


def pieces(body: bytes) -> list[bytes]:
    return [body[start : start + 10_000] for start in range(0, len(body), 10_000)]


@pytest.mark.parametrize(("format", "vector"), cases(is_stream=True))
def test_a_stream(format: str, vector: Vector) -> None:
    events = events_of(vector.stream)
    assert b"".join(events) == vector.stream
    for heard in (events, [vector.stream]):
        same_as_read(consumption_of(asking(PATHS[format]), *heard, headers=SSE), format, vector)


@pytest.mark.parametrize(("format", "vector"), cases(is_stream=True))
def test_a_stream_passes_unchanged(format: str, vector: Vector) -> None:
    listener = listener_of(asking(PATHS[format]), SSE)
    assert hear(listener, events_of(vector.stream)) == vector.stream


@pytest.mark.parametrize(("format", "vector"), cases(is_stream=True))
def test_a_stream_that_is_cut_is_estimated_and_used_the_more_the_later_it_is_cut(format: str, vector: Vector) -> None:
    events = events_of(vector.stream)
    call = asking(PATHS[format], vector.request)
    whole = consumption_of(call, *events, headers=SSE)
    assert whole is not None
    before = 0
    for place in range(len(events)):
        cut = consumption_of(call, *events[:place], headers=SSE)
        assert cut is not None
        if cut.tokens == whole.tokens:
            continue  # The report has passed.
        assert cut.tokens.is_estimated
        used = cut.tokens.total_output
        assert used >= before * 0.7 - 10  # A window that was held was counted; passed over, it is like the sample.
        before = max(before, used)
        assert used <= 4 * whole.tokens.total_output + 50


def told_apart() -> Iterator[object]:
    """Streams whose report does not come with the text, and whose text is all there is to be seen."""
    for format in ("openai_chat", "openai_responses"):
        for vector in answered(format, is_stream=True):
            whole = consumption_of(asking(PATHS[format]), vector.stream, headers=SSE)
            if whole is not None and not whole.tokens.is_estimated and not whole.tokens.reasoning:
                yield pytest.param(format, vector, whole.tokens.total_output, id=f"{format}-{vector}")


@pytest.mark.parametrize(("format", "vector", "truth"), list(told_apart()))
def test_what_an_estimate_is_worth(format: str, vector: Vector, truth: int) -> None:
    """Without its report, an answer is estimated within a factor of two; a short one, within 25 tokens."""
    events = [event for event in events_of(vector.stream) if PROTOCOLS[format].passing().marker not in event]
    cut = consumption_of(asking(PATHS[format]), *events, headers=SSE)
    assert cut is not None
    assert cut.tokens.is_estimated
    assert truth / 2 - 25 <= cut.tokens.total_output <= truth * 2 + 25


@pytest.mark.parametrize(
    ("format", "is_stream"), [("anthropic_messages", False), ("openai_responses", False), ("openai_responses", True)]
)
def test_some_of_the_recorded_answers_searched_the_web(format: str, is_stream: bool) -> None:
    """So what is compared of searches above is something."""
    assert any(searched(vector) for vector in answered(format, is_stream=is_stream))


def searched(vector: Vector) -> bool:
    text = vector.stream.decode() if vector.is_stream else json.dumps(vector.response)
    return '"web_search_call"' in text or re.search('"web_search_requests": ?[1-9]', text) is not None
