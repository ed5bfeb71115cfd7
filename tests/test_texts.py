"""The texts in a document, and the document with some of them changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ai_gateway.edits import Edit, applied, followed_by, in_order
from ai_gateway.texts import rewritten, texts_in

CHAT = b"""{"model": "m", "messages": [
  {"role": "system", "content": "Be brief."},
  {"role": "user", "content": [{"type": "text", "text": "caf\\u00e9 \\"x\\""},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,%s"}}]},
  {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function",
    "function": {"name": "find", "arguments": "{\\"q\\": \\"tea\\"}"}}]}]}""" % (b"A" * 100)

MESSAGES = b"""{"model": "m", "system": "S", "messages": [{"role": "assistant", "content": [
  {"type": "tool_use", "id": "t", "name": "put", "input": {"name": "Ann", "type": "x", "deep": [{"id": "y"}]}}]}]}"""

GEMINI = b"""{"systemInstruction": {"parts": [{"text": "S"}]}, "contents": [{"role": "user", "parts": [
  {"text": "hi"}, {"functionResponse": {"name": "f", "response": {"model": "secret"}}}]}]}"""

RESPONSES = b"""{"model": "m", "instructions": "I", "input": [{"type": "message", "role": "user",
  "content": [{"type": "input_text", "text": "hi"}]},
  {"type": "function_call_output", "call_id": "c", "output": "done"}]}"""


CONVERSE = b"""{"messages": [{"role": "user", "content": [
  {"toolResult": {"toolUseId": "t", "content": [{"json": {"name": "Ann", "id": "x"}}]}}]}]}"""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (CHAT, ["Be brief.", 'café "x"', '{"q": "tea"}']),
        (MESSAGES, ["S", "Ann", "x", "y"]),
        (GEMINI, ["S", "hi", "secret"]),
        (RESPONSES, ["I", "hi", "done"]),
        (CONVERSE, ["Ann", "x"]),
        (b'{"tools": [{"name": "put", "input_examples": [{"name": "Ann"}]}]}', ["Ann"]),
        (b'{"input": ["a", "b"], "input2": "c"}', ["a", "b", "c"]),
        (b'["a", {"unheard_of": "seen"}]', ["a", "seen"]),
        (b'{"text": ""}', []),
    ],
)
def test_every_string_is_a_text_but_for_those_of_the_form(body: bytes, expected: list[str]) -> None:
    assert [text.value for text in texts_in(body)] == expected


B64 = "secretword" + "A" * 62


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": B64}},
        {"type": "document", "source": {"data": B64 + "==", "media_type": "application/pdf", "type": "base64"}},
        {"type": "input_audio", "input_audio": {"data": B64, "format": "wav"}},
        {"inlineData": {"mimeType": "image/png", "data": B64}},
        {"inline_data": {"mime_type": "text/plain", "data": B64}},
        {"audio": {"id": "a", "data": B64}},
        {"type": "redacted_thinking", "data": B64},
        {"type": "image", "mimeType": "image/png", "data": B64},
        {"image": {"format": "png", "source": {"bytes": B64}}},
        {"b64_json": B64},
        {"type": "input_image", "image_url": f"data:image/png;base64,{B64}"},
        {"file": {"file_data": f"data:application/pdf;base64,{B64}"}},
    ],
)
def test_media_are_no_text(part: dict[str, Any]) -> None:
    assert texts_in(json.dumps({"messages": [{"content": [part]}]}).encode()) == []


@pytest.mark.parametrize(
    "part",
    [
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": B64}},
        {"type": "document", "source": {"type": "text", "media_type": "image/png", "data": B64}},
        {"type": "input_text", "data": B64},
        {"data": B64},
        {"media_type": "text/plain", "data": B64},
        {"image_url": {"url": B64}},
        {"image_url": B64},
        {"file_url": B64},
        {"bytes": "short secretword"},
    ],
)
def test_what_is_spelled_like_media_and_is_none_is_text(part: dict[str, Any]) -> None:
    (text,) = texts_in(json.dumps({"messages": [{"content": [part]}]}).encode())
    assert "secretword" in text.value


def test_who_says_that_it_is_media_and_that_it_is_text_says_it_is_text() -> None:
    body = f'{{"source": {{"type": "base64", "type": "text", "data": "{B64}"}}}}'.encode()
    assert [text.value for text in texts_in(body)] == [B64]


def test_media_in_great_number_are_told_apart_in_time() -> None:
    body = b'{"content": {"type": "base64", %s"x": ""}}' % (b'"data": "%s", ' % B64.encode() * 20_000)
    assert texts_in(body) == []


def test_only_a_changed_text_is_written_anew() -> None:
    chosen = texts_in(CHAT)[1]
    assert rewritten(CHAT, {chosen: "tea"}) == CHAT.replace(b'"caf\\u00e9 \\"x\\""', b'"tea"')
    assert rewritten(CHAT, {}) == CHAT


def test_both_of_two_equal_keys_are_seen() -> None:
    assert [text.value for text in texts_in(b'{"content": "a", "content": "b"}')] == ["a", "b"]


def test_what_is_json_reads_without_its_escapes() -> None:
    arguments = texts_in(CHAT)[2]
    assert (arguments.is_json, arguments.reading()) == (True, None)
    texts = {"arguments": r'{"x": "secret\u0077ord', "output": r' ["\u0077ord"]', "content": r"[\u0077ord"}
    body = json.dumps(texts).encode()
    values = [(text.is_json, getattr(text.reading(), "value", None)) for text in texts_in(body)]
    assert values == [(True, '{"x": "secretword'), (True, ' ["word"]'), (False, None)]


def test_half_a_surrogate_pair_stays_an_escape() -> None:
    body = b'{"content": "\\ud800 x"}'
    text = texts_in(body)[0]
    assert rewritten(body, {text: text.value}) == body


def test_of_edits_that_overlap_the_first_stays() -> None:
    assert in_order([Edit(2, 5, "b"), Edit(0, 3, "a"), Edit(0, 1, "c")]) == [Edit(0, 3, "a")]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([Edit(0, 2, "X")], [Edit(3, 5, "YY")]),  # Apart.
        ([Edit(2, 4, "XYZ")], [Edit(3, 4, "-")]),  # Inside what was written.
        ([Edit(2, 4, "XYZ")], [Edit(0, 3, "-")]),  # Over its edge.
        ([Edit(1, 2, ""), Edit(4, 6, "long one")], [Edit(0, 2, "."), Edit(8, 10, "..")]),
        ([Edit(0, 8, "a")], [Edit(0, 1, "b")]),  # All of it.
        ([Edit(2, 4, "")], [Edit(1, 3, "-")]),  # Over what was taken out.
        ([Edit(3, 3, "in")], [Edit(0, 3, "-"), Edit(5, 6, "+")]),
    ],
)
def test_two_changes_are_made_one(first: list[Edit], second: list[Edit]) -> None:
    text = "abcdefgh"
    assert applied(text, followed_by(text, first, second)) == applied(applied(text, first), second)


def test_a_change_of_thousands_of_places_may_follow_one_of_as_many() -> None:
    # Step by step through all of them for each would take minutes.
    text = "a@x " * 50_000
    first = [Edit(place, place + 3, "[E]") for place in range(0, len(text), 4)]
    second = [Edit(place, place + 2, "") for place in range(1, len(text), 4)]
    assert applied(text, followed_by(text, first, second)) == "[ " * 50_000


def test_the_strings_of_a_document_are_read_whatever_they_are_written_with() -> None:
    body = rb'{"\u0061": [{"b\n": "\ud83d\ude00"}, ["x", {"a": "\udc00\\"}]], "a": "\u0061"}'
    found = [(text.value, text.path) for text in texts_in(body)]
    assert found == [("\U0001f600", ("a", "b\n")), ("x", ("a",)), ("\udc00\\", ("a", "a")), ("a", ("a",))]
