"""Whole answers, read and written."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.genai import types

from ai_gateway.errors import Kind, ProviderError, UpstreamProtocolError
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
from ai_gateway.protocols.gemini import PROTOCOL
from ai_gateway.protocols.protocol import Head
from ai_gateway.protocols.transcript import replay
from ai_gateway.sse import EventSplitter
from tests.protocols.gemini.samples import ANSWERS, CARRIER, caller, chunk, read
from tests.protocols.vectors import Vector

STATE = State(format="anthropic_messages", kind="signature", value="U0lH")


def kept(response: dict[str, Any]) -> types.GenerateContentResponse:
    """Let google-genai read an answer: what its types do not know (`serviceTier`, and numbers for names) aside."""
    usage = {
        name: value
        for name, value in response.get("usageMetadata", {}).items()
        if name != "serviceTier" and not name.endswith("Details") and name != "trafficType"
    }
    candidates = [
        {name: value for name, value in candidate.items() if name in ("content", "index", "groundingMetadata")}
        for candidate in response["candidates"]
    ]
    return types.GenerateContentResponse.model_validate(
        {"candidates": candidates, "usageMetadata": usage, "responseId": response["responseId"]}
    )


def texts(answer: Answer, kind: type[Text] | type[Thinking]) -> str:
    return "".join(part.text for part in answer.parts if isinstance(part, kind))


def calls(answer: Answer) -> list[ToolCall]:
    return [part for part in answer.parts if isinstance(part, ToolCall)]


def answer(*parts: Part, stop: Stop = Stop.END, **fields: Any) -> Answer:
    return Answer(id="r1", model="m1", parts=list(parts), stop=stop, **fields)


def written(given: Answer, is_shown: bool = True) -> dict[str, Any]:
    body = PROTOCOL.write_answer(given, caller(is_shown), CARRIER)
    types.GenerateContentResponse.model_validate(body)
    return body


def parts_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    return list(body["candidates"][0]["content"]["parts"])


def unsealed(signature: str) -> State | None:
    return CARRIER.open(base64.b64decode(signature).decode())


def read_back(parts: list[dict[str, Any]]) -> list[Any]:
    """Read a turn of the model as a caller sends it back."""
    contents = [{"role": "model", "parts": parts}]
    return [*PROTOCOL.read_request({"contents": contents}, Head(model="m", stream=False), CARRIER).messages[0].parts]


@pytest.mark.parametrize("case", ANSWERS, ids=str)
def test_every_recorded_answer_says_what_the_sdk_reads(case: Vector) -> None:
    found, response = PROTOCOL.read_answer(case.response), kept(case.response)
    assert response.candidates
    content = response.candidates[0].content
    parts = (content.parts if content else None) or []
    assert texts(found, Text) == "".join(part.text for part in parts if part.text and not part.thought)
    assert texts(found, Thinking) == "".join(part.text for part in parts if part.text and part.thought)
    assert [call.name for call in calls(found)] == [part.function_call.name for part in parts if part.function_call]
    assert all(call.id for call in calls(found))
    assert found.usage is not None
    counted = response.usage_metadata
    assert counted is not None
    assert found.usage.total_input == (counted.prompt_token_count or 0) + (counted.tool_use_prompt_token_count or 0)
    assert found.usage.total_input + found.usage.total_output == counted.total_token_count
    assert found.usage.reasoning == (counted.thoughts_token_count or 0)
    assert found.usage.cache_read == (counted.cached_content_token_count or 0)
    signatures = [part for part in case.response["candidates"][0]["content"].get("parts", []) if "text" in part]
    assert sum(isinstance(part, Text) and part.state is not None for part in found.parts) == sum(
        "thoughtSignature" in part for part in signatures
    )


@pytest.mark.parametrize("case", ANSWERS, ids=str)
def test_an_answer_survives_being_written_and_read(case: Vector) -> None:
    first = PROTOCOL.read_answer(case.response)
    second = PROTOCOL.read_answer(written(first))
    assert (texts(second, Text), texts(second, Thinking)) == (texts(first, Text), texts(first, Thinking))
    assert [(call.id, call.name, call.arguments) for call in calls(second)] == [
        (call.id, call.name, call.arguments) for call in calls(first)
    ]
    assert (second.stop, second.usage, second.id, second.model) == (first.stop, first.usage, first.id, first.model)
    assert [part.citations for part in second.parts if isinstance(part, Text)] == [
        part.citations for part in first.parts if isinstance(part, Text)
    ]


# Reading.

CALL = {"functionCall": {"name": "f", "args": {"a": 1}}}
TEXT = {"text": "Hi"}


@pytest.mark.parametrize(
    ("reason", "parts", "stop"),
    [
        ("STOP", [TEXT], Stop.END),
        ("STOP", [CALL], Stop.TOOL_USE),
        ("MAX_TOKENS", [], Stop.MAX_TOKENS),
        ("MAX_TOKENS", [CALL], Stop.MAX_TOKENS),
        (1, [TEXT], Stop.END),
        (2, [TEXT], Stop.MAX_TOKENS),
        (3, [], Stop.FILTERED),
        (99, [TEXT], Stop.END),
        ("SAFETY", [], Stop.FILTERED),
        ("PROHIBITED_CONTENT", [TEXT], Stop.FILTERED),
        ("IMAGE_SAFETY", [], Stop.FILTERED),
        ("MALFORMED_FUNCTION_CALL", [TEXT], Stop.END),
        ("UNEXPECTED_TOOL_CALL", [CALL], Stop.TOOL_USE),
        ("SOMETHING_NEW", [TEXT], Stop.END),
        (None, [TEXT], Stop.END),
    ],
)
def test_why_an_answer_ended(reason: Any, parts: list[dict[str, Any]], stop: Stop) -> None:
    assert PROTOCOL.read_answer(chunk(*parts, finishReason=reason)).stop is stop


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "OTHER", "MISSING_THOUGHT_SIGNATURE", "NO_IMAGE"])
@pytest.mark.parametrize("parts", [[], [{"text": ""}], [{"text": "hm", "thought": True}]])
def test_a_model_that_broke_off_without_a_word_gave_no_answer(reason: str, parts: list[dict[str, Any]]) -> None:
    with pytest.raises(ProviderError) as raised:
        PROTOCOL.read_answer(chunk(*parts, finishReason=reason, finishMessage="Malformed."))
    error = raised.value
    assert (error.status, error.kind, error.retryable, error.code) == (502, Kind.UPSTREAM, True, "upstream_error")
    assert reason in error.message


def test_a_prompt_that_is_blocked_is_an_answer_without_words() -> None:
    feedback = {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "Not this."}
    found = PROTOCOL.read_answer({"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 4}})
    assert (found.stop, found.parts, found.explanation) == (Stop.FILTERED, [], "Not this.")
    assert found.usage == TokenUsage(input=4)
    found = PROTOCOL.read_answer({"promptFeedback": {"blockReason": "SAFETY"}})
    assert found.explanation == "The prompt was blocked: SAFETY."


@pytest.mark.parametrize(
    "body", [{}, {"candidates": []}, {"candidates": [5]}, {"candidates": [{"content": {"parts": [{"text": 7}]}}]}]
)
def test_what_is_no_answer(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamProtocolError):
        PROTOCOL.read_answer(body)


def test_an_error_with_status_200() -> None:
    with pytest.raises(ProviderError) as raised:
        PROTOCOL.read_answer({"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}})
    assert (raised.value.status, raised.value.kind) == (503, Kind.OVERLOADED)


def test_a_call_without_an_id_gets_the_same_one_every_time() -> None:
    first, second = calls(PROTOCOL.read_answer(chunk(CALL, CALL)))
    assert first.id.startswith("call_")
    assert first.id != second.id
    assert calls(PROTOCOL.read_answer(chunk(CALL, CALL))) == [first, second]
    (named,) = calls(PROTOCOL.read_answer(chunk({"functionCall": {"name": "f", "id": "x"}})))
    assert (named.id, named.arguments) == ("x", "{}")


def test_what_google_ran_itself_is_no_call() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "1"}}
    result = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}
    found = PROTOCOL.read_answer(chunk({"text": "It "}, code, result, {"text": "is 1."}))
    assert [part.text for part in found.parts if isinstance(part, Text)] == ["It is 1."]
    assert found.stop is Stop.END


def test_citations_are_counted_in_characters() -> None:
    grounding: dict[str, Any] = {
        "groundingChunks": [
            {"web": {"uri": "https://a.example", "title": "A"}},
            {"retrievedContext": {"text": "Source.", "title": "B"}},
        ],
        "groundingSupports": [
            {"segment": {"startIndex": 4, "endIndex": 11, "text": "für \u00df"}, "groundingChunkIndices": [0, 1]},
            {
                "segment": {"partIndex": 3, "startIndex": 90, "endIndex": 95, "text": "\U0001f600!"},
                "groundingChunkIndices": [0],
            },
            {"segment": {"endIndex": 500, "text": "nowhere"}, "groundingChunkIndices": [0]},
            {"segment": {"endIndex": 2, "text": "é"}, "groundingChunkIndices": [7]},
        ],
    }
    (text,) = PROTOCOL.read_answer(
        chunk({"text": "é"}, {"text": "é "}, {"text": "für ß \U0001f600!"}, groundingMetadata=grounding)
    ).parts
    assert isinstance(text, Text)
    assert [(text.text[cited.start : cited.end], cited.url) for cited in text.citations] == [
        ("für ß", "https://a.example"),
        ("für ß", ""),
        ("\U0001f600!", "https://a.example"),
    ]
    assert text.citations[1].verbatim == grounding["groundingChunks"][1]
    assert text.citations[1].cited_text == "Source."


def test_citations_of_each_text() -> None:
    grounding = {
        "groundingChunks": [{"web": {"uri": "u"}}],
        "groundingSupports": [
            {"segment": {"endIndex": 3, "text": "One"}, "groundingChunkIndices": [0]},
            {"segment": {"partIndex": 2, "endIndex": 3, "text": "Two"}, "groundingChunkIndices": [0]},
            {"segment": {"endIndex": 4, "text": "One."}, "groundingChunkIndices": [0]},
        ],
    }
    found = PROTOCOL.read_answer(chunk({"text": "One."}, CALL, {"text": "Two."}, groundingMetadata=grounding))
    assert [[cited.end for cited in part.citations] for part in found.parts if isinstance(part, Text)] == [[3, 4], [3]]


def test_probabilities() -> None:
    result = {
        "chosenCandidates": [{"token": "é", "logProbability": -0.5}],
        "topCandidates": [
            {"candidates": [{"token": "é", "logProbability": -0.5}, {"token": "e", "logProbability": -1}]}
        ],
    }
    (text,) = PROTOCOL.read_answer(chunk({"text": "é"}, logprobsResult=result)).parts
    assert isinstance(text, Text)
    assert text.logprobs is not None
    (entry,) = text.logprobs
    assert (entry["token"], entry["logprob"], entry["bytes"]) == ("é", -0.5, [195, 169])
    assert [top["token"] for top in entry["top_logprobs"]] == ["é", "e"]
    again = written(answer(text))["candidates"][0]["logprobsResult"]
    assert again["chosenCandidates"] == [{"token": "é", "logProbability": -0.5}]


# Writing.


def test_an_answer_with_everything() -> None:
    body = written(
        answer(
            Thinking(text="Hm.", state=STATE),
            Text(text="Let me look."),
            ToolCall(id="c1", name="f", arguments='{"a":1}', state=STATE),
            stop=Stop.TOOL_USE,
            usage=TokenUsage(input=5, cache_read=2, cache_write=1, output=3, reasoning=4),
        )
    )
    thought, text, call = parts_of(body)
    assert thought == {"text": "Hm.", "thought": True}
    assert (text["text"], call["functionCall"]) == ("Let me look.", {"name": "f", "args": {"a": 1}, "id": "c1"})
    state = unsealed(call["thoughtSignature"])
    assert state is not None
    assert (state.value, state.provider, state.model) == ("U0lH", "google", "gemini-x")
    kept, told, _ = read_back([thought, text, call])
    assert (kept.text, told.text) == ("Hm.", "Let me look.")
    assert kept.state == state
    assert body["candidates"][0]["finishReason"] == "STOP"
    assert body["usageMetadata"] == {
        "promptTokenCount": 8,
        "candidatesTokenCount": 3,
        "cachedContentTokenCount": 2,
        "thoughtsTokenCount": 4,
        "totalTokenCount": 15,
    }
    assert (body["modelVersion"], body["responseId"]) == ("m1", "r1")


def test_thoughts_are_shown_to_those_who_asked() -> None:
    given = answer(Thinking(text="Hm."), Text(text="Hi"))
    assert parts_of(written(given)) == [{"text": "Hm.", "thought": True}, {"text": "Hi"}]
    assert parts_of(written(given, is_shown=False)) == [{"text": "Hi"}]


REDACTED = State(format="anthropic_messages", kind="redacted", value="xxx")
THOUGHTS = [Thinking(text="Hm.\n\u00fc", state=STATE), Thinking(state=REDACTED, is_redacted=True)]


@pytest.mark.parametrize("follower", [Text(text="Hi"), ToolCall(id="c", name="f", arguments="{}", state=STATE), None])
def test_thoughts_that_are_not_shown_come_back_all_the_same(follower: Part | None) -> None:
    body = written(answer(*THOUGHTS, *([follower] if follower else [])), is_shown=False)
    (part,) = parts_of(body)
    assert "thought" not in part
    contents = [{"role": "user", "parts": [{"text": "?"}]}, body["candidates"][0]["content"]]
    one, two, *rest = read({"contents": contents}).messages[1].parts
    assert isinstance(one, Thinking)
    assert isinstance(two, Thinking)
    assert (one.text, one.state and one.state.value, one.is_redacted) == ("Hm.\n\u00fc", "U0lH", False)
    assert (two.text, two.state and two.state.value, two.is_redacted) == ("", "xxx", True)
    assert [type(part) for part in rest] == ([type(follower)] if follower else [])
    assert all(part.state is not None for part in rest if isinstance(part, ToolCall))


def test_a_thought_without_a_state_comes_back_before_a_call() -> None:
    body = written(answer(Thinking(text="Hm."), ToolCall(id="c", name="f", arguments="{}")), is_shown=False)
    thought, call = read({"contents": [body["candidates"][0]["content"]]}).messages[0].parts
    assert thought == Thinking(text="Hm.")
    assert isinstance(call, ToolCall)
    assert call.state is None


def test_an_empty_answer_has_an_empty_text() -> None:
    assert parts_of(written(answer())) == [{"text": ""}]


def test_broken_arguments_and_free_text() -> None:
    broken = ToolCall(id="a", name="f", arguments='{"x": ')
    free = ToolCall(id="b", name="g", arguments="*** Begin", is_custom=True)
    first, second = parts_of(written(answer(broken, free)))
    assert first["functionCall"]["args"] == {"INVALID_JSON": '{"x": '}
    assert second["functionCall"]["args"] == {"input": "*** Begin"}


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        (Stop.END, "STOP"),
        (Stop.TOOL_USE, "STOP"),
        (Stop.STOP_SEQUENCE, "STOP"),
        (Stop.PAUSED, "STOP"),
        (Stop.MAX_TOKENS, "MAX_TOKENS"),
        (Stop.CONTEXT_FULL, "MAX_TOKENS"),
        (Stop.FILTERED, "SAFETY"),
    ],
)
def test_the_words_for_why_an_answer_ended(stop: Stop, reason: str) -> None:
    assert written(answer(Text(text="a"), stop=stop))["candidates"][0]["finishReason"] == reason


def test_a_refusal() -> None:
    body = written(answer(Refusal(text="No."), stop=Stop.FILTERED, explanation="Policy."))
    assert parts_of(body) == [{"text": "No."}]
    assert body["candidates"][0]["finishMessage"] == "Policy."


def test_citations_are_written_in_bytes_of_their_part() -> None:
    page = Citation(url="https://a.example", title="A", start=2, end=5)
    page_again = Citation(url="https://a.example", title="A")
    document = Citation(title="B", cited_text="Source.", start=2, end=5)
    body = written(
        answer(
            Thinking(text="Hm."), Text(text="é für", citations=[page, document]), Text(text="ß", citations=[page_again])
        )
    )
    assert body["candidates"][0]["groundingMetadata"] == {
        "groundingChunks": [
            {"web": {"uri": "https://a.example", "title": "A"}},
            {"retrievedContext": {"title": "B", "text": "Source."}},
        ],
        "groundingSupports": [
            {
                "segment": {"partIndex": 1, "startIndex": 3, "endIndex": 7, "text": "für"},
                "groundingChunkIndices": [0, 1],
            },
            {"segment": {"partIndex": 2, "endIndex": 2, "text": "ß"}, "groundingChunkIndices": [0]},
        ],
    }


CUT = ToolCall(id="c", name="f", arguments='{"path":"/a","text":"abc')
INVALID = {"INVALID_JSON": CUT.arguments}


@pytest.mark.parametrize(
    ("parts", "stop", "expected"),
    [
        ([CUT], Stop.MAX_TOKENS, [{"path": "/a"}]),
        ([CUT], Stop.CONTEXT_FULL, [{"path": "/a"}]),
        ([CUT], Stop.TOOL_USE, [INVALID]),
        ([CUT, ToolCall(id="d", name="g", arguments="{}")], Stop.TOOL_USE, [INVALID, {}]),
        ([CUT, Text(text="so"), CUT], Stop.MAX_TOKENS, [INVALID, {"path": "/a"}]),
    ],
)
def test_of_a_call_that_a_limit_cut_off_the_whole_arguments_are_told(
    parts: list[Part], stop: Stop, expected: list[dict[str, Any]]
) -> None:
    """A client would run the function with whatever argument it is told."""
    whole = written(answer(*parts, stop=stop))["candidates"][0]["content"]["parts"]
    assert [part["functionCall"]["args"] for part in whole if "functionCall" in part] == expected
    writer = PROTOCOL.stream_writer(caller(), CARRIER, Head(model="m1", stream=True, query=b"alt=sse"))
    stream = b"".join(map(writer.write, replay(answer(*parts, stop=stop))))
    chunks = [json.loads(data) for _, data in EventSplitter().feed(stream)]
    streamed = [part for each in chunks for part in each["candidates"][0]["content"]["parts"]]
    assert [part["functionCall"]["args"] for part in streamed if "functionCall" in part] == expected
    assert [part.get("text") for part in whole if part.get("text")] == [
        part["text"] for part in streamed if part.get("text")
    ]
