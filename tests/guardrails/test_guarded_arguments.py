"""Guardrails of the arguments of tools."""

from __future__ import annotations

import json

import pytest

from tests.factories import Answer
from tests.guardrails.conversation import FORMATS, MAIL, REDACTION, SSE, WORDS, ask, events, plain, request

pytestmark = pytest.mark.usefixtures("books")


def test_arguments_of_tools_are_looked_into() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "send", "arguments": ""}}
    pieces = ['{"to": "an', "n@mail.exam", 'ple"}']
    calls = [{**call}, *({"index": 0, "function": {"arguments": piece}} for piece in pieces)]
    written = events(
        *({"choices": [{"index": 0, "delta": {"tool_calls": [each]}}]} for each in calls), end=b"data: [DONE]\n\n"
    )
    found = ask({"pii": REDACTION}, request(stream=True), Answer(*written, headers=[SSE]))
    values = [json.loads(line[6:]) for line in found.body.decode().split("\n") if line.startswith("data: {")]
    arguments = [value["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] for value in values]
    assert json.loads("".join(arguments)) == {"to": "[EMAIL_1]"}


def test_arguments_are_looked_into_as_they_read() -> None:
    words = {"words": {**WORDS, "EVERYWHERE": True}}
    function = {"name": "f", "arguments": r'{"x": "for\u0062idden"}'}
    turn = {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": function}]}
    said = [{"role": "user", "content": "hi"}, turn, {"role": "tool", "tool_call_id": "c", "content": "ok"}]
    assert ask(words, json.dumps({"model": "m", "messages": said}).encode()).status == 400
    output = {"type": "function_call_output", "call_id": "c", "output": r'{"x": "for\u0062idden"}'}
    assert ask(words, json.dumps({"model": "m", "input": [output]}).encode(), path="/v1/responses").status == 400
    answer = plain(
        {"choices": [{"index": 0, "message": {"role": "assistant", "tool_calls": [{"function": function}]}}]}
    )
    assert ask(words, request(), answer).status == 400


def test_arguments_stay_json_when_they_are_changed() -> None:
    values = {"to": f'"Ann"\n{MAIL}', "place": "Köln"}
    message = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": json.dumps(values)}}]}
    found = ask({"pii": REDACTION}, request(), plain({"choices": [{"index": 0, "message": message}]}))
    (call,) = json.loads(found.body)["choices"][0]["message"]["tool_calls"]
    assert call["function"]["arguments"] == json.dumps({**values, "to": '"Ann"\n[EMAIL_1]'})


def test_what_is_restored_in_arguments_ends_no_string() -> None:
    entry = {**REDACTION, "OPTIONS": {"restore": True, "patterns": {"QUOTE": '"[a-z]{1,9}"'}}}
    message = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"x": "say [QUOTE_1]"}'}}]}
    answer = plain({"choices": [{"index": 0, "message": message}]})
    found = ask({"pii": entry}, request('He said "hello".'), answer)
    (call,) = json.loads(found.body)["choices"][0]["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"x": 'say "hello"'}


def chat_arguments(*pieces: str) -> list[bytes]:
    calls = [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces]
    return events(*({"choices": [{"index": 0, "delta": call}]} for call in calls), end=b"data: [DONE]\n\n")


def messages_arguments(*pieces: str) -> list[bytes]:
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return events(*({"type": "content_block_delta", "index": 1, "delta": delta} for delta in deltas))


def responses_arguments(*pieces: str) -> list[bytes]:
    base = {"type": "response.function_call_arguments.delta", "output_index": 0, "item_id": "i"}
    return events(*({**base, "delta": piece} for piece in pieces))


ARGUMENTS = {"chat": chat_arguments, "messages": messages_arguments, "responses": responses_arguments}


def arguments_of(body: bytes) -> str:
    """The arguments that a client puts together, in whatever format."""
    found = []
    for line in body.decode().split("\n"):
        value = json.loads(line[6:]) if line.startswith("data: {") else {}
        for choice in value.get("choices", ()):
            found.append(choice["delta"]["tool_calls"][0]["function"]["arguments"])
        delta = value.get("delta", "")
        found.append(delta if isinstance(delta, str) else delta["partial_json"])
    return "".join(found)


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize("size", [1, 4, 7, 1000])
def test_arguments_of_a_stream_are_looked_into_as_they_read(name: str, size: int) -> None:
    path, body, _ = FORMATS[name]
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in MAIL)
    values = json.dumps({"place": "Köln, " * 20, "to": "MAIL", "and": f'"x"\n{MAIL}'}).replace("MAIL", escaped)
    pieces = [values[start : start + size] for start in range(0, len(values), size)]
    entry = {**REDACTION, "WINDOW": 60}
    found = ask({"pii": entry}, body, Answer(*ARGUMENTS[name](*pieces), headers=[SSE]), path=path)
    expected = {"place": "Köln, " * 20, "to": "[EMAIL_1]", "and": '"x"\n[EMAIL_1]'}
    assert arguments_of(found.body) == json.dumps(expected)
