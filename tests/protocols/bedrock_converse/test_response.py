"""Whole answers of Converse: read, written, and read by a botocore client."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_gateway.errors import ProviderError, UpstreamProtocolError
from ai_gateway.protocols.bedrock_converse import PROTOCOL
from ai_gateway.protocols.bedrock_converse.content_reader import read_content
from ai_gateway.protocols.conversation import (
    Answer,
    Citation,
    Part,
    Refusal,
    State,
    Stop,
    Text,
    Thinking,
    TokenUsage,
    ToolCall,
)
from tests.protocols.bedrock_converse.botocore_client import parsed_answer, shape
from tests.protocols.bedrock_converse.samples import CARRIER, CONTENTS, STREAMS, asked, whole_answer

MEMBERS = (
    "text",
    "toolUse",
    "toolUseId",
    "name",
    "input",
    "reasoningContent",
    "reasoningText",
    "signature",
    "redactedContent",
    "citationsContent",
    "citations",
    "content",
    "location",
    "web",
    "url",
    "inputTokens",
    "cacheWriteInputTokens",
    "cacheDetails",
    "ttl",
    "promptRouter",
)
SIGNED = State(format="bedrock_converse", kind="signature", value="c2ln")
FOREIGN = State(format="gemini", kind="signature", value="c2ln")


def answered(*parts: Part, stop: Stop = Stop.END, **fields: Any) -> Answer:
    return Answer(id="a", model="m", parts=list(parts), stop=stop, **fields)


def written(*parts: Part, **fields: Any) -> dict[str, Any]:
    return PROTOCOL.write_answer(answered(*parts, **fields), asked(), CARRIER)


def content(*parts: Part) -> Any:
    return written(*parts)["output"]["message"]["content"]


@pytest.mark.parametrize("name", CONTENTS)
def test_what_is_read_is_what_a_client_sees(name: str) -> None:
    body = whole_answer(name)
    answer, seen = PROTOCOL.read_answer(body), parsed_answer(body)
    blocks = seen["output"]["message"]["content"]
    texts = [block["text"] for block in blocks if "text" in block]
    assert answer.usage is not None
    assert [part.text for part in answer.parts if isinstance(part, Text) and not part.citations] == texts
    assert [
        (part.id, part.name, json.loads(part.arguments)) for part in answer.parts if isinstance(part, ToolCall)
    ] == [
        (call["toolUseId"], call["name"], call["input"])
        for block in blocks
        if (call := block.get("toolUse")) and "type" not in call
    ]
    assert answer.usage.total_output == seen["usage"]["outputTokens"]
    assert answer.usage.total_input + answer.usage.total_output == seen["usage"]["totalTokens"]


@pytest.mark.parametrize("name", CONTENTS)
def test_an_answer_that_is_read_and_written_again_says_the_same_to_a_client(name: str) -> None:
    body = whole_answer(name)
    answer = PROTOCOL.read_answer(body)
    again = PROTOCOL.write_answer(answer, asked(), CARRIER)
    seen, before = parsed_answer(again), parsed_answer(body)
    assert seen["stopReason"] == before["stopReason"]
    assert seen["usage"] == before["usage"]
    assert seen["serviceTier"] == before["serviceTier"]
    if name not in ("reasoning", "own tools", "empty text"):
        assert seen["output"] == before["output"]


def test_reasoning_is_read_with_its_state() -> None:
    redacted = State(format="bedrock_converse", kind="redacted", value=base64.b64encode(b"secret").decode())
    assert PROTOCOL.read_answer(whole_answer("reasoning")).parts == [
        Thinking(text="Hmm.", state=SIGNED),
        Thinking(state=redacted, is_redacted=True),
        Text(text="42"),
    ]


def test_citations_are_read_and_written() -> None:
    page = Citation(url="https://a.example", title="A")
    assert PROTOCOL.read_answer(whole_answer("citations")).parts == [Text(text="As A says.", citations=[page])]
    assert content(Text(text="As A says.", citations=[page])) == CONTENTS["citations"]


def test_a_citation_of_a_document_is_kept_as_it_is() -> None:
    place = {"title": "D", "location": {"documentPage": {"documentIndex": 0, "start": 1, "end": 2}}}
    cited = {"citationsContent": {"content": [{"text": "T"}], "citations": [place]}}
    body = whole_answer("text")
    body["output"]["message"]["content"] = [cited]
    answer = PROTOCOL.read_answer(body)
    assert answer.parts == [Text(text="T", citations=[Citation(title="D", format="bedrock_converse", verbatim=place)])]
    assert content(*answer.parts) == [cited]


def test_the_usage_is_read_into_buckets_that_do_not_overlap() -> None:
    usage = PROTOCOL.read_answer(whole_answer("text")).usage
    assert usage == TokenUsage(input=9, cache_read=1000, cache_write=4, cache_write_1h=30, output=20)


def test_reasoning_counts_as_output() -> None:
    usage = TokenUsage(input=1, cache_read=2, cache_write=3, cache_write_1h=4, output=5, reasoning=6)
    assert written(usage=usage)["usage"] == {
        "inputTokens": 1,
        "outputTokens": 11,
        "totalTokens": 21,
        "cacheReadInputTokens": 2,
        "cacheWriteInputTokens": 7,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 4}, {"ttl": "5m", "inputTokens": 3}],
    }


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("end_turn", Stop.END),
        ("tool_use", Stop.TOOL_USE),
        ("max_tokens", Stop.MAX_TOKENS),
        ("stop_sequence", Stop.STOP_SEQUENCE),
        ("guardrail_intervened", Stop.FILTERED),
        ("content_filtered", Stop.FILTERED),
        ("model_context_window_exceeded", Stop.CONTEXT_FULL),
        ("something_new", Stop.END),
        (None, Stop.END),
    ],
)
def test_why_it_stopped(reason: str | None, stop: Stop) -> None:
    assert PROTOCOL.read_answer(whole_answer("text") | {"stopReason": reason}).stop is stop


@pytest.mark.parametrize("reason", ["new", "end_turn", "stop_sequence"])
def test_an_end_with_calls_waits_for_their_results(reason: str) -> None:
    """Some models end so: an agent of another format would not run the tools."""
    assert PROTOCOL.read_answer(whole_answer("parallel calls") | {"stopReason": reason}).stop is Stop.TOOL_USE


def test_an_answer_with_calls_that_was_cut_off_stays_so() -> None:
    assert PROTOCOL.read_answer(whole_answer("parallel calls") | {"stopReason": "max_tokens"}).stop is Stop.MAX_TOKENS


@pytest.mark.parametrize("stop", Stop)
def test_every_end_has_a_word_that_the_service_model_knows(stop: Stop) -> None:
    reason = written(stop=stop)["stopReason"]
    assert reason in shape("StopReason").enum


@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
def test_an_answer_that_the_model_spoiled_is_an_error(reason: str) -> None:
    with pytest.raises(ProviderError, match=reason):
        PROTOCOL.read_answer(whole_answer("text") | {"stopReason": reason})


@pytest.mark.parametrize("body", [{}, {"output": None}, {"output": {"message": []}}, {"message": "Too long."}])
def test_what_is_no_answer_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamProtocolError):
        PROTOCOL.read_answer(body)


def test_odd_blocks_are_skipped() -> None:
    body = whole_answer("text")
    body["output"]["message"]["content"] = [{}, None, {"image": {}}, {"text": 1}, {"new": 1}, {"text": "Hi"}]
    body |= {"usage": None, "serviceTier": [], "additionalModelResponseFields": 1, "trace": 1}
    answer = PROTOCOL.read_answer(body)
    assert answer.parts == [Text(text="Hi")]
    assert answer.usage is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*MEMBERS, "x"]), inner, max_size=5),
    max_leaves=20,
)


@given(st.lists(JSON, max_size=3), JSON, JSON, JSON)
@settings(deadline=None)
def test_no_answer_with_a_message_is_refused(blocks: list[Any], reason: Any, usage: Any, trace: Any) -> None:
    message = {"message": {"content": blocks}}
    answer = PROTOCOL.read_answer({"output": message, "stopReason": reason, "usage": usage, "trace": trace})
    assert parsed_answer(PROTOCOL.write_answer(answer, asked(), CARRIER))


def test_a_prompt_router_tells_the_model() -> None:
    trace = {"promptRouter": {"invokedModelId": "anthropic.claude"}}
    assert PROTOCOL.read_answer(whole_answer("text") | {"trace": trace}).model == "anthropic.claude"


def test_every_answer_has_an_id_of_its_own() -> None:
    body = whole_answer("text")
    assert PROTOCOL.read_answer(body).id != PROTOCOL.read_answer(body).id


def test_arguments_that_are_no_object_are_kept() -> None:
    assert content(ToolCall(id="c", name="f", arguments='{"a": 1')) == [
        {"toolUse": {"toolUseId": "c", "name": "f", "input": {"INVALID_JSON": '{"a": 1'}}}
    ]
    assert content(ToolCall(id="c", name="f"))[0]["toolUse"]["input"] == {}
    assert content(ToolCall(id="c", name="f", arguments="ls", is_custom=True))[0]["toolUse"]["input"] == {"input": "ls"}


def test_of_arguments_that_a_limit_cut_off_the_members_that_came_whole_are_told() -> None:
    body = written(ToolCall(id="c", name="f", arguments='{"a":1,"b":"x'), stop=Stop.MAX_TOKENS)
    assert body["output"]["message"]["content"][0]["toolUse"]["input"] == {"a": 1}


def test_a_refusal_is_a_text() -> None:
    assert content(Refusal(text="No.")) == [{"text": "No."}]


def test_what_says_nothing_is_not_written() -> None:
    assert content(Text(), Thinking(), Refusal()) == []


@pytest.mark.parametrize(
    "parts",
    [
        [Thinking(text="Hm.", state=SIGNED), Text(text="42")],
        [Thinking(state=State(format="anthropic_messages", kind="signature", value="s")), Text(text="42")],
        [Thinking(state=State(format="openai_responses", kind="encrypted", value="é", id="rs_1"))],
        [Text(text="Hi", state=FOREIGN), ToolCall(id="c", name="f", arguments="{}", state=FOREIGN)],
        [ToolCall(id="c", name="f", arguments="{}", state=FOREIGN), ToolCall(id="d", name="f", arguments="{}")],
    ],
)
def test_states_travel_with_the_caller_and_come_back(parts: list[Part]) -> None:
    back = read_content(content(*parts), "content", CARRIER)
    assert [plain(part) for part in back] == [plain(part) for part in parts]
    states = [part.state for part in back if isinstance(part, Text | Thinking | ToolCall)]
    assert all(state is None or (state.provider, state.model) == ("bedrock", "model") for state in states)


def plain(part: Part) -> Any:
    """A part without its place, and its state without whose it is."""
    assert isinstance(part, Text | Thinking | ToolCall)
    state = part.state and (part.state.format, part.state.kind, part.state.value, part.state.id)
    return type(part), getattr(part, "text", ""), getattr(part, "arguments", ""), getattr(part, "id", ""), state


def test_a_client_can_parse_what_is_written_of_any_provider() -> None:
    answer = answered(
        Thinking(text="Hm.", state=FOREIGN),
        Text(text="Hi", state=FOREIGN),
        ToolCall(id="c", name="f", arguments="{}"),
        stop=Stop.TOOL_USE,
        service_tier="scale",
    )
    seen = parsed_answer(PROTOCOL.write_answer(answer, asked(), CARRIER))
    assert seen["metrics"] == {"latencyMs": 0}
    assert seen["usage"]["totalTokens"] == 0
    assert "serviceTier" not in seen
    assert [next(iter(block)) for block in seen["output"]["message"]["content"]] == [
        "reasoningContent",
        "text",
        "reasoningContent",
        "toolUse",
    ]


def test_the_samples_of_streams_and_of_answers_are_the_same() -> None:
    assert CONTENTS.keys() == STREAMS.keys()
