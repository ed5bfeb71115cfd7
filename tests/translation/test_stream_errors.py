"""What goes wrong in a stream, as callers of every other dialect see it: the exceptions of their own SDKs.

Errors after the first content end the stream so that the SDK raises; and nothing that was cut off ever looks like an
end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.protocols.bedrock_converse import samples as converse
from tests.protocols.vectors import Vector
from tests.translation.conftest import MODELS, Side
from tests.translation.failures import FAILURES, FORMATS, PAIRS, Failure, check, error_object
from tests.translation.refusals import refusal
from tests.translation.test_answers import ANSWERS, names
from tests.upstream import LAST_CHUNK, End, Script, Upstream, chunk, play, stream_head


def error_event(failure: Failure, provider: str) -> bytes:
    """Write an error as an event of a provider's stream."""
    status, name = failure.said[provider]
    error = error_object(provider, status, name, failure.message)
    if provider == "bedrock_converse":
        assert name is not None
        return converse.exception(name[:1].lower() + name[1:], failure.message)
    if provider == "openai_responses":
        error = {"type": "error", "sequence_number": 2, **error}
    prefix = b"event: error\n" if provider in ("anthropic_messages", "openai_responses") else b""
    return prefix + b"data: " + json.dumps(error).encode() + b"\n\n"


def stream_of(provider: str) -> list[bytes]:
    """Give the events of a stream with text and a call: one that was recorded, or for Converse one after its manual."""
    if provider == "bedrock_converse":
        return [
            converse.START,
            converse.delta(0, text="Hello"),
            converse.delta(0, text=" there"),
            converse.stop(0),
            converse.event(
                "contentBlockStart", contentBlockIndex=1, start={"toolUse": {"toolUseId": "tooluse_1", "name": "get"}}
            ),
            converse.delta(1, toolUse={"input": '{"city": '}),
            converse.delta(1, toolUse={"input": '"Paris"}'}),
            converse.stop(1),
            *converse.ending("tool_use"),
        ]
    return events_of(SHORT_STREAMS[provider])


def events_of(vector: Vector) -> list[bytes]:
    """Cut a recorded stream between its events."""
    return [event + b"\n\n" for event in vector.stream.replace(b"\r\n", b"\n").split(b"\n\n") if event.strip()]


def shortest(format: str) -> Vector:
    """Choose the shortest recorded stream of a format that calls a tool, in more than a few events."""
    calling = [vector for vector in ANSWERS if vector.format == format and vector.is_stream]
    calling = [vector for vector in calling if "tool_call" in vector.features]
    return min(calling, key=lambda vector: (len(events_of(vector)) < 5, len(events_of(vector)), vector.name))


SHORT_STREAMS = {format: shortest(format) for format in FORMATS if format != "bedrock_converse"}

PROOFS: Mapping[str, Callable[[bytes], bool]] = {
    "openai_chat": lambda event: b"[DONE]" in event or b'"finish_reason":"' in event.replace(b": ", b":"),
    "openai_responses": lambda event: b"response.completed" in event or b"response.incomplete" in event,
    "anthropic_messages": lambda event: b'"stop_reason":"' in event.replace(b": ", b":"),
    "gemini": lambda event: b'"finishReason"' in event,
    "bedrock_converse": lambda event: b"messageStop" in event,
}
"""Whether an event proves that the answer is whole."""


def borders(provider: str) -> Iterator[int]:
    """Give the numbers of events after which a stream can break off."""
    events = stream_of(provider)
    yield from range(next(number for number, event in enumerate(events) if PROOFS[provider](event)) + 1)


def streaming(events: list[bytes], provider: str, *, ends_well: bool = True) -> Script:
    """Answer with events, and an end or a break."""
    kind = "application/vnd.amazon.eventstream" if provider == "bedrock_converse" else "text/event-stream"
    return play(stream_head(content_type=kind), *map(chunk, events), LAST_CHUNK if ends_well else End.RESET)


OVERLOADED = next(failure for failure in FAILURES if failure.name == "overloaded")


@pytest.mark.parametrize(("provider", "caller"), PAIRS, ids=names)
def test_an_error_as_the_first_event_has_a_real_status(
    direct: Side, upstream: Upstream, provider: str, caller: str
) -> None:
    upstream.answer(streaming([error_event(OVERLOADED, provider)], provider))
    refused = refusal(lambda: direct.callers[caller].ask_for_stream(MODELS[provider]), caller)
    check(refused, OVERLOADED, provider, caller)


@pytest.mark.parametrize(("provider", "caller"), PAIRS, ids=names)
def test_an_error_after_content_is_raised_by_the_sdk(
    direct: Side, upstream: Upstream, provider: str, caller: str
) -> None:
    last = max(borders(provider))
    upstream.answer(streaming([*stream_of(provider)[:last], error_event(OVERLOADED, provider)], provider))
    refused = refusal(lambda: direct.callers[caller].ask_for_stream(MODELS[provider]), caller)
    assert OVERLOADED.message in refused.message
    if caller == "bedrock_converse":
        assert refused.names == ("serviceUnavailableException",)
    elif caller != "openai_responses":
        assert refused.names == OVERLOADED.names_in(caller)
    else:
        assert refused.names[1] == OVERLOADED.openai[1]


@pytest.mark.parametrize(("provider", "caller"), PAIRS, ids=names)
@pytest.mark.parametrize("ends_well", [True, False], ids=["ended", "reset"])
def test_a_stream_that_breaks_off_is_never_an_answer(
    direct: Side, upstream: Upstream, provider: str, caller: str, ends_well: bool
) -> None:
    """After whichever event, and whether the connection ends in order or not."""
    events = stream_of(provider)
    ask = direct.callers[caller].ask_for_stream
    for border in borders(provider):
        upstream.answer(streaming(events[:border], provider, ends_well=ends_well))
        refused = refusal(lambda: ask(MODELS[provider]), caller)
        assert refused.status in (None, 502), border
