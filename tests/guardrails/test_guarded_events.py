"""Guardrails of streams, in every format."""

from __future__ import annotations

import asyncio

import pytest
from django.test import override_settings

from ai_gateway import gateway
from ai_gateway.calls import ReplyBody
from ai_gateway.test.providers import Books
from tests.factories import JSON, Answer, Scripted, make_arrival, run
from tests.guardrails.conversation import (
    CHAT,
    FORMATS,
    KEY,
    MAIL,
    REDACTION,
    SSE,
    WORDS,
    ask,
    chat_events,
    messages_events,
    request,
    text_of,
)

pytestmark = pytest.mark.usefixtures("books")


@pytest.mark.parametrize("name", FORMATS)
def test_a_stream_that_nothing_is_found_in_is_the_same_byte_for_byte(name: str) -> None:
    path, body, write = FORMATS[name]
    written = write("Good ", "", "morning", ", all of you. " * 60)
    query = Answer(*written, headers=[SSE])
    assert ask({"pii": REDACTION}, body, query, path=path).body == b"".join(written)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_what_is_cut_into_pieces_is_found_in_a_stream(name: str, size: int) -> None:
    path, body, write = FORMATS[name]
    text = f"Dear all, write to {MAIL} or to bob@mail.example, not to me. " * 4
    written = write(*(text[start : start + size] for start in range(0, len(text), size)))
    entry = {**REDACTION, "WINDOW": 60}
    found = ask({"pii": entry}, body, Answer(*written, headers=[SSE]), path=path)
    assert MAIL not in found.body.decode()
    assert text_of(found.body) == text.replace(MAIL, "[EMAIL_1]").replace("bob@mail.example", "[EMAIL_2]")
    assert found.body.count(b"\n\n") == len(written)


@pytest.mark.parametrize("name", FORMATS)
def test_a_block_ends_a_stream_with_an_error_and_no_proof_of_a_whole_answer(name: str, books: Books) -> None:
    path, body, write = FORMATS[name]
    answer = Answer(*write("x" * 200, "forb", "idden", " and more"), headers=[SSE])
    entry = {**WORDS, "EVERYWHERE": True, "WINDOW": 60}
    found = ask({"words": entry}, body, answer, path=path)
    assert found.status == 200
    assert "forb" not in text_of(found.body)
    last = found.body.decode().rstrip().rpartition("\n\n")[2]
    assert "words" in last
    assert not any(end in found.body for end in (b"[DONE]", b"message_stop", b"response.completed", b"STOP"))
    assert answer.is_closed
    (row,) = books
    assert (row.outcome, row.error_code, row.is_estimated) == ("blocked", "guardrail_blocked", True)
    assert row.output_tokens > 0


def test_an_event_of_several_lines_is_changed_as_one() -> None:
    event = b'event: x\ndata: {"choices": [{"index": 0,\ndata: "delta": {"content": "Ask %s"}}]}\n\n' % MAIL.encode()
    answer = Answer(event, b"data: [DONE]\n\n", headers=[SSE])
    found = ask({"pii": REDACTION}, request(stream=True), answer)
    assert text_of(found.body) == "Ask [EMAIL_1]"
    assert found.body.startswith(b"event: x\ndata: {")


@pytest.mark.parametrize("start", [b"data: {", b"data: {\ndata: "])
def test_a_mark_at_the_beginning_of_a_stream_hides_no_event(start: bytes) -> None:
    first, *others = chat_events(f"Ask {MAIL}")
    answer = Answer(b"\xef\xbb\xbf" + first.replace(b"data: {", start), *others, headers=[SSE])
    found = ask({"pii": REDACTION}, request(stream=True), answer)
    assert text_of(found.body) == "Ask [EMAIL_1]"
    assert MAIL.encode() not in found.body


def test_a_last_event_whose_blank_line_was_left_out_is_looked_into() -> None:
    *first, last = chat_events(f"Ask {MAIL}")[:1]
    answer = Answer(b"data: [DONE]\n\n", last.rstrip(b"\n"), headers=[SSE])
    found = ask({"pii": REDACTION}, request(stream=True), answer)
    assert not first
    assert MAIL.encode() not in found.body


def test_an_event_that_is_no_json_ends_the_stream() -> None:
    answer = Answer(b'data: {"no": "js\n\n', *chat_events("hi"), headers=[SSE])
    found = ask({"pii": REDACTION}, request(stream=True), answer)
    assert b"not the JSON that it should be" in found.body
    assert b"hi" not in found.body


def test_placeholders_are_restored_in_a_stream_of_another_format() -> None:
    entry = {**REDACTION, "OPTIONS": {"restore": True}}
    answer = Answer(*messages_events("Dear [EMA", "IL_1], hello"), headers=[SSE])
    found = ask(
        {"pii": entry}, request(f"Greet {MAIL}", stream=True), answer, headers=(JSON, (b"x-provider", b"anthropic"))
    )
    assert MAIL.encode() not in found.sent[0]  # type: ignore[operator]
    assert text_of(found.body) == f"Dear {MAIL}, hello"


def test_what_is_held_goes_out_when_nothing_comes_for_a_while() -> None:
    class Slow(Answer):
        """Sends a piece, and nothing more until somebody has seen it."""

        def __init__(self) -> None:
            super().__init__(headers=[SSE])
            self.was_seen = asyncio.Event()
            self.steps = [chat_events("Good morning, all of y")[0], *chat_events("ou")]

        async def read(self, patience: float | None = None) -> bytes | None:
            if len(self.steps) == 3:
                await self.was_seen.wait()
            return await super().read()

    async def main() -> list[str]:
        answer = Slow()
        reply = await gateway.handle(make_arrival(CHAT, JSON, KEY, body=request(stream=True)), Scripted(answer))
        assert isinstance(reply.body, ReplyBody)
        found = []
        async for piece in reply.body:
            found.append(text_of(piece))
            answer.was_seen.set()
        await reply.aclose()
        return found

    site = {
        "PROVIDERS": {"openai": {"OPTIONS": {"api_key": "x"}}},
        "KEYS": {"team": "gw_a-key-of-the-settings"},
        "GUARDRAILS": {"pii": {**REDACTION, "DELAY": 0.01}},
    }
    with override_settings(AI_GATEWAY=site):
        assert "".join(run(main())) == "Good morning, all of you"


def test_a_caller_that_leaves_while_something_is_held_closes_everything() -> None:
    class Stuck(Answer):
        """Sends two pieces, and then nothing."""

        async def read(self, patience: float | None = None) -> bytes | None:
            if not self.steps:
                await asyncio.Event().wait()
            return await super().read(patience)

    async def main() -> bool:
        answer = Stuck(*chat_events("x")[:1], headers=[SSE])
        reply = await gateway.handle(make_arrival(CHAT, JSON, KEY, body=request(stream=True)), Scripted(answer))
        assert isinstance(reply.body, ReplyBody)
        reading = asyncio.ensure_future(anext(reply.body))
        await asyncio.sleep(0.01)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await reply.aclose()
        assert len(asyncio.all_tasks()) == 1
        return answer.is_closed

    site = {
        "PROVIDERS": {"openai": {"OPTIONS": {"api_key": "x"}}},
        "KEYS": {"team": "gw_a-key-of-the-settings"},
        "GUARDRAILS": {"pii": REDACTION},
    }
    with override_settings(AI_GATEWAY=site):
        assert run(main())
