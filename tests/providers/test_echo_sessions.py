"""A session with the echo provider: what it answers to each event."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from ai_gateway.providers.echo.prompt import Ask
from ai_gateway.providers.echo.realtime import BYTES_PER_SECOND, EchoSession

SECOND = base64.b64encode(bytes(BYTES_PER_SECOND)).decode()


def begun(query: dict[str, str] | None = None) -> EchoSession:
    return EchoSession(Ask(method="GET", path="/v1/realtime", query=query or {"model": "echo-1"}, fields={}, body={}))


def said(to: EchoSession, kind: str, **members: Any) -> list[dict[str, Any]]:
    return list(to.hear(json.dumps({"type": kind, **members})))


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{no json", "invalid_event"),
        (b"\xff", "invalid_event"),
        ('{"type": "response.sing"}', "invalid_value"),
        ('{"type": "conversation.item.create"}', "missing_required_parameter"),
        ('{"type": "input_audio_buffer.commit"}', "input_audio_buffer_commit_empty"),
        ('{"type": "response.cancel"}', "response_cancel_not_active"),
    ],
)
def test_what_cannot_be_answered_is_an_error_and_no_end(message: str | bytes, code: str) -> None:
    session = begun()
    (error,) = session.hear(message)
    assert (error["type"], error["error"]["code"]) == ("error", code)
    assert kinds(said(session, "session.update", session={"voice": "alloy"})) == ["session.updated"]


def test_sound_is_held_until_it_is_committed_and_counts_in_the_answer() -> None:
    session = begun()
    assert said(session, "input_audio_buffer.append", audio=SECOND) == []
    assert kinds(said(session, "input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    said(session, "input_audio_buffer.append", audio=SECOND)
    assert kinds(said(session, "input_audio_buffer.commit")) == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    usage = said(session, "response.create")[-1]["response"]["usage"]
    assert usage["input_token_details"]["audio_tokens"] > 0


def test_a_session_for_transcription_writes_down_what_it_heard() -> None:
    session = begun({"intent": "transcription"})
    said(session, "input_audio_buffer.append", audio=SECOND)
    done = said(session, "input_audio_buffer.commit")[-1]
    assert done["type"] == "conversation.item.input_audio_transcription.completed"
    assert done["usage"]["seconds"] == pytest.approx(1, abs=0.01)
