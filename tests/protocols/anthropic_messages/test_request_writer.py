"""Requests of Messages: what is written for a provider, and what is not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ai_gateway.errors import Unsupported
from ai_gateway.protocols.anthropic_messages import PROTOCOL
from ai_gateway.protocols.conversation import (
    CacheMark,
    FunctionTool,
    HostedTool,
    OutputFormat,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from ai_gateway.protocols.jsontext import dumps
from tests.protocols.anthropic_messages.building import (
    ADAPTIVE,
    HI,
    PERSON,
    body,
    outgoing,
    refused,
    request,
    turn,
)
from tests.protocols.anthropic_messages.helpers import DESTINATION, FORMAT, read
from tests.protocols.vectors import Vector, vectors

# The same thing always gives the same bytes.


def recorded() -> list[Vector]:
    return [
        vector
        for vector in vectors(FORMAT)
        if vector.status == 200
        and isinstance(vector.request, dict)
        and "messages" in vector.request
        and "mcp_servers" not in vector.request
    ]


@pytest.mark.parametrize("vector", recorded(), ids=str)
def test_a_recorded_request_survives_being_read_and_written(vector: Vector) -> None:
    given = read(vector.request)
    before = copy.deepcopy(vector.request)
    first, second = outgoing(given, ADAPTIVE), outgoing(read(vector.request), ADAPTIVE)
    assert dumps(first.body) == dumps(second.body)
    assert vector.request == before
    assert signature(first.body) == signature(vector.request)


def signature(body: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What of a conversation must stay the same: who calls what with what, and what the pictures are."""
    searching = "tool_search_tool_"
    found: list[tuple[Any, ...]] = [
        (tool["name"],) for tool in body.get("tools", ()) if not tool["name"].startswith(searching)
    ]
    for message in body["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else ():
            if block["type"] == "tool_use":
                found.append((message["role"], block["id"], block["name"], block["input"]))
            elif block["type"] == "tool_result":
                found.append((message["role"], block["tool_use_id"], block.get("is_error")))
            elif block["type"] in ("image", "document"):
                found.append((message["role"], sorted(block["source"].items())))
    return found


def test_what_must_be_there_is_there() -> None:
    assert body(request(stream=True)) == {
        "model": "its-model",
        "max_tokens": 4096,
        "stream": True,
        "messages": [{"role": "user", "content": "hi"}],
    }


# Cache marks.

MARK = CacheMark()


def marks(written: dict[str, Any]) -> int:
    return dumps(written).count(b'"cache_control"')


def test_marks_are_kept_where_they_are() -> None:
    given = request(
        turn("system", Text(text="Be brief.", cache=CacheMark(ttl="1h"))),
        HI,
        turn("assistant", ToolCall(id="1", name="f", cache=MARK)),
        turn("user", ToolResult(call_id="1", cache=MARK)),
        tools=[FunctionTool(name="f", cache=CacheMark(ttl="1h"))],
    )
    written = body(given)
    assert written["tools"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert written["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert written["messages"][1]["content"][0]["cache_control"] == {"type": "ephemeral"}
    assert written["messages"][2]["content"][0]["cache_control"] == {"type": "ephemeral"}


def test_at_most_four_marks_stay_and_they_are_the_last() -> None:
    given = turn("user", *(Text(text=str(number), cache=MARK) for number in range(6)))
    written = outgoing(request(given))
    blocks = written.body["messages"][0]["content"]
    assert [block["text"] for block in blocks if "cache_control" in block] == ["2", "3", "4", "5"]
    assert written.dropped == ["cache_control"]
    assert marks(body(request(given, cache=MARK))) == 4


def test_marks_of_an_hour_do_not_stand_behind_shorter_ones() -> None:
    given = turn("user", Text(text="a", cache=MARK), Text(text="b", cache=CacheMark(ttl="1h")))
    assert b'"1h"' not in dumps(body(request(given)))


def test_marks_of_the_callers_own_objects_are_not_taken_out_of_them() -> None:
    value = {"type": "web_search_20250305", "name": "web_search", "cache_control": {"type": "ephemeral"}}
    before = copy.deepcopy(value)
    given = turn("user", *(Text(text=str(number), cache=MARK) for number in range(4)))
    hosted = HostedTool(format=FORMAT, type="web_search_20250305", value=value)
    assert "cache_control" not in body(request(given, tools=[hosted]))["tools"][0]
    assert value == before


# The rest.


def test_what_would_change_the_answer_is_refused() -> None:
    names = {"count": "n"}
    assert refused(request(count=2, names=names)) == "n"
    assert refused(request(logprobs=True)) == "logprobs"
    assert refused(request(top_logprobs=3)) == "top_logprobs"
    assert refused(request(max_output_tokens=0, names={"max_output_tokens": "max_tokens"})) == "max_tokens"
    with pytest.raises(Unsupported):
        PROTOCOL.write_request(request(count=2), DESTINATION)


def test_hints_are_dropped_by_the_callers_names() -> None:
    written = outgoing(
        request(
            seed=0,
            frequency_penalty=0.5,
            verbosity="low",
            session="s",
            metadata={"a": "b"},
            service_tier="flex",
            hints={"logit_bias": {"1": 2}},
            extras={"safety_settings": [1]},
            names={"session": "prompt_cache_key"},
        )
    )
    assert sorted(written.dropped) == [
        "frequency_penalty",
        "logit_bias",
        "metadata",
        "prompt_cache_key",
        "safety_settings",
        "seed",
        "service_tier",
        "verbosity",
    ]


def test_what_says_nothing_is_not_missed() -> None:
    given = request(
        count=1,
        top_logprobs=0,
        frequency_penalty=0,
        presence_penalty=0.0,
        verbosity="medium",
        metadata={},
        hints={"store": False, "logit_bias": {}, "prediction": None},
    )
    assert outgoing(given).dropped == []


@pytest.mark.parametrize(("tier", "expected"), [("auto", "auto"), ("priority", "auto"), ("default", "standard_only")])
def test_a_tier_has_its_word(tier: str, expected: str) -> None:
    assert body(request(service_tier=tier))["service_tier"] == expected


@pytest.mark.parametrize(
    ("user", "is_kept"), [("u-17", True), ("a@b.example", False), ("+41 31 123 45 67", False), ("x" * 257, False)]
)
def test_a_user_is_told_but_nothing_personal(user: str, is_kept: bool) -> None:
    told = body(request(user=user))["metadata"]["user_id"]
    assert (told == user) is is_kept
    assert len(told) <= 256


def test_anthropics_own_members_win() -> None:
    extras = {
        "thinking": {"type": "enabled", "budget_tokens": 2000},
        "output_config": {"effort": "max"},
        "cache_control": {"type": "ephemeral"},
        "context_management": {"edits": []},
        "anthropic_beta": "a-2026, b-2026",
    }
    wanted = OutputFormat(kind="json_schema", schema=PERSON)
    written = outgoing(request(reasoning=Reasoning(effort="low"), output=wanted, extras=extras), ADAPTIVE)
    assert written.body["thinking"] == extras["thinking"]
    assert written.body["output_config"]["effort"] == "max"
    assert "format" in written.body["output_config"]
    assert written.headers == ((b"anthropic-beta", b"context-management-2025-06-27,a-2026,b-2026"),)
    assert written.dropped == []


def test_the_path_is_the_same_streamed_or_not() -> None:
    assert PROTOCOL.target("m", True) == PROTOCOL.target("m", False) == ("/v1/messages", b"")
