"""Streams of chat completions: what is read of a provider's, what is written for a caller."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from openai.types.chat import ChatCompletionChunk

from ai_gateway.errors import Kind, Overloaded, ProviderError, UpstreamClosed, UpstreamProtocolError
from ai_gateway.protocols.conversation import (
    Citation,
    Reasoning,
    Refusal,
    Stop,
    Text,
    Thinking,
    TokenUsage,
    ToolCall,
)
from ai_gateway.protocols.events import Cited, Closed, Event, Failed, Finished, Grown, Opened, Signed, Started
from ai_gateway.protocols.jsontext import loads
from ai_gateway.protocols.openai_chat import PROTOCOL
from ai_gateway.protocols.openai_chat.usage import read_usage
from ai_gateway.protocols.transcript import replay
from tests.protocols.openai_chat.helpers import (
    CARRIER,
    HEAD,
    STREAMS,
    accumulated,
    answer_of,
    asking,
    calls,
    chunk,
    chunks_of,
    collected,
    cuts,
    events_of,
    events_of_bytes,
    failure_of,
    raw_chunks,
    signature,
    texts,
    without_states,
    written,
)
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


def call(arguments: str = "", **members: Any) -> dict[str, Any]:
    """Make a piece of a call; `name` goes into its function."""
    function = {"arguments": arguments} | ({"name": members.pop("name")} if "name" in members else {})
    return {**members, "function": function}


def pieces(*entries: dict[str, Any]) -> bytes:
    """Make a chunk with pieces of calls."""
    return chunk({"tool_calls": list(entries)})


def check_grammar(events: list[Event]) -> None:
    """Hold events against the rules of the vocabulary."""
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    opened, closed = 0, set[int]()
    for event in events[1:-1]:
        if isinstance(event, Opened):
            assert event.key == opened
            opened += 1
        else:
            assert isinstance(event, Grown | Signed | Cited | Closed)
            assert event.key < opened
            assert event.key not in closed
            assert not isinstance(event, Grown) or event.text
            if isinstance(event, Closed):
                closed.add(event.key)
    assert closed == set(range(opened))


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
        told = [usage for each in raw_chunks(vector) if (usage := read_usage(each))]
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
        assert read_usage(completion) == answer.usage

    @vectors
    def test_what_is_written_reads_as_the_same(self, vector: Vector) -> None:
        answer = collected(events_of_bytes([vector.stream]))
        again = collected(events_of_bytes([written(events_of_bytes([vector.stream]))]))
        assert texts(again, Text) == texts(answer, Text)
        assert texts(again, Thinking) == texts(answer, Thinking)
        assert [type(part) for part in again.parts] == [type(part) for part in answer.parts]
        assert (again.stop, again.usage) == (answer.stop, answer.usage)


class TestCallsOfOddProviders:
    """However a provider numbers and names its calls, they come out whole."""

    TWO = (("a", "add", '{"x":1}'), ("b", "mul", '{"x":2}'))

    @pytest.mark.parametrize(
        "deltas",
        [
            pytest.param(
                [
                    [call('{"x"', index=0, id="a", name="add")],
                    [call('{"x"', index=1, id="b", name="mul")],
                    [call(":1}", index=0)],
                    [call(":2}", index=1)],
                ],
                id="interleaved",
            ),
            pytest.param(
                [[call('{"x":1}', id="a", name="add")], [call('{"x":2}', id="b", name="mul")]], id="no number"
            ),
            pytest.param(
                [[call('{"x":1}', id="a", name="add"), call('{"x":2}', id="b", name="mul")]],
                id="no number, in one delta",
            ),
            pytest.param(
                [
                    [call('{"x"', index=-1, id="a", name="add")],
                    [call(":1}", index=-1)],
                    [call('{"x":2}', index=-1, id="b", name="mul")],
                ],
                id="number -1",
            ),
            pytest.param(
                [
                    [call('{"x"', index=0, id="a", name="add")],
                    [call(":1}", index=0)],
                    [call('{"x"', index=0, id="b", name="mul")],
                    [call(":2}", index=0)],
                ],
                id="number 0 for all",
            ),
            pytest.param(
                [
                    [call('{"x"', index=0, id="a", name="add")],
                    [call(":1}", index=0, id="a", name="add")],
                    [call('{"x"', index=1, id="b", name="mul")],
                    [call(":2}", index=1, id="b", name="mul")],
                ],
                id="id and name repeated",
            ),
            pytest.param(
                [
                    [call("", index=0, id="a")],
                    [call('{"x":1}', index=0)],
                    [call("", index=0, name="add")],
                    [call('{"x":2}', index=1, id="b")],
                    [call("", index=1, name="mul")],
                ],
                id="late names",
            ),
            pytest.param(
                [
                    [call("", index=0, name="add")],
                    [call('{"x":1}', index=0, id="a")],
                    [call("", index=1, name="mul")],
                    [call('{"x":2}', index=1, id="b")],
                ],
                id="late ids",
            ),
            pytest.param(
                [[call('{"x":1}', index=1, id="a", name="add")], [call('{"x":2}', index=3, id="b", name="mul")]],
                id="numbers with gaps",
            ),
        ],
    )
    def test_two_calls(self, deltas: list[list[dict[str, Any]]]) -> None:
        events = events_of([*(pieces(*each) for each in deltas), chunk(reason="tool_calls"), b"[DONE]"])
        check_grammar(events)
        assert tuple(calls(collected(events))) == self.TWO

    @pytest.mark.parametrize(
        "deltas",
        [
            pytest.param([[call('{"x":1}', index=0, id="", name="f"), call('{"x":2}', index=1, id="", name="f")]]),
            pytest.param([[call('{"x":1}', index=0, id="", name="f"), call('{"x":2}', index=0, id="", name="f")]]),
            pytest.param([[call('{"x":1}', name="f")], [call('{"x":2}', name="f")]]),
            pytest.param([[call('{"x":1}', index=0, name="f")], [call('{"x":2}', index=0, name="f")]]),
        ],
    )
    def test_two_calls_without_ids_get_some(self, deltas: list[list[dict[str, Any]]]) -> None:
        answer = answer_of(*(pieces(*each) for each in deltas), chunk(reason="stop"))
        assert [(name, arguments) for _, name, arguments in calls(answer)] == [("f", '{"x":1}'), ("f", '{"x":2}')]
        first, second = (id for id, _, _ in calls(answer))
        assert first != second
        assert first.startswith("call_")
        assert calls(answer) == calls(answer_of(*(pieces(*each) for each in deltas), chunk(reason="stop")))

    def test_equal_ids_of_two_calls_are_made_different(self) -> None:
        answer = answer_of(pieces(call("{}", index=0, id="0", name="f")), pieces(call("{}", index=1, id="0", name="g")))
        assert [name for _, name, _ in calls(answer)] == ["f", "g"]
        assert len({id for id, _, _ in calls(answer)}) == 2

    def test_a_name_in_every_piece_is_one_call(self) -> None:
        answer = answer_of(*(pieces(call(each, index=0, id="a", name="f")) for each in ('{"x"', ":", "1}")))
        assert calls(answer) == [("a", "f", '{"x":1}')]

    def test_arguments_may_be_an_object(self) -> None:
        entry = {"index": 0, "id": "a", "function": {"name": "f", "arguments": {"x": 1}}}
        assert calls(answer_of(pieces(entry))) == [("a", "f", '{"x":1}')]

    def test_a_call_without_a_name_is_none(self) -> None:
        answer = answer_of(pieces(call("{}", index=0, id="a")), chunk(reason="tool_calls"))
        assert (answer.parts, answer.stop) == ([], Stop.END)

    def test_a_call_without_arguments_is_closed_without(self) -> None:
        assert calls(answer_of(pieces(call("", index=0, id="a", name="f")))) == [("a", "f", "")]

    def test_the_older_function_call(self) -> None:
        answer = answer_of(
            chunk({"function_call": {"name": "f", "arguments": ""}}),
            chunk({"function_call": {"arguments": '{"x"'}}),
            chunk({"function_call": {"arguments": ":1}"}}),
            chunk(reason="function_call"),
        )
        assert [(name, arguments) for _, name, arguments in calls(answer)] == [("f", '{"x":1}')]
        assert answer.stop is Stop.TOOL_USE

    def test_a_custom_tool(self) -> None:
        answer = answer_of(
            pieces({"index": 0, "id": "a", "type": "custom", "custom": {"name": "sh", "input": "l"}}),
            pieces({"index": 0, "custom": {"input": "s"}}),
        )
        assert answer.parts == [ToolCall(id="a", name="sh", arguments="ls", is_custom=True)]

    def test_googles_signature_is_the_calls_state(self) -> None:
        extra = {"extra_content": {"google": {"thought_signature": "S"}}}
        answer = answer_of(pieces({**call("{}", index=0, id="a", name="f"), **extra}))
        assert isinstance(answer.parts[0], ToolCall)
        assert answer.parts[0].state == signature("S", "openai_chat")

    def test_text_goes_on_behind_calls(self) -> None:
        answer = answer_of(
            chunk({"content": "A"}), pieces(call("{}", index=0, id="a", name="f")), chunk({"content": "B"})
        )
        assert [type(part) for part in answer.parts] == [Text, ToolCall, Text]

    @pytest.mark.parametrize("index", ["0", None, 1.5, {}, True])
    def test_an_odd_number_breaks_nothing(self, index: Any) -> None:
        assert calls(answer_of(pieces(call("{}", index=index, id="a", name="f")))) == [("a", "f", "{}")]


class TestReasoning:
    @pytest.mark.parametrize(
        "deltas",
        [
            [{"reasoning_content": "Let me"}, {"reasoning_content": " see"}],
            [{"reasoning": "Let me"}, {"reasoning": " see"}],
            [{"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Let me see"}]}]}],
            [
                {"reasoning": "Let me", "reasoning_details": [{"type": "reasoning.text", "text": "Let me"}]},
                {"reasoning": " see", "reasoning_details": [{"type": "reasoning.text", "text": " see"}]},
            ],
            [{"reasoning_content": "Let me see", "reasoning": "Let me see"}],
        ],
    )
    def test_it_is_read_once_wherever_it_stands(self, deltas: list[dict[str, Any]]) -> None:
        answer = answer_of(*map(chunk, deltas), chunk({"content": "42"}))
        assert answer.parts == [Thinking(text="Let me see"), Text(text="42")]

    def test_reasoning_and_text_in_one_delta(self) -> None:
        answer = answer_of(chunk({"content": "42", "reasoning_content": "Hm"}))
        assert answer.parts == [Thinking(text="Hm"), Text(text="42")]

    def test_blocks_with_numbers_of_their_own_are_parts_of_their_own(self) -> None:
        detail = {"type": "reasoning.text"}
        answer = answer_of(
            chunk({"reasoning_details": [{**detail, "index": 0, "text": "A"}]}),
            chunk({"reasoning_details": [{**detail, "index": 0, "signature": "S"}]}),
            chunk({"reasoning_details": [{**detail, "index": 1, "text": "B"}]}),
        )
        first, second = answer.parts
        assert isinstance(first, Thinking)
        assert first.state is not None
        assert loads(first.state.value) == [{**detail, "index": 0, "signature": "S"}]
        assert second == Thinking(text="B")

    def test_encrypted_reasoning_is_a_state_without_text(self) -> None:
        answer = answer_of(chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "D", "id": "r"}]}))
        (part,) = answer.parts
        assert isinstance(part, Thinking)
        assert (part.text, part.is_redacted) == ("", True)
        assert part.state is not None
        assert loads(part.state.value) == [{"type": "reasoning.encrypted", "data": "D", "id": "r"}]

    def test_a_state_that_comes_behind_the_text_is_not_lost(self) -> None:
        answer = answer_of(
            chunk({"reasoning": "A", "reasoning_details": [{"type": "reasoning.summary", "summary": "A", "index": 0}]}),
            chunk({"content": "42"}),
            chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "D", "index": 0}]}),
        )
        assert [type(part) for part in answer.parts] == [Thinking, Text, Thinking]
        assert isinstance(answer.parts[2], Thinking)
        assert answer.parts[2].state is not None

    def test_a_signature_of_a_text(self) -> None:
        extra = {"extra_content": {"google": {"thought_signature": "S"}}}
        answer = answer_of(chunk({"content": "42"}), chunk({"content": "", **extra}))
        assert answer.parts == [Text(text="42", state=signature("S", "openai_chat"))]


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

    @pytest.mark.parametrize("datas", [[], [chunk()], [TEXT], [pieces(call('{"x"', index=0, id="a", name="f"))]])
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


USAGE = TokenUsage(input=5, cache_read=3, cache_write=2, output=7, reasoning=4)
STARTED = Started(id="msg_1", model="claude", created=7)


def stream(*events: Event, stop: Stop = Stop.END, **members: Any) -> list[Event]:
    """Make the events of a whole stream."""
    return [STARTED, *events, Finished(stop=stop, usage=USAGE, **members)]


def part(key: int, opened: Any, *grown: str, state: Any = None) -> list[Event]:
    """Make the events of one part."""
    signed = [Signed(key=key, state=state)] if state else []
    return [Opened(key=key, part=opened), *(Grown(key=key, text=each) for each in grown), *signed, Closed(key=key)]


def deltas(events: list[Event], **fields: Any) -> list[dict[str, Any]]:
    """Write events; give what the deltas hold."""
    chunks = chunks_of(written(events, asking(**fields)))
    return [each["choices"][0]["delta"] for each in chunks if each["choices"]]


def message(events: list[Event], **fields: Any) -> dict[str, Any]:
    """Write events; give the message that the SDK makes of them."""
    completion = accumulated(chunks_of(written(events, asking(**fields)))).to_dict()
    found: dict[str, Any] = completion["choices"][0]["message"]  # type: ignore[index]
    return found


class TestWriting:
    def test_every_chunk_has_the_same_head(self) -> None:
        chunks = chunks_of(written(stream(*part(0, Text(), "Hi", " you"))))
        for each in chunks:
            ChatCompletionChunk.model_validate(each)
            assert (each["id"], each["created"], each["model"]) == ("chatcmpl-msg_1", 7, "claude")
            assert each["object"] == "chat.completion.chunk"

    def test_text(self) -> None:
        assert deltas(stream(*part(0, Text(text="Hi"), " you"))) == [
            {"role": "assistant", "content": "", "refusal": None},
            {"content": "Hi"},
            {"content": " you"},
            {},
        ]

    def test_a_call(self) -> None:
        events = stream(*part(0, ToolCall(id="t", name="f"), '{"x"', ":1}"), stop=Stop.TOOL_USE)
        function = {"name": "f", "arguments": ""}
        assert deltas(events) == [
            {"role": "assistant", "content": None, "refusal": None},
            {"tool_calls": [{"index": 0, "id": "t", "type": "function", "function": function}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": '{"x"'}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
            {},
        ]
        assert chunks_of(written(events))[-2]["choices"][0]["finish_reason"] == "tool_calls"

    def test_a_call_without_arguments_has_an_empty_object(self) -> None:
        events = stream(*part(0, ToolCall(id="t", name="f")), stop=Stop.TOOL_USE)
        assert message(events)["tool_calls"][0]["function"]["arguments"] == "{}"

    def test_calls_side_by_side(self) -> None:
        events = stream(
            Opened(key=0, part=ToolCall(id="a", name="f")),
            Opened(key=1, part=ToolCall(id="b", name="g")),
            Grown(key=1, text="{}"),
            Grown(key=0, text='{"x":1}'),
            Closed(key=0),
            Closed(key=1),
            stop=Stop.TOOL_USE,
        )
        sent = message(events)["tool_calls"]
        assert [(each["id"], each["function"]["arguments"]) for each in sent] == [("a", '{"x":1}'), ("b", "{}")]

    def test_a_custom_tool(self) -> None:
        custom = deltas(stream(*part(0, ToolCall(id="a", name="sh", is_custom=True), "ls")))[1:3]
        assert custom == [
            {"tool_calls": [{"index": 0, "id": "a", "type": "custom", "custom": {"name": "sh", "input": ""}}]},
            {"tool_calls": [{"index": 0, "custom": {"input": "ls"}}]},
        ]

    def test_the_older_function_call(self) -> None:
        two = (*part(0, ToolCall(id="a", name="f"), '{"x":1}'), *part(1, ToolCall(id="b", name="g"), "{}"))
        chunks = chunks_of(written(stream(*two, stop=Stop.TOOL_USE), asking(uses_functions=True)))
        assert chunks[-2]["choices"][0]["finish_reason"] == "function_call"
        found = accumulated(chunks).to_dict()["choices"][0]["message"]  # type: ignore[index]
        assert found["function_call"] == {"name": "f", "arguments": '{"x":1}'}
        assert not found.get("tool_calls")

    def test_reasoning_with_its_state(self) -> None:
        events = stream(*part(0, Thinking(), "Let me", " see", state=signature()), *part(1, Text(), "42"))
        found = message(events)
        (detail,) = found["reasoning_details"]
        assert found["reasoning_content"] == detail["text"] == "Let me see"
        assert found["content"] == "42"
        assert (detail["index"], detail["type"], detail["format"]) == (0, "reasoning.text", "anthropic-claude-v1")
        opened = CARRIER.open(detail["signature"])
        assert opened is not None
        assert opened.value == "sig"

    def test_a_state_without_text_is_carried(self) -> None:
        (detail,) = message(stream(*part(0, Thinking(), state=signature()), *part(1, Text(), "42")))[
            "reasoning_details"
        ]
        assert detail["type"] == "reasoning.text"
        assert CARRIER.open(detail["signature"]) is not None

    def test_redacted_reasoning(self) -> None:
        events = stream(*part(0, Thinking(is_redacted=True, state=signature(kind="redacted"))), *part(1, Text(), "4"))
        (detail,) = message(events)["reasoning_details"]
        assert detail["type"] == "reasoning.encrypted"
        assert CARRIER.open(detail["data"]) is not None

    def test_two_blocks_keep_their_places(self) -> None:
        events = stream(
            *part(0, Text(), "\n\n"),
            *part(1, Thinking(), "A", state=signature("1")),
            *part(2, Text(), "B"),
            *part(3, ToolCall(id="t", name="f"), "{}"),
            *part(4, Thinking(), "C", state=signature("2")),
        )
        found = message(events)
        assert found["reasoning_content"] == "A\n\nC"
        assert [each["index"] for each in found["reasoning_details"]] == [0, 1]
        assert [each["position"] for each in found["reasoning_details"]] == [
            {"content": 2, "tool_calls": 0},
            {"content": 3, "tool_calls": 1},
        ]

    def test_reasoning_that_is_not_to_be_seen_is_still_carried(self) -> None:
        events = stream(*part(0, Thinking(), "A", state=signature()), *part(1, Thinking(), "B"), *part(2, Text(), "C"))
        found = message(events, reasoning=Reasoning(is_shown=False))
        assert "reasoning_content" not in found
        assert [each["text"] for each in found["reasoning_details"]] == ["A"]

    def test_a_calls_state(self) -> None:
        events = stream(*part(0, ToolCall(id="t", name="f"), "{}", state=signature("S", "gemini")))
        sealed = message(events)["tool_calls"][0]["extra_content"]["google"]["thought_signature"]
        assert CARRIER.open(sealed) is not None

    def test_a_texts_state_and_phase(self) -> None:
        found = message(stream(*part(0, Text(phase="final_answer"), "Hi", state=signature("S", "gemini"))))
        assert found["phase"] == "final_answer"
        assert CARRIER.open(found["extra_content"]["google"]["thought_signature"]) is not None

    def test_citations_come_together_at_the_end(self) -> None:
        page = Citation(url="https://a.example", title="A")
        place = Citation(format="anthropic_messages", verbatim={"type": "char_location"})
        events = stream(
            *part(0, Text(), "Hi "),
            Opened(key=1, part=Text()),
            Cited(key=1, citation=page),
            Cited(key=1, citation=place),
            Grown(key=1, text="you"),
            Closed(key=1),
        )
        found = message(events)
        assert found["annotations"] == [
            {
                "type": "url_citation",
                "url_citation": {"start_index": 3, "end_index": 6, "title": "A", "url": "https://a.example"},
            }
        ]
        assert found["citations"] == [{"type": "char_location"}]

    def test_a_refusal(self) -> None:
        found = message(stream(*part(0, Refusal(text="No"), "!")))
        assert (found["content"], found["refusal"]) == (None, "No!")

    def test_why_a_provider_refused(self) -> None:
        chunks = chunks_of(written(stream(stop=Stop.FILTERED, explanation="Policy")))
        assert chunks[-2]["choices"][0]["finish_reason"] == "content_filter"
        assert chunks[-2]["choices"][0]["delta"] == {"refusal": "Policy"}

    def test_probabilities_of_tokens(self) -> None:
        token = {"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}
        events = stream(Opened(key=0, part=Text()), Grown(key=0, text="Hi", logprobs=[token]), Closed(key=0))
        chunks = chunks_of(written(events))
        assert chunks[1]["choices"][0]["logprobs"] == {"content": [token], "refusal": None}
        assert accumulated(chunks).to_dict()["choices"][0]["logprobs"]["content"] == [token]  # type: ignore[index]

    def test_no_content_at_all(self) -> None:
        chunks = chunks_of(written(stream()))
        assert chunks[0]["choices"][0]["delta"]["content"] == ""
        assert chunks[1]["choices"][0]["finish_reason"] == "stop"

    @pytest.mark.parametrize(
        ("stop", "reason"),
        [
            (Stop.END, "stop"),
            (Stop.STOP_SEQUENCE, "stop"),
            (Stop.TOOL_USE, "stop"),
            (Stop.MAX_TOKENS, "length"),
            (Stop.CONTEXT_FULL, "length"),
            (Stop.FILTERED, "content_filter"),
            (Stop.PAUSED, "stop"),
        ],
    )
    def test_the_reason(self, stop: Stop, reason: str) -> None:
        chunks = chunks_of(written(stream(*part(0, Text(), "Hi"), stop=stop)))
        assert [each["choices"][0]["finish_reason"] for each in chunks[:-1]] == [None, None, reason]

    def test_a_stop_sequence_and_the_tier(self) -> None:
        last = chunks_of(written(stream(stop=Stop.STOP_SEQUENCE, stop_sequence="END", service_tier="flex")))[-2]
        assert last["choices"][0]["stop_sequence"] == "END"
        assert last["service_tier"] == "flex"

    def test_usage_that_is_asked_for(self) -> None:
        chunks = chunks_of(written(stream(*part(0, Text(), "Hi"))))
        assert all(each["usage"] is None for each in chunks[:-1])
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"] == {
            "prompt_tokens": 10,
            "completion_tokens": 11,
            "total_tokens": 21,
            "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 4,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def test_usage_that_is_not_asked_for(self) -> None:
        assert b"usage" not in written(stream(*part(0, Text(), "Hi")), asking(includes_usage=False))

    def test_a_failure_has_no_done(self) -> None:
        events = [STARTED, *part(0, Text(), "Hi")[:-1], Failed(error=Overloaded("Later."))]
        frames = written(events).split(b"\n\n")
        assert json.loads(frames[-2].removeprefix(b"data: "))["error"]["message"] == "Later."
        assert b"[DONE]" not in written(events)

    def test_a_failure_before_all(self) -> None:
        writer = PROTOCOL.stream_writer(asking(), CARRIER, HEAD)
        assert writer.fail(Overloaded("Later."), "r").startswith(b'data: {"error":{"message":"Later."')

    def test_what_a_caller_brings_back_is_what_was_given(self) -> None:
        """A turn of another format's provider, through a chat caller's hands, in its own order."""
        events = stream(
            *part(0, Text(), "\n\n"),
            *part(1, Thinking(), "A", state=signature("1")),
            *part(2, Text(), "B"),
            *part(3, ToolCall(id="t", name="f"), "{}", state=signature("S", "gemini")),
        )
        turn = {"role": "assistant", **message(events)}
        asked = {"model": "m", "messages": [turn, {"role": "tool", "tool_call_id": "t", "content": "ok"}]}
        parts = PROTOCOL.read_request(asked, HEAD, CARRIER).messages[0].parts
        assert [type(each) for each in parts] == [Text, Thinking, Text, ToolCall]
        thinking, last = parts[1], parts[3]
        assert isinstance(thinking, Thinking)
        assert isinstance(last, ToolCall)
        assert thinking.state is not None
        assert last.state is not None
        assert (thinking.text, thinking.state.value, thinking.state.provider) == ("A", "1", "claude")
        assert last.state.value == "S"

    def test_a_stream_says_what_a_whole_answer_says(self) -> None:
        events = stream(
            *part(0, Thinking(), "A", state=signature()),
            *part(1, Text(), "B"),
            *part(2, ToolCall(id="t", name="f"), '{"x":1}'),
            stop=Stop.TOOL_USE,
        )
        answer = collected(events)
        assert written(replay(answer)).count(b"data: ") == written(events).count(b"data: ") - 1
        assert without_states(collected(events_of_bytes([written(events)]))).parts == without_states(answer).parts
