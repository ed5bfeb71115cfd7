"""Streams of chat completions, as they are recorded; their ends and failures."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from ai_gateway.errors import Kind, ProviderError, UpstreamClosed, UpstreamProtocolError
from ai_gateway.protocols.conversation import Refusal, Stop, Text, Thinking, TokenUsage, ToolCall
from ai_gateway.protocols.events import Failed, Finished, Opened, Started
from ai_gateway.protocols.openai_chat import PROTOCOL
from ai_gateway.protocols.openai_chat.usage import read_usage
from tests.protocols.openai_chat.helpers import (
    STREAMS,
    accumulated,
    answer_of,
    call,
    calls,
    chunk,
    chunks_of,
    cuts,
    events_of,
    events_of_bytes,
    failure_of,
    pieces,
    raw_chunks,
    texts,
    written,
)
from tests.protocols.streams import check_grammar, collected
from tests.protocols.vectors import Vector

UNNUMBERED = {
    "mistral-synchronous-streaming-chat-completions-with-tool-call-response-0",
    "openai-compatible-anthropic-fallback-tool-call-0",
}
"""Streams whose calls have no number, or begin with 1: the SDK cannot put them together, the gateway must."""

NAMED = {
    "mistral-synchronous-streaming-chat-completions-with-tool-call-response-0": [
        ("EscTeQY62", "get_weather", '{"city": "San Francisco"}')
    ],
    "openai-compatible-anthropic-fallback-tool-call-0": [("toolu_sanitized", "read_file", '{"path": "a.txt"}')],
}

vectors = pytest.mark.parametrize("vector", STREAMS, ids=str)


class TestRecordedStreams:
    @vectors
    def test_the_grammar_holds(self, vector: Vector) -> None:
        check_grammar(events_of_bytes([vector.stream]))

    @vectors
    def test_the_answer_is_what_the_sdk_makes_of_it(self, vector: Vector) -> None:
        answer = collected(events_of_bytes([vector.stream]))
        if vector.name in UNNUMBERED:
            assert calls(answer) == NAMED[vector.name]
            return
        choices: list[dict[str, Any]] = [each for each in raw_chunks(vector) if each["choices"]]
        first = [each for each in choices if each["choices"][0]["index"] == 0]
        message = accumulated(first).to_dict()["choices"][0]["message"]  # type: ignore[index]
        assert texts(answer, Text) == (message.get("content") or "")
        assert texts(answer, Refusal) == (message.get("refusal") or "")
        assert texts(answer, Thinking) == (message.get("reasoning_content") or message.get("reasoning") or "")
        expected = [
            (each["id"], each["function"]["name"], each["function"]["arguments"] or "")
            for each in message.get("tool_calls") or ()
        ]
        assert calls(answer) == expected

    @vectors
    def test_the_usage_is_the_last_that_came(self, vector: Vector) -> None:
        answer = collected(events_of_bytes([vector.stream]))
        told = [usage for each in raw_chunks(vector) if (usage := read_usage(each.get("usage"), each.get("x_groq")))]
        assert answer.usage == (told[-1] if told else None)
        for each in raw_chunks(vector):
            if answer.usage and each.get("usage"):
                assert answer.usage.total_input + answer.usage.total_output == each["usage"]["total_tokens"]

    @vectors
    @pytest.mark.parametrize("size", [1, 7, 1024, None])
    def test_it_does_not_matter_how_the_bytes_are_cut(self, vector: Vector, size: int | None) -> None:
        assert events_of_bytes(cuts(vector.stream, size)) == events_of_bytes([vector.stream])

    @vectors
    def test_a_stream_without_its_end_is_no_answer(self, vector: Vector) -> None:
        """Up to the chunk with the reason, which proves the end."""
        stream = vector.stream
        is_proof = [b'"finish_reason":"' in event for event in stream.split(b"\n\n")]
        proof = len(b"\n\n".join(stream.split(b"\n\n")[: is_proof.index(True)]))
        ends = [at for at in range(proof) if stream[at : at + 2] == b"\n\n"]
        chance = random.Random(vector.name)
        for end in {*ends[-40:], *(chance.randrange(proof) for _ in range(25)), proof}:
            error = failure_of(events_of_bytes([stream[:end]])).error
            assert isinstance(error, UpstreamClosed | UpstreamProtocolError)

    @vectors
    def test_what_is_written_the_sdk_reads_as_the_same(self, vector: Vector) -> None:
        answer = collected(events_of_bytes([vector.stream]))
        chunks = chunks_of(written(events_of_bytes([vector.stream])))
        completion = accumulated(chunks).to_dict()
        choice: dict[str, Any] = completion["choices"][0]  # type: ignore[index]
        assert (choice["message"].get("content") or "") == texts(answer, Text)
        assert (choice["message"].get("refusal") or "") == texts(answer, Refusal)
        assert choice["message"].get("reasoning_content", "") == texts(answer, Thinking)
        sent = [
            (each["id"], each["function"]["name"], each["function"]["arguments"])
            for each in choice["message"].get("tool_calls") or ()
        ]
        assert sent == [(id, name, arguments or "{}") for id, name, arguments in calls(answer)]
        assert read_usage(completion.get("usage"), completion.get("x_groq")) == answer.usage

    @vectors
    def test_what_is_written_reads_as_the_same(self, vector: Vector) -> None:
        answer = collected(events_of_bytes([vector.stream]))
        again = collected(events_of_bytes([written(events_of_bytes([vector.stream]))]))
        assert texts(again, Text) == texts(answer, Text)
        assert texts(again, Thinking) == texts(answer, Thinking)
        assert [type(part) for part in again.parts] == [type(part) for part in answer.parts]
        assert (again.stop, again.usage) == (answer.stop, answer.usage)


COUNTS = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


class TestTheEnd:
    TEXT = chunk({"content": "Hi"})

    @pytest.mark.parametrize(
        "datas",
        [
            [chunk(reason="stop"), chunk(usage=COUNTS), b"[DONE]"],
            [chunk(reason="stop"), chunk(usage=COUNTS)],
            [chunk(reason="stop", usage=COUNTS), b"[DONE]"],
            [chunk(reason="stop"), chunk(reason="stop", usage=COUNTS), b"[DONE]"],
            [chunk(usage=COUNTS), b"[DONE]"],
            [chunk(reason="stop", x_groq={"usage": COUNTS}), b"[DONE]"],
            [chunk(reason="stop", usage=COUNTS), chunk(usage=None), b"[DONE]"],
        ],
    )
    def test_it_comes_once_and_with_the_usage(self, datas: list[bytes]) -> None:
        events = events_of([self.TEXT, *datas])
        check_grammar(events)
        assert events[-1] == Finished(stop=Stop.END, usage=TokenUsage(input=1, output=2))

    @pytest.mark.parametrize(
        ("reason", "stop"),
        [
            ("stop", Stop.END),
            ("length", Stop.MAX_TOKENS),
            ("content_filter", Stop.FILTERED),
            ("tool_calls", Stop.END),
            ("eos", Stop.END),
            ("", Stop.END),
            ("model_length", Stop.CONTEXT_FULL),
        ],
    )
    def test_the_reason_without_calls(self, reason: str, stop: Stop) -> None:
        assert answer_of(self.TEXT, chunk(reason=reason)).stop is stop

    @pytest.mark.parametrize(
        ("reasons", "stop"),
        [
            (["stop"], Stop.TOOL_USE),
            (["tool_calls", "stop"], Stop.TOOL_USE),
            (["function_call"], Stop.TOOL_USE),
            ([], Stop.TOOL_USE),
            (["length"], Stop.MAX_TOKENS),
        ],
    )
    def test_the_reason_with_calls(self, reasons: list[str], stop: Stop) -> None:
        datas = [pieces(call("{}", index=0, id="a", name="f")), *(chunk(reason=reason) for reason in reasons)]
        assert answer_of(*datas).stop is stop

    def test_a_stop_sequence_that_the_provider_tells(self) -> None:
        choice = {"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "END"}
        answer = answer_of(self.TEXT, chunk(choices=[choice]))
        assert (answer.stop, answer.stop_sequence) == (Stop.STOP_SEQUENCE, "END")

    def test_nothing_comes_behind_it(self) -> None:
        reader = PROTOCOL.stream_reader()
        for data in (self.TEXT, chunk(reason="stop"), b"[DONE]"):
            reader.read(None, data)
        assert reader.read(None, self.TEXT) == []
        assert reader.end() == []

    @pytest.mark.parametrize(
        "datas",
        [[], [chunk()], [TEXT], [chunk({"content": "Hi"}, "")], [pieces(call('{"x"', index=0, id="a", name="f"))]],
    )
    def test_without_proof_it_is_a_failure(self, datas: list[bytes]) -> None:
        assert isinstance(failure_of(events_of(datas)).error, UpstreamClosed)

    def test_done_alone_is_no_answer(self) -> None:
        assert isinstance(failure_of(events_of([b"[DONE]"])).error, UpstreamProtocolError)

    def test_azures_first_chunk_does_not_start_it(self) -> None:
        first = chunk(id="", model="", prompt_filter_results=[])
        assert events_of([first], is_ended=False) == []
        assert answer_of(first, self.TEXT).model == "x"

    def test_other_choices_are_none_of_it(self) -> None:
        other = {"index": 1, "delta": {"content": "B"}, "finish_reason": "stop"}
        assert answer_of(self.TEXT, chunk(choices=[other]), chunk(reason="stop")).parts == [Text(text="Hi")]

    def test_an_answer_without_content(self) -> None:
        assert answer_of(chunk({"role": "assistant", "content": ""}), chunk(reason="stop")).parts == []

    def test_a_json_body_in_place_of_a_stream(self) -> None:
        message = {"role": "assistant", "content": "Hi", "tool_calls": [call("{}", id="a", name="f")]}
        body = {"id": "i", "model": "x", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
        answer = collected(events_of_bytes(cuts(json.dumps(body).encode(), 5)))
        assert answer.parts == [Text(text="Hi"), ToolCall(id="a", name="f", arguments="{}")]
        assert isinstance(failure_of(events_of_bytes([json.dumps(body).encode()[:-1]])).error, UpstreamProtocolError)


class TestFailures:
    TEXT = chunk({"content": "Hi"})

    @pytest.mark.parametrize(
        ("data", "status", "kind"),
        [
            (b'{"error":{"message":"Boom","type":"server_error","code":null}}', 502, Kind.UPSTREAM),
            (b'{"error":{"code":429,"message":"Slow down"},"choices":[]}', 429, Kind.RATE_LIMIT),
            (b'{"error":"rate_limit reached"}', 429, Kind.RATE_LIMIT),
            (b'[{"error":{"code":503,"message":"Busy","status":"UNAVAILABLE"}}]', 503, Kind.OVERLOADED),
            (
                b'{"error":{"message":"Failed to call","type":"invalid_request_error","code":"tool_use_failed"}}',
                400,
                Kind.BAD_REQUEST,
            ),
        ],
    )
    @pytest.mark.parametrize("before", [[], [TEXT]])
    def test_an_error_of_the_provider(self, data: bytes, status: int, kind: Kind, before: list[bytes]) -> None:
        error = failure_of(events_of([*before, data])).error
        assert isinstance(error, ProviderError)
        assert (error.status, error.kind) == (status, kind)

    def test_an_event_of_that_name_is_one(self) -> None:
        reader = PROTOCOL.stream_reader()
        (event,) = reader.read("error", b'{"message":"Boom","code":400}')
        assert isinstance(event, Failed)
        assert event.error.status == 400

    def test_a_reason_that_says_so(self) -> None:
        assert isinstance(failure_of(events_of([self.TEXT, chunk(reason="error")])).error, ProviderError)

    @pytest.mark.parametrize(
        "data",
        [
            b"{",
            b"null",
            b"3",
            b'"x"',
            b"[]",
            b'{"choices":3}',
            b'{"choices":[3]}',
            b'{"choices":[{"delta":{"content":3}}]}',
            b'{"id":NaN}',
            b"\xff",
            b"[" * 100_000,
        ],
    )
    def test_a_broken_chunk(self, data: bytes) -> None:
        events = events_of([self.TEXT, data])
        failure_of(events)
        assert [type(event) for event in events] == [Started, Opened, Failed]

    @pytest.mark.parametrize("data", [b"", b" ", b'{"error":null,"choices":[]}', b"{}", b'{"choices":null}'])
    def test_what_says_nothing_is_skipped(self, data: bytes) -> None:
        assert answer_of(self.TEXT, data, chunk(reason="stop")).parts == [Text(text="Hi")]

    def test_half_a_surrogate_pair(self) -> None:
        first, second = (chunk({"content": half}) for half in ("\ud83d", "\ude00"))
        events = events_of([first, second, chunk(reason="stop")])
        assert rb"\ud83d" in written(events)


ODD: list[Any] = [None, True, 0, -1, 1.5, "", "x", [], {}, [None], [{}], [[]], {"a": 1}, 10**30]


def mutated(value: Any, chance: random.Random) -> Any:
    """Copy JSON with some of it left out, and some of it replaced by what does not belong there."""
    if chance.random() < 0.05:
        return chance.choice(ODD)
    if isinstance(value, dict):
        return {name: mutated(each, chance) for name, each in value.items() if chance.random() > 0.03}
    return [mutated(each, chance) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("vector", STREAMS, ids=str)
def test_whatever_comes_nothing_breaks(vector: Vector) -> None:
    """The reader gives events that hold the grammar, or a failure; and what it gives can be written."""
    chance = random.Random(vector.name)
    for _ in range(20):
        datas = [json.dumps(mutated(each, chance)).encode() for each in raw_chunks(vector)[-12:]]
        events = events_of([*datas, b"[DONE]"])
        if isinstance(events[-1], Failed):
            failure_of(events)
        else:
            check_grammar(events)
            assert written(events).endswith(b"data: [DONE]\n\n")
