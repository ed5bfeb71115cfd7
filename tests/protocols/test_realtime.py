"""What the events of the Realtime API say: what was used, which models a session wants, how an error is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ai_gateway.errors import Draining, InvalidBody
from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.protocols.realtime import (
    Came,
    SessionReader,
    is_sound,
    models_asked_for,
    read_transcription,
    read_usage,
    write_error_event,
)


def data(kind: str, **members: Any) -> bytes:
    """Write an event."""
    return json.dumps({"type": kind, **members}).encode()


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (None, TokenUsage()),
        ({"input_tokens": 132, "output_tokens": 121}, TokenUsage(input=132, output=121)),
        (
            {
                "input_tokens": 132,
                "output_tokens": 121,
                "input_token_details": {
                    "text_tokens": 119,
                    "audio_tokens": 13,
                    "cached_tokens": 64,
                    "cached_tokens_details": {"text_tokens": 60, "audio_tokens": 4},
                },
                "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
            },
            TokenUsage(input=59, cache_read=64, input_audio=9, output=30, output_audio=91),
        ),
        # Of which medium the cached ones are is not said: text first.
        (
            {
                "input_tokens": 100,
                "output_tokens": 9,
                "input_token_details": {"text_tokens": 20, "audio_tokens": 80, "cached_tokens": 50},
                "output_token_details": {"text_tokens": 2, "audio_tokens": 4, "reasoning_tokens": 3},
            },
            TokenUsage(cache_read=50, input_audio=50, output=2, output_audio=4, reasoning=3),
        ),
        (
            {
                "input_tokens": 90,
                "output_tokens": 0,
                "input_token_details": {
                    "text_tokens": 20,
                    "image_tokens": 70,
                    "cached_tokens": 30,
                    "cached_tokens_details": {"image_tokens": 30},
                },
            },
            TokenUsage(input=20, cache_read=30, input_image=40),
        ),
        # What cannot be true does not become less than nothing.
        (
            {
                "input_tokens": 5,
                "output_tokens": -3,
                "input_token_details": {"cached_tokens": 50, "audio_tokens": True},
            },
            TokenUsage(cache_read=50),
        ),
    ],
)
def test_usage_is_read_into_disjoint_buckets(usage: Any, tokens: TokenUsage) -> None:
    assert read_usage(usage) == tokens


def test_what_a_transcription_used() -> None:
    told = {"type": "tokens", "input_tokens": 22, "output_tokens": 5, "input_token_details": {"audio_tokens": 20}}
    report = read_transcription(told, "gpt-4o-transcribe")
    assert report is not None
    assert report.tokens == TokenUsage(input=2, input_audio=20, output=5)
    assert (report.units, report.model, report.is_answer) == ({}, "gpt-4o-transcribe", False)
    timed = read_transcription({"type": "duration", "seconds": 2.5}, "whisper-1")
    assert timed is not None
    assert (timed.tokens, timed.units) == (TokenUsage(), {"audio_seconds": 2.5})
    assert read_transcription(None, "whisper-1") is None


@pytest.mark.parametrize(
    "session",
    [
        {"audio": {"input": {"transcription": {"model": "whisper-1"}}}},
        {"input_audio_transcription": {"model": "whisper-1"}},
    ],
)
@pytest.mark.parametrize("kind", ["session.created", "session.updated", "transcription_session.updated"])
def test_a_transcription_is_its_own_models(session: dict[str, Any], kind: str) -> None:
    reader = SessionReader()
    assert reader.read(data(kind, session=session)) is None
    usage = {"type": "duration", "seconds": 1}
    report = reader.read(data("conversation.item.input_audio_transcription.completed", usage=usage))
    assert report is not None
    assert report.model == "whisper-1"
    assert models_asked_for(data("session.update", session={"model": "other", **session})) == ["other", "whisper-1"]


def test_an_answer_under_way_is_followed() -> None:
    reader = SessionReader()
    reader.read(data("response.created", response={"id": "resp_1"}))
    reader.read(data("response.output_audio.delta", delta="A" * 6400))
    reader.read(data("response.audio.delta", delta="A" * 6400))
    reader.read(data("response.output_audio_transcript.delta", delta="Hello"))
    reader.read(data("response.function_call_arguments.delta", delta="{}"))
    assert (reader.is_answering, reader.audio, reader.text) == (True, 9600, 7)
    report = reader.read(data("response.done", response={"id": "resp_1", "usage": {"input_tokens": 3}}))
    assert report is not None
    assert (report.id, report.tokens.input, report.is_answer) == ("resp_1", 3, True)
    assert (reader.is_answering, reader.audio, reader.text) == (False, 0, 0)


def test_how_long_the_caller_spoke_is_told_where_the_provider_listens_for_it() -> None:
    reader = SessionReader()
    for start, end in ((500, 1500), (3000, 3500), (None, "soon"), (9000, 1)):
        reader.read(data("input_audio_buffer.speech_started", audio_start_ms=start))
        reader.read(data("input_audio_buffer.speech_stopped", audio_end_ms=end))
    assert reader.speech == 1500
    report = reader.read(data("response.done", response={}))
    assert report is not None
    assert (report.untold, reader.speech) == (Came(speech=1500), 0)


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ('{"type":"input_audio_buffer.append","audio":"AAAA"}', True),
        ('{"audio": "' + "A" * 5000 + '", "type": "input_audio_buffer.append"}', True),
        (b'{"type": "input_audio_buffer.append", "audio": "AAAA"}', True),
        ('{"type": "conversation.item.create", "item": {}}', False),
        (b'{"type": "input_audio_buffer.commit"}', False),
    ],
)
def test_a_callers_sound_is_told_from_what_it_writes(message: str | bytes, found: bool) -> None:
    assert is_sound(message) is found


def test_a_transcription_that_comes_late_is_of_the_model_that_was_heard_of_last() -> None:
    reader = SessionReader()
    for model in ({"model": "whisper-1"}, None):
        reader.read(data("session.updated", session={"input_audio_transcription": model}))
    usage = {"type": "duration", "seconds": 1}
    report = reader.read(data("conversation.item.input_audio_transcription.completed", usage=usage))
    assert report is not None
    assert report.model == "whisper-1"


def test_an_end_that_cannot_be_read_is_an_end() -> None:
    reader = SessionReader()
    reader.read(data("response.created"))
    reader.read(data("response.output_text.delta", delta="x" * 40))
    report = reader.read(b'{"type": "response.done", "odd": NaN}')
    assert report is not None
    assert (report.untold, reader.is_answering) == (Came(text=40), False)


def test_answers_at_once_are_told_apart() -> None:
    reader = SessionReader()
    for id in ("long", "short"):
        reader.read(data("response.created", response={"id": id}))
    reader.read(data("response.output_text.delta", response_id="long", delta="x" * 400))
    reader.read(data("response.output_text.delta", response_id="short", delta="y"))
    report = reader.read(data("response.done", response={"id": "short", "usage": {"output_tokens": 1}}))
    assert report is not None
    assert (report.id, report.tokens, report.untold) == ("short", TokenUsage(output=1), Came())
    assert (reader.is_answering, reader.text) == (True, 400)


@pytest.mark.parametrize("usage", [None, {}, [], {"input_tokens": 0, "output_tokens": 0}])
@pytest.mark.parametrize(("created", "done"), [("resp_1", "resp_1"), ("resp_1", None), (None, "resp_1"), (None, None)])
def test_an_end_that_does_not_say_what_was_used_says_what_came(usage: Any, created: Any, done: Any) -> None:
    reader = SessionReader()
    reader.read(data("response.created", response={"id": created}))
    reader.read(data("response.output_text.delta", delta="x" * 40))
    reader.read(data("response.output_audio.delta", delta="A" * 4))
    report = reader.read(data("response.done", response={"id": done, "usage": usage}))
    assert report is not None
    assert (report.tokens, report.untold) == (TokenUsage(), Came(text=40, audio=3))
    assert not reader.is_answering


@pytest.mark.parametrize(
    "odd",
    [b"", b"\xff", b"[]", b"null", b'"text"', b"{", b'{"type": 5}', b'{"type": "response.created"', b"[" * 5000],
)
def test_what_cannot_be_read_was_not_said(odd: bytes) -> None:
    reader = SessionReader()
    assert reader.read(odd) is None
    assert not reader.is_answering


@pytest.mark.parametrize(
    ("said", "models"),
    [
        (b'{"type": "input_audio_buffer.append", "audio": "AAAA"}', []),
        (b'{"type": 5}', []),
        (b'{"type": "session.update", "session": null}', []),
        (b'{"Session": {"MODEL": "a"}}', ["a"]),
        (b'{"\\u0073ession": {"mod\\u0065l": "a"}}', ["a"]),
        (b'{"session": {"unheard": [{"model": "a"}], "tools": [{"parameters": {"model": {}}}]}}', ["a"]),
        (
            b'{"session": {"audio": {"input": {"transcription": {"model": "a"}}},'
            b' "input_audio_transcription": {"model": "b"}}}',
            ["b", "a"],
        ),
        ('{"type": "x", "text": "Käse \\u00e4"}'.encode(), []),
    ],
)
def test_models_are_asked_for_wherever_they_stand(said: bytes, models: list[str]) -> None:
    assert models_asked_for(said) == models


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"[]",
        b"null",
        b'"text"',
        b"{",
        b"[" * 5000,
        b'\xef\xbb\xbf{"session": {"model": "a"}}',
        '{"session": {"model": "a"}}'.encode("utf-16"),
        b'{"type": "session.update", "x": NaN, "session": {"model": "a"}}',
        b'{"session": {"model": "a"}, "session": {}}',
        b'{"session": {"model": "a"}, "Session": {}}',
        b'{"session": {"model": "a", "mod\\u0065l": "b"}}',
        b'{"session": {"audio": {"input": {}}, "audio": {"input": {"transcription": {"model": "a"}}}}}',
        b'{"session": {"model": ["a"]}}',
        b'{"text": "\xff"}',
        b'{"session": ' + b"[" * 500_000 + b"]" * 500_000 + b"}",
    ],
)
def test_what_may_be_read_otherwise_is_not_asked(said: bytes) -> None:
    with pytest.raises(InvalidBody):
        models_asked_for(said)


@pytest.mark.parametrize("response", [None, 5, [], {"usage": []}, {"id": 5, "usage": {"input_tokens": "many"}}])
def test_an_end_that_says_nothing_is_an_end(response: Any) -> None:
    report = SessionReader().read(data("response.done", response=response))
    assert report is not None
    assert (report.tokens, report.id, report.is_answer) == (TokenUsage(), "", True)


def test_an_error_is_an_event() -> None:
    written = json.loads(write_error_event(Draining("Going."), "req_1"))
    assert written == {
        "type": "error",
        "event_id": "event_req_1",
        "error": {
            "type": "service_unavailable_error",
            "code": "gateway_draining",
            "message": "Going.",
            "param": None,
            "event_id": None,
        },
    }
