"""Any request, of any caller, for any model: what is written is what the service model and the API's rules allow."""

from __future__ import annotations

import copy
import re
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ai_gateway.errors import BadRequest
from ai_gateway.protocols.bedrock_converse import PROTOCOL
from ai_gateway.protocols.capabilities import Capabilities
from ai_gateway.protocols.conversation import (
    CacheMark,
    CustomTool,
    File,
    FunctionTool,
    Image,
    Message,
    OutputFormat,
    Part,
    Reasoning,
    Refusal,
    Request,
    State,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from tests.effort import times
from tests.protocols.bedrock_converse.botocore_client import checked, shape
from tests.protocols.bedrock_converse.samples import PDF, PNG, to

Json = dict[str, Any]

WORDS = st.sampled_from(["f", "g", "mcp.tool", "é", "", "x" * 70])
TEXTS = st.sampled_from(["Hi", "there", "", " \n", "😀", "\ud83d", '{"a":1}'])
MARKS = st.none() | st.builds(CacheMark, ttl=st.sampled_from(["5m", "1h"]))
STATES = st.builds(
    State,
    format=st.sampled_from(["bedrock_converse", "gemini"]),
    kind=st.sampled_from(["signature", "redacted"]),
    value=st.just("AAAA"),
    provider=st.sampled_from(["bedrock", ""]),
    model=st.just("model"),
)
TEXT = st.builds(Text, text=TEXTS, cache=MARKS)
IMAGE = st.builds(Image, data=st.just(PNG), media_type=st.just("image/png"), cache=MARKS)
FILE = st.builds(File, data=st.just(PDF), media_type=st.just("application/pdf"), name=TEXTS, cache=MARKS)
RESULT = st.builds(
    ToolResult,
    call_id=WORDS.filter(bool),
    parts=st.lists(TEXT | IMAGE | FILE, max_size=2),
    is_error=st.none() | st.booleans(),
    cache=MARKS,
)
CALL = st.builds(ToolCall, id=WORDS, name=WORDS, arguments=TEXTS, is_custom=st.booleans(), cache=MARKS)
THINKING = st.builds(Thinking, text=TEXTS, state=st.none() | STATES)
PARTS: dict[str, st.SearchStrategy[Part]] = {
    "system": TEXT,
    "user": TEXT | IMAGE | FILE | RESULT,
    "assistant": TEXT | st.builds(Refusal, text=TEXTS) | CALL | THINKING,
}
MESSAGES = st.one_of(
    *(st.builds(Message, role=st.just(role), parts=st.lists(parts, max_size=3)) for role, parts in PARTS.items())
)
TOOLS = st.builds(
    FunctionTool,
    name=WORDS,
    description=st.sampled_from(["", "Does."]),
    schema=st.sampled_from([None, {}, {"properties": {}}, {"anyOf": [{"type": "object"}]}]),
    strict=st.none() | st.booleans(),
    cache=MARKS,
) | st.builds(CustomTool, name=WORDS)
CHOICES = st.builds(
    ToolChoice,
    mode=st.sampled_from(["auto", "required", "none", "named"]),
    name=st.just("f"),
    allowed=st.none() | st.just(["g"]),
)
OUTPUTS = st.builds(
    OutputFormat,
    kind=st.sampled_from(["json_object", "json_schema"]),
    schema=st.sampled_from([None, {"type": "object", "properties": {"a": {}}}, {"type": "array"}]),
)
REASONINGS = st.builds(
    Reasoning,
    effort=st.sampled_from([None, "none", "minimal", "low", "high", "xhigh", "max"]),
    budget=st.sampled_from([None, 0, 500, 5000]),
    mode=st.sampled_from([None, "enabled", "adaptive", "disabled", "between_tools"]),
    is_shown=st.none() | st.booleans(),
)
REQUESTS = st.builds(
    Request,
    format=st.just("openai_chat"),
    model=st.just("model"),
    messages=st.lists(MESSAGES, min_size=2, max_size=6),
    tools=st.lists(TOOLS, max_size=3),
    tool_choice=st.none() | CHOICES,
    max_output_tokens=st.sampled_from([None, 1, 1500, 100_000]),
    temperature=st.sampled_from([None, 0, 1, 2.0]),
    top_p=st.sampled_from([None, 0.5, 1]),
    top_k=st.sampled_from([None, 5]),
    stop=st.lists(st.sampled_from(["END", " "]), max_size=2),
    output=st.none() | OUTPUTS,
    reasoning=st.none() | REASONINGS,
    service_tier=st.sampled_from([None, "auto", "flex", "scale"]),
    metadata=st.sampled_from([None, {"a": "b"}, {"é": "b"}]),
    cache=MARKS,
)
CAPABILITIES = st.builds(
    Capabilities,
    reasoning=st.sampled_from(["none", "budget", "adaptive", "level", "effort"]),
    efforts=st.sampled_from([(), ("low", "high"), ("none", "low", "max")]),
    reasons_by_default=st.booleans(),
    can_disable_reasoning=st.booleans(),
    forced_tool_choice=st.sampled_from(["always", "without_reasoning", "adaptive", "never"]),
    result_media=st.booleans(),
    user_first=st.booleans(),
    mid_system=st.booleans(),
    structured_outputs=st.booleans(),
    json_with_tools=st.booleans(),
    top_k=st.booleans(),
    sampling=st.sampled_from(["any", "without_reasoning", "never"]),
    strict_tools=st.booleans(),
)


@given(REQUESTS, CAPABILITIES)
@settings(max_examples=times(80))
def test_what_is_written_is_allowed(request: Request, capabilities: Capabilities) -> None:
    before = copy.deepcopy(request)
    try:
        outgoing = PROTOCOL.write_request(request, to(capabilities))
    except BadRequest as error:
        assert error.param  # noqa: PT017 - whether it is refused depends on what is drawn
        return
    assert request == before
    checked(outgoing.body)
    check_turns(outgoing.body["messages"], capabilities)
    check_tools(outgoing.body)
    check_cache_points(outgoing.body)
    thinking = outgoing.body.get("additionalModelRequestFields", {}).get("thinking", {})
    if thinking.get("type") == "enabled":
        limit = outgoing.body.get("inferenceConfig", {}).get("maxTokens")
        assert thinking["budget_tokens"] >= capabilities.min_budget
        assert limit is None or thinking["budget_tokens"] < limit or not capabilities.can_disable_reasoning
        assert "temperature" not in outgoing.body.get("inferenceConfig", {})


def check_turns(messages: list[Json], capabilities: Capabilities) -> None:
    """Turns alternate, results come first, and nothing is blank."""
    roles = [message["role"] for message in messages]
    assert all(one != other for one, other in pairwise(roles))
    assert roles[0] == "user" or not capabilities.user_first
    for message in messages:
        content = message["content"]
        kinds = [next(iter(block)) for block in content if "cachePoint" not in block]
        assert kinds
        assert kinds == sorted(kinds, key=lambda kind: kind != "toolResult")
        assert all(block["text"].strip() for block in content if "text" in block)
        assert "document" not in kinds or ("text" in kinds and "toolResult" not in kinds)
        if "toolResult" in kinds and not capabilities.result_media:
            assert set(kinds) == {"toolResult"}


def check_tools(body: Json) -> None:
    """Names fit, and there are tools if there are calls."""
    blocks = [block for message in body["messages"] for block in message["content"]]
    calls = [block["toolUse"] for block in blocks if "toolUse" in block]
    tools = body.get("toolConfig", {}).get("tools", [])
    specs = [tool["toolSpec"]["name"] for tool in tools if "toolSpec" in tool]
    assert not calls or specs
    allowed = shape("ToolName")
    for name in [*specs, *(call["name"] for call in calls)]:
        assert re.fullmatch(allowed.metadata["pattern"], name)
        assert len(name) <= allowed.metadata["max"]
    assert len({call["toolUseId"] for call in calls}) == len(calls)


def check_cache_points(body: Json) -> None:
    """There are four at most, and none that is the first, or behind another or a document."""
    places = [body.get("system", []), body.get("toolConfig", {}).get("tools", [])]
    places += [message["content"] for message in body["messages"]]
    points = [(place, number) for place in places for number, block in enumerate(place) if "cachePoint" in block]
    assert len(points) <= 4
    for place, number in points:
        assert number > 0
        assert place[number - 1].keys().isdisjoint(("cachePoint", "document", "reasoningContent"))
