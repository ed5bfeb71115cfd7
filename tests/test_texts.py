"""The texts in a document, and the document with some of them changed."""

from __future__ import annotations

import json

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


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (CHAT, ["Be brief.", 'café "x"', '{"q": "tea"}']),
        (MESSAGES, ["S", "Ann", "x", "y"]),
        (GEMINI, ["S", "hi", "secret"]),
        (RESPONSES, ["I", "hi", "done"]),
        (b'{"input": ["a", "b"], "input2": "c"}', ["a", "b", "c"]),
        (b'["a", {"unheard_of": "seen"}]', ["a", "seen"]),
        (b'{"text": ""}', []),
    ],
)
def test_every_string_is_a_text_but_for_those_of_the_form(body: bytes, expected: list[str]) -> None:
    assert [text.value for text in texts_in(body)] == expected


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
