"""What is taken out of a request before any format is written, and said to be."""

from __future__ import annotations

from typing import Any

import pytest

from ai_gateway.errors import Unsupported
from ai_gateway.protocols import PROTOCOLS
from ai_gateway.protocols.capabilities import Capabilities, Destination
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.jsontext import dumps
from ai_gateway.protocols.protocol import Head, Outgoing
from ai_gateway.protocols.writing import write_request

MARK = {"cache_control": {"type": "ephemeral"}}
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}


def written(format: str, body: dict[str, Any], to: str, **columns: Any) -> Outgoing:
    request = PROTOCOLS[format].read_request(body, Head(model="m", stream=False), Carrier([b"k"]))
    capabilities = Capabilities(**columns)
    destination = Destination(provider="p", model="m", format=to, capabilities=capabilities)
    return write_request(PROTOCOLS[to], request, destination)


def claude_code() -> dict[str, Any]:
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "z", **MARK}], **MARK}
    return {
        "max_tokens": 9,
        "system": [{"type": "text", "text": "Be brief", **MARK}],
        "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}, **MARK}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hi", **MARK}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]},
            {"role": "user", "content": [result]},
        ],
    }


@pytest.mark.parametrize("to", ["openai_chat", "openai_responses", "gemini", "bedrock_converse"])
def test_marks_for_a_cache_are_taken_out_and_reported_where_nobody_reads_them(to: str) -> None:
    outgoing = written("anthropic_messages", claude_code(), to)
    assert list(outgoing.dropped) == ["cache_control"]
    assert b"cache" not in dumps(outgoing.body)


@pytest.mark.parametrize(("to", "word"), [("openai_chat", b"cache_control"), ("bedrock_converse", b"cachePoint")])
def test_marks_stay_where_the_models_row_says_so(to: str, word: bytes) -> None:
    outgoing = written("anthropic_messages", claude_code(), to, cache_marks=True)
    assert "cache_control" not in outgoing.dropped or to == "bedrock_converse"
    assert word in dumps(outgoing.body)


def test_nothing_is_reported_if_nothing_was_marked() -> None:
    body = {"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    assert list(written("anthropic_messages", body, "openai_chat").dropped) == []


OLDER = {"messages": [{"role": "user", "content": "Hi"}], "functions": [{"name": "f"}]}


@pytest.mark.parametrize(
    ("to", "member"),
    [
        ("openai_responses", b'"parallel_tool_calls":false'),
        ("anthropic_messages", b'"disable_parallel_tool_use":true'),
        ("gemini", b""),
        ("bedrock_converse", b""),
    ],
)
def test_for_callers_of_the_older_functions_the_model_calls_one_at_a_time(to: str, member: bytes) -> None:
    """There is no room for more in what they read; and nothing is dropped of what they said."""
    outgoing = written("openai_chat", OLDER, to)
    assert member in dumps(outgoing.body)
    assert list(outgoing.dropped) == []


def test_stop_sequences_that_are_looked_for_here_have_a_limit() -> None:
    for stop in ([f"s{number}" for number in range(65)], ["x" * 257]):
        body = {"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "stop_sequences": stop}
        with pytest.raises(Unsupported) as raised:
            written("anthropic_messages", body, "openai_responses")
        assert raised.value.param == "stop_sequences"


def test_a_place_to_search_at_is_written_as_responses_have_it() -> None:
    place = {"type": "approximate", "approximate": {"city": "Bern", "country": "CH"}}
    options = {"user_location": place, "search_context_size": "low", "something_new": 1}
    body = {"messages": [{"role": "user", "content": "Hi"}], "web_search_options": options}
    outgoing = written("openai_chat", body, "openai_responses", openai_hints=True)
    assert outgoing.body["tools"] == [
        {
            "type": "web_search",
            "user_location": {"type": "approximate", "city": "Bern", "country": "CH"},
            "search_context_size": "low",
        }
    ]
    assert list(outgoing.dropped) == ["web_search_options.something_new"]


SEARCH = {"input": "Hi", "tools": [{"type": "web_search"}, FUNCTION, {"type": "image_generation"}]}


@pytest.mark.parametrize("to", ["openai_chat", "gemini", "bedrock_converse"])
def test_a_tool_that_only_the_callers_provider_runs_is_refused_by_its_place(to: str) -> None:
    with pytest.raises(Unsupported) as raised:
        written("openai_responses", SEARCH, to)
    assert str(raised.value.param).startswith("tools[0]")


@pytest.mark.parametrize("to", ["openai_chat", "anthropic_messages", "gemini", "bedrock_converse"])
def test_or_dropped_and_reported_if_the_models_row_says_so(to: str) -> None:
    outgoing = written("openai_responses", SEARCH, to, hosted_tools="drop")
    dropped = set(outgoing.dropped)
    assert "tools[2]" in dropped
    assert b"image_generation" not in dumps(outgoing.body)
    assert b'"f"' in dumps(outgoing.body)


def test_what_is_no_hosted_tool_is_refused_all_the_same() -> None:
    body = {"n": 2, "messages": [{"role": "user", "content": "Hi"}]}
    with pytest.raises(Unsupported):
        written("openai_chat", body, "gemini", hosted_tools="drop")


CHAT = {"messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize("to", PROTOCOLS)
@pytest.mark.parametrize(
    ("member", "value"), [("n", 2), ("logprobs", True), ("top_logprobs", 3)], ids=["count", "logprobs", "top"]
)
def test_what_nobody_could_see_to_be_missing_is_refused_by_every_format(to: str, member: str, value: Any) -> None:
    with pytest.raises(Unsupported) as refused:
        written("openai_chat", {**CHAT, member: value}, to, logprobs=False)
    assert refused.value.param == member
