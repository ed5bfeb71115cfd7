"""Guardrails of what is split over parts of a message, or written in other forms of letters."""

from __future__ import annotations

import json

import pytest

from tests.factories import Answer
from tests.guardrails.conversation import FORMATS, REDACTION, SSE, WORDS, ask, events, plain, text_of

pytestmark = pytest.mark.usefixtures("books")


def messages_blocks(*texts: str) -> list[bytes]:
    """Blocks of one message, each with a text of its own, as with citations."""
    blocks = [
        {"type": kind, "index": number, **others}
        for number, text in enumerate(texts)
        for kind, others in (
            ("content_block_start", {"content_block": {"type": "text", "text": ""}}),
            ("content_block_delta", {"delta": {"type": "text_delta", "text": text}}),
            ("content_block_stop", {}),
        )
    ]
    return events(*blocks, {"type": "message_stop"})


def responses_parts(*texts: str) -> list[bytes]:
    """Parts of one message, which the end of the stream repeats."""
    content = [{"type": "output_text", "text": text} for text in texts]
    found = [
        event
        for number, text in enumerate(texts)
        for event in events(
            {"type": "response.output_text.delta", "output_index": 0, "content_index": number, "delta": text},
            {"type": "response.output_text.done", "output_index": 0, "content_index": number, "text": text},
            {"type": "response.content_part.done", "content_index": number, "part": content[number]},
        )
    ]
    item = {"type": "message", "id": "i", "role": "assistant", "content": content}
    return [*found, *events({"type": "response.completed", "response": {"id": "r", "output": [item]}})]


PARTS = {"messages": messages_blocks, "responses": responses_parts}


@pytest.mark.parametrize("name", PARTS)
def test_what_lies_across_parts_of_a_streamed_message_is_found(name: str) -> None:
    path, body, _ = FORMATS[name]

    def answer(*texts: str) -> Answer:
        return Answer(*PARTS[name](*texts), headers=[SSE])

    found = ask({"words": {**WORDS, "EVERYWHERE": True}}, body, answer("all of it is forb", "idden"), path=path)
    assert b"idden" not in found.body
    assert b"'words'" in found.body
    found = ask({"pii": REDACTION}, body, answer("Write to ann@ma", "il.example, or ", "bob@mail.example"), path=path)
    assert text_of(found.body) == "Write to ann@ma, or [EMAIL_2]"
    assert b"il.example" not in found.body
    whole = ask({"pii": REDACTION}, body, answer("Write to ann@mail.example", "Hello"), path=path)
    assert text_of(whole.body) == "Write to [EMAIL_1]Hello"


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_in_other_forms_of_letters_is_found_in_a_stream(name: str) -> None:
    path, body, write = FORMATS[name]
    hidden = "a\u200bnn@\uff4d\uff41\uff49\uff4c.exa\u00admple"
    text = f"Café ½, write to {hidden}, not to me. " * 4
    written = write(*(text[start : start + 3] for start in range(0, len(text), 3)))
    found = ask({"pii": {**REDACTION, "WINDOW": 100}}, body, Answer(*written, headers=[SSE]), path=path)
    assert text_of(found.body).count("]") == 4
    assert "mple" not in text_of(found.body)


def test_what_is_split_or_disguised_is_redacted_before_it_is_sent_and_in_a_whole_answer() -> None:
    parts = [
        {"type": "text", "text": "Write to ann@ma"},
        {"type": "text", "text": "il.example or ann\uff20b.example"},
    ]
    body = json.dumps({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": parts}]}).encode()
    answer = plain({"type": "message", "role": "assistant", "content": parts})
    found = ask({"pii": REDACTION}, body, answer, path="/v1/messages")
    sent = json.loads(found.sent[0])["messages"][0]["content"]  # type: ignore[arg-type]
    expected = ["Write to [EMAIL_1]", " or [EMAIL_2]"]
    assert [part["text"] for part in sent] == expected
    assert [part["text"] for part in json.loads(found.body)["content"]] == expected
