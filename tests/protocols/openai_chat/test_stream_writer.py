"""What is written of a stream for a caller of chat completions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from ai_gateway.errors import Overloaded
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
from ai_gateway.protocols.openai_chat import PROTOCOL
from ai_gateway.protocols.transcript import replay
from tests.protocols.openai_chat.helpers import (
    CARRIER,
    HEAD,
    accumulated,
    asking,
    chunks_of,
    events_of_bytes,
    signature,
    without_states,
    written,
)
from tests.protocols.streams import collected

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

    def test_calls_that_are_mixed_come_one_after_the_other(self) -> None:
        """The SDK's helpers parse the arguments of a strict function as soon as a piece of another call comes."""
        events = stream(
            Opened(key=0, part=ToolCall(id="a", name="f")),
            Grown(key=0, text='{"x"'),
            Opened(key=1, part=ToolCall(id="b", name="f")),
            Grown(key=1, text='{"x":2}'),
            Grown(key=0, text=":1}"),
            Closed(key=0),
            Closed(key=1),
            stop=Stop.TOOL_USE,
        )
        function: Any = {"name": "f", "strict": True, "parameters": {"type": "object"}}
        state: ChatCompletionStreamState[None] = ChatCompletionStreamState(
            input_tools=[{"type": "function", "function": function}]
        )
        for each in chunks_of(written(events)):
            state.handle_chunk(ChatCompletionChunk.model_validate(each))
        made = state.get_final_completion().choices[0].message.tool_calls or []
        assert [each.to_dict()["function"]["parsed_arguments"] for each in made] == [{"x": 1}, {"x": 2}]  # type: ignore[index]

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
