"""Searches that are listed or counted: they are billed as their providers do, whatever way the answer comes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ai_gateway.consumption import Consumption
from ai_gateway.protocols import PROTOCOLS
from ai_gateway.protocols.conversation import TokenUsage
from tests.consumption.hearing import DONE, PATHS, SSE, asking, chat_chunk, consumption_of, usage
from tests.consumption.tool_uses import FOUND, OPENED, SEARCHED, used
from tests.protocols.streams import collected, events_of_pieces
from tests.protocols.vectors import vectors

GEMINI = asking(PATHS["gemini"])
NEW, OLD = "gemini-3-flash-preview", "gemini-2.5-flash"
QUERIES = ["who won", "who won the final", "", "who won"]
"""What an answer lists: Google does not bill what is empty, nor the same twice."""

COUNTS = {"promptTokenCount": 9, "candidatesTokenCount": 5, "totalTokenCount": 14}


def chunk(text: str = "", *, model: str = NEW, **candidate: Any) -> dict[str, Any]:
    content = {"role": "model", "parts": [{"text": text}]}
    return {
        "candidates": [{"content": content, "index": 0, **candidate}],
        "usageMetadata": COUNTS,
        "modelVersion": model,
        "responseId": "r1",
    }


def grounded(*queries: str, name: str = "webSearchQueries") -> dict[str, Any]:
    found = {"web": {"uri": "https://vertexaisearch.example/r", "title": "uefa.com"}}
    return {"groundingMetadata": {name: [*queries], "groundingChunks": [found]}}


def body(*chunks: dict[str, Any]) -> bytes:
    return json.dumps(chunks[0] if len(chunks) == 1 else chunks).encode()


def events(*chunks: dict[str, Any]) -> list[bytes]:
    return [b"data: " + json.dumps(each).encode() + b"\r\n\r\n" for each in chunks]


def cut(whole: bytes, size: int = 10_000) -> list[bytes]:
    return [whole[start : start + size] for start in range(0, len(whole), size)]


def searches(consumption: Consumption | None) -> float:
    assert consumption is not None
    assert consumption.tokens == TokenUsage(input=9, output=5)
    return consumption.units.get("searches", 0)


@pytest.mark.parametrize(
    ("model", "count"),
    [(NEW, 2), ("gemini-3.1-pro-preview", 2), (OLD, 1), ("gemini-2.0-flash-001", 1), ("gemini-1.5-pro", 1), ("", 2)],
)
def test_newer_models_are_billed_by_the_query_and_older_ones_by_the_prompt(model: str, count: int) -> None:
    end = chunk("Spain.", model=model, finishReason="STOP", **grounded(*QUERIES))
    assert searches(consumption_of(GEMINI, body(end))) == count
    assert searches(consumption_of(GEMINI, *events(chunk("S", model=model), end), headers=SSE)) == count
    assert searches(consumption_of(GEMINI, body(chunk("S", model=model), end))) == count
    answer = PROTOCOLS["gemini"].read_answer(json.loads(body(end)))
    streamed = collected(events_of_pieces(PROTOCOLS["gemini"], events(chunk("S", model=model), end)))
    assert answer.units == streamed.units == {"searches": count}


def test_searches_for_pictures_are_searches() -> None:
    end = chunk("x", finishReason="STOP", **grounded("a cat", "a dog", name="imageSearchQueries"))
    assert searches(consumption_of(GEMINI, body(end))) == 2
    assert PROTOCOLS["gemini"].read_answer(end).units == {"searches": 2}


@pytest.mark.parametrize(
    "metadata",
    [{}, {"webSearchQueries": []}, {"webSearchQueries": [""]}, {"webSearchQueries": "x"}, {"webSearchQueries": [7]}],
)
def test_an_answer_without_a_search_has_none(metadata: dict[str, Any]) -> None:
    end = chunk("x", finishReason="STOP", groundingMetadata=metadata)
    assert searches(consumption_of(GEMINI, body(end))) == 0
    assert searches(consumption_of(GEMINI, *events(end), headers=SSE)) == 0
    assert PROTOCOLS["gemini"].read_answer(end).units == {}


def test_a_text_about_searches_is_none() -> None:
    end = chunk('{"webSearchQueries": ["x"]}', finishReason="STOP")
    assert searches(consumption_of(GEMINI, body(end))) == 0
    assert searches(consumption_of(GEMINI, *events(end), headers=SSE)) == 0


@pytest.mark.parametrize("place", [0, 1, 50, 150, 199])
def test_searches_are_counted_wherever_a_stream_tells_them(place: int) -> None:
    """Of most of a long stream only the report of usage is read."""
    chunks = [chunk("some words ") for _ in range(200)]
    chunks[place] = chunk("some words ", **grounded(*QUERIES))
    chunks += [chunk("more", **grounded("who won", "and when")), chunk("", finishReason="STOP")]
    assert searches(consumption_of(GEMINI, *events(*chunks), headers=SSE)) == 3
    assert collected(events_of_pieces(PROTOCOLS["gemini"], events(*chunks))).units == {"searches": 3}


@pytest.mark.parametrize(("model", "count"), [(NEW, 2), (OLD, 1)])
def test_searches_of_a_long_answer_are_counted(model: str, count: int) -> None:
    """The middle of one is not kept."""
    end = chunk("words " * 50_000, model=model, finishReason="STOP", **grounded(*QUERIES))
    assert searches(consumption_of(GEMINI, *cut(body(end)))) == count


def test_recorded_answers_that_searched_in_files_or_read_pages_searched_nowhere_else() -> None:
    read = [vector for vector in vectors("gemini") if vector.is_stream and b"groundingMetadata" in vector.stream]
    assert read
    for vector in read:
        heard = consumption_of(GEMINI, vector.stream, headers=SSE)
        assert heard is not None
        assert heard.units == {}


@pytest.mark.parametrize("behind", [0, 1, 30, 60])
def test_searches_of_a_long_answer_are_counted_wherever_it_tells_them(behind: int) -> None:
    """Google writes the texts that a claim rests on once more, behind what was searched for or before it."""
    supports = [{"segment": {"text": "words " * 400}, "groundingChunkIndices": [0]} for _ in range(60)]
    metadata = grounded(*QUERIES)["groundingMetadata"]
    metadata = {"a": supports[behind:], **metadata, "groundingSupports": supports[:behind]}
    whole = body(chunk("words " * 10_000, finishReason="STOP", groundingMetadata=metadata))
    assert searches(consumption_of(GEMINI, *cut(whole))) == 2
    assert searches(consumption_of(GEMINI, whole)) == 2


def test_searches_of_a_long_list_of_answers_are_counted_together() -> None:
    chunks = [chunk("words " * 1000, **grounded(f"query {number // 2}")) for number in range(40)]
    assert searches(consumption_of(GEMINI, *cut(body(*chunks)))) == 20


# OpenAI's.

RESPONSES = asking(PATHS["openai_responses"])
SEARCHING = [
    "openai-openai-responses-model-web-search-tool-1",
    "openai-responses-websearch-input-0",
]
"""Recorded answers that searched once each."""


@pytest.mark.parametrize("name", SEARCHING)
@pytest.mark.parametrize("size", [1000, 16_384, 65_536, 10_000_000])
def test_searches_of_a_long_response_are_counted_however_it_is_cut(name: str, size: int) -> None:
    """A model that thinks between searches fills the middle of its answer, which is not kept."""
    [vector] = [each for each in vectors("openai_responses") if each.name == name]
    recorded = vector.response
    thought = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAAAA" * 10_000}
    response = {**recorded, "output": [thought, *recorded["output"]] * 5, "service_tier": "flex"}
    whole = json.dumps(response, indent=2).encode()
    heard = consumption_of(RESPONSES, *cut(whole, size))
    assert heard is not None
    assert heard.units == {"searches": 5}
    assert heard.service_tier == "flex"
    assert heard == consumption_of(RESPONSES, json.dumps({**response, "output": recorded["output"] * 5}).encode())


MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Spain.", "annotations": []}],
}
THOUGHT = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAAAA" * 10_000}
SILENT = {"id": "ws_4", "type": "web_search_call", "status": "completed"}
"""What older servers send."""


def responding(*items: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "gpt-5-mini",
        "status": "completed",
        "output": [*items, MESSAGE],
        "usage": {"input_tokens": 9, "output_tokens": 5, "total_tokens": 14},
    }


def streaming(response: dict[str, Any]) -> list[bytes]:
    """The events of a stream that tells of each item while it is made, and of all at its end."""
    told: list[dict[str, Any]] = [{"type": "response.created", "response": {**response, "output": [], "usage": None}}]
    for index, item in enumerate(response["output"]):
        told.append({"type": "response.output_item.added", "output_index": index, "item": item})
        told.append({"type": "response.output_item.done", "output_index": index, "item": item})
    told.append({"type": "response.completed", "response": response})
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in told]


@pytest.mark.parametrize(
    ("items", "count"),
    [
        ([SEARCHED], 1),
        ([OPENED], 0),
        ([FOUND], 0),
        ([used({"type": "find", "pattern": "final", "url": "https://example.com/1"})], 0),
        ([SEARCHED, OPENED, FOUND, OPENED, SEARCHED], 2),
        ([SILENT, OPENED], 1),
        ([{**SILENT, "action": None}, {**SILENT, "action": "open_page"}, {**SILENT, "action": {"url": "u"}}], 3),
        ([{**OPENED, "type": "computer_call"}, {**SEARCHED, "type": "computer_call"}], 0),
    ],
)
def test_only_searches_are_charged_and_not_pages_that_are_opened_and_read(
    items: list[dict[str, Any]], count: int
) -> None:
    response = responding(*items)
    protocol = PROTOCOLS["openai_responses"]
    assert searches(consumption_of(RESPONSES, json.dumps(response).encode())) == count
    assert searches(consumption_of(RESPONSES, *streaming(response), headers=SSE)) == count
    assert searches(consumption_of(RESPONSES, *cut(json.dumps(responding(THOUGHT, *items, THOUGHT)).encode()))) == count
    units = {"searches": count} if count else {}
    assert protocol.read_answer(response).units == units
    assert collected(events_of_pieces(protocol, streaming(response))).units == units


@pytest.mark.parametrize("place", [0, 1, 300, 600])
def test_searches_of_a_response_that_is_cut_are_counted(place: int) -> None:
    """Whoever hangs up has had them made. Of most of a long stream only the report of usage is read."""
    told = streaming(responding(SEARCHED, OPENED, used({"type": "search", "query": "who lost"}, 4)))[1:-1]
    delta = {"type": "response.output_text.delta", "delta": "some more of it, "}
    text = [f"event: {delta['type']}\ndata: {json.dumps(delta)}\n\n".encode()] * 600
    got = consumption_of(RESPONSES, *text[:place], *told, *text[place:], headers=SSE)
    assert got is not None
    assert got.tokens.is_estimated
    assert got.units == {"searches": 2}


def test_a_long_response_without_a_search_has_none() -> None:
    written = {"type": "message", "content": [{"type": "output_text", "text": "web_search_call " * 9000}]}
    asked = {"type": "function_call", "name": "f", "arguments": json.dumps({"type": "web_search_call"})}
    counts = {"input_tokens": 9, "output_tokens": 5}
    response = {"id": "resp_1", "output": [written, asked, written], "usage": counts}
    assert searches(consumption_of(RESPONSES, *cut(json.dumps(response).encode()))) == 0


# Those of others, which count them.

OF_A_FILE = {"id": "fs_1", "type": "file_search_call", "status": "completed", "queries": ["x"], "results": None}
MADE = {"searches": 1, "file_searches": 1}
"""What OpenAI charges of the items below."""

COUNTED = [
    ({}, MADE),
    ({"server_side_tool_usage_details": None, "tool_calls_details": "x"}, MADE),
    ({"server_side_tool_usage_details": {"web_search_calls": 5, "x_search_calls": 7, "mcp_calls": 1}}, {"searches": 5}),
    ({"server_side_tool_usage_details": {"web_search_calls": 0, "file_search_calls": 2}}, {"file_searches": 2}),
    ({"server_side_tool_usage_details": {"x_posts_fetched": 40, "x_users_fetched": 2}}, {}),
    ({"server_side_tool_usage_details": {"web_search_calls": "many"}}, {}),
    ({"tool_calls_details": {"search_web": {"invocation": 2, "cost_usd": 0.005}}}, {"searches": 2}),
    ({"tool_calls_details": {"fetch_url": {"invocation": 2}}}, {}),
    ({"tool_calls_details": {"search_web": 2}}, {}),
]


@pytest.mark.parametrize(("counted", "units"), COUNTED)
def test_what_a_provider_counts_in_a_response_is_charged_and_not_what_it_lists(
    counted: dict[str, Any], units: dict[str, int]
) -> None:
    response = responding(SEARCHED, OPENED, OF_A_FILE)
    response["usage"] |= counted
    protocol = PROTOCOLS["openai_responses"]
    for heard in (
        consumption_of(RESPONSES, json.dumps(response).encode()),
        consumption_of(RESPONSES, *streaming(response), headers=SSE),
        consumption_of(RESPONSES, *cut(json.dumps({**response, "output": [*response["output"], THOUGHT]}).encode())),
    ):
        assert heard is not None
        assert heard.units == units
    assert protocol.read_answer(response).units == units
    assert collected(events_of_pieces(protocol, streaming(response))).units == units


def test_an_end_that_lists_nothing_takes_back_none_of_what_came_before_it() -> None:
    response = responding(SEARCHED, OF_A_FILE)
    events = [*streaming(response)[:-1], streaming({**response, "output": []})[-1]]
    heard = consumption_of(RESPONSES, *events, headers=SSE)
    assert heard is not None
    assert heard.units == MADE
    assert collected(events_of_pieces(PROTOCOLS["openai_responses"], events)).units == MADE


CHAT = asking(PATHS["openai_chat"])


@pytest.mark.parametrize(
    ("counted", "count"),
    [
        ({}, 0),
        ({"num_search_queries": 50}, 50),
        ({"num_search_queries": None, "citation_tokens": None}, 0),
        ({"num_search_queries": "x"}, 0),
        ({"num_search_queries": 10**30}, 10**9),
        ({"server_tool_use": {"web_search_requests": 2}}, 2),
        ({"server_tool_use_details": {"web_search_requests": 2, "tool_calls_executed": 9}}, 2),
        ({"server_tool_use_details": {"web_search_requests": None}}, 0),
        ({"server_tool_use_details": {"web_search_requests": -1}, "server_tool_use": []}, 0),
    ],
)
def test_what_a_provider_counts_in_a_chat_completion_is_charged(counted: dict[str, Any], count: int) -> None:
    told = {**usage(), **counted}
    units = {"searches": count} if count else {}
    choice = {"index": 0, "message": {"role": "assistant", "content": "Spain."}, "finish_reason": "stop"}
    body = {"id": "a", "model": "m", "choices": [choice], "usage": told}
    events = [chat_chunk("Spain."), chat_chunk(finish_reason="stop", usage=told), DONE]
    for heard in (consumption_of(CHAT, json.dumps(body).encode()), consumption_of(CHAT, *events, headers=SSE)):
        assert heard is not None
        assert heard.tokens == TokenUsage(input=9, output=5)
        assert heard.units == units
    protocol = PROTOCOLS["openai_chat"]
    assert protocol.read_answer(body).units == units
    assert collected(events_of_pieces(protocol, events)).units == units
