"""Streams that nobody has recorded, or that only odd servers send, to callers of every other dialect."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from tests.translation.conftest import MODELS, Side
from tests.translation.facts import Call, Facts, Usage
from tests.translation.recordings import in_pieces
from tests.translation.refusals import refusal
from tests.translation.test_answers import CALLERS, check, names
from tests.translation.truth import sse
from tests.upstream import Upstream, json_answer

Json = dict[str, Any]
NOTHING = Facts(text="", reasoning=(), calls=(), stop="end", usage=Usage(3, 0, 0, 2, 0))
USED: Json = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
FIRST, SECOND = Call("call_a", "add", {"a": 1}), Call("call_b", "multiply", {"b": 2})
BOTH = replace(NOTHING, calls=(FIRST, SECOND), stop="tool_use")


def chat(*deltas: Json, reason: str | None = "tool_calls", done: bool = True) -> bytes:
    """Write a stream of chat completions, its usage at the end."""
    common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks = [{**common, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    if reason is not None:
        chunks.append({**common, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    chunks.append({**common, "choices": [], "usage": USED})
    return sse([("", chunk) for chunk in chunks], ends_with_done=done)


def piece(arguments: str, **members: Any) -> Json:
    """Write a delta with a piece of a call; `name` goes into the function."""
    function = {"arguments": arguments} | ({"name": members.pop("name")} if "name" in members else {})
    return {"tool_calls": [{**members, "function": function}]}


def opened(call: Call, **members: Any) -> Json:
    return piece("", id=call.id, type="function", name=call.name, **members)


def messages(*blocks: tuple[Json, list[Json]], stop: str) -> bytes:
    """Write a stream of Messages: blocks as they start, and their deltas."""
    usage = {"input_tokens": 3, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    frames: list[tuple[str, Json]] = [("message_start", {"message": message})]
    for index, (block, deltas) in enumerate(blocks):
        frames.append(("content_block_start", {"index": index, "content_block": block}))
        frames += [("content_block_delta", {"index": index, "delta": delta}) for delta in deltas]
        frames.append(("content_block_stop", {"index": index}))
    frames.append(("message_delta", {"delta": {"stop_reason": stop}, "usage": {"output_tokens": 2}}))
    frames.append(("message_stop", {}))
    return sse([(name, {"type": name, **data}) for name, data in frames])


GOOD: dict[str, tuple[str, bytes, Facts]] = {
    "calls side by side": (
        "openai_chat",
        chat(
            opened(FIRST, index=0),
            opened(SECOND, index=1),
            piece('{"a"', index=0),
            piece('{"b"', index=1),
            piece(": 1}", index=0),
            piece(": 2}", index=1),
        ),
        BOTH,
    ),
    "calls without numbers": (
        "openai_chat",
        chat(
            piece('{"a": 1}', id="call_a", name="add"),
            piece('{"b": 2}', id="call_b", name="multiply"),
        ),
        BOTH,
    ),
    "calls with the number -1": (
        "openai_chat",
        chat(
            opened(FIRST, index=-1),
            piece('{"a": 1}', index=-1),
            opened(SECOND, index=-1),
            piece('{"b": 2}', index=-1),
        ),
        BOTH,
    ),
    "calls that all have the number 0": (
        "openai_chat",
        chat(
            opened(FIRST, index=0),
            piece('{"a": 1}', index=0),
            opened(SECOND, index=0),
            piece('{"b": 2}', index=0),
        ),
        BOTH,
    ),
    "calls without arguments": (
        "openai_chat",
        chat(opened(replace(FIRST, arguments={}), index=0)),
        replace(BOTH, calls=(replace(FIRST, arguments={}),)),
    ),
    "calls that end with the word stop": (
        "openai_chat",
        chat(opened(FIRST, index=0), piece('{"a": 1}', index=0), reason="stop"),
        replace(BOTH, calls=(FIRST,)),
    ),
    "text after a call": (
        "openai_chat",
        chat({"content": "Now. "}, opened(FIRST, index=0), piece('{"a": 1}', index=0), {"content": "Done."}),
        replace(BOTH, text="Now. Done.", calls=(FIRST,)),
    ),
    "reasoning and text in one chunk": (
        "openai_chat",
        chat({"reasoning_content": "Hm.", "content": "Yes."}, reason="stop"),
        replace(NOTHING, text="Yes.", reasoning=("Hm.",)),
    ),
    "an end without a reason": (
        "openai_chat",
        chat({"content": "Yes."}, reason=None),
        replace(NOTHING, text="Yes."),
    ),
    "a reason without an end": (
        "openai_chat",
        chat({"content": "Yes."}, reason="stop", done=False),
        replace(NOTHING, text="Yes."),
    ),
    "half a character": (
        "openai_chat",
        chat({"content": "\ud83d"}, {"content": "\ude00"}, reason="stop"),
        replace(NOTHING, text="😀"),
    ),
    "a thought that is only signed": (
        "anthropic_messages",
        messages(
            (
                {"type": "thinking", "thinking": "", "signature": ""},
                [{"type": "signature_delta", "signature": "c2lnbmVk"}],
            ),
            ({"type": "text", "text": ""}, [{"type": "text_delta", "text": "Yes."}]),
            stop="end_turn",
        ),
        replace(NOTHING, text="Yes."),
    ),
    "a thought between two calls": (
        "anthropic_messages",
        messages(
            (
                {"type": "tool_use", "id": "call_a", "name": "add", "input": {}},
                [{"type": "input_json_delta", "partial_json": '{"a": 1}'}],
            ),
            ({"type": "thinking", "thinking": ""}, [{"type": "thinking_delta", "thinking": "Hm."}]),
            ({"type": "tool_use", "id": "call_b", "name": "multiply", "input": {"b": 2}}, []),
            stop="tool_use",
        ),
        replace(BOTH, reasoning=("Hm.",)),
    ),
    "a full context": (
        "anthropic_messages",
        messages(({"type": "text", "text": "Yes"}, []), stop="model_context_window_exceeded"),
        replace(NOTHING, text="Yes", stop="length"),
    ),
    "a reason of the future": (
        "anthropic_messages",
        messages(({"type": "text", "text": "Yes"}, []), stop="whatever_comes"),
        replace(NOTHING, text="Yes"),
    ),
    "calls before an empty end": (
        "gemini",
        sse(
            [
                ("", {"candidates": [{"content": {"parts": [{"functionCall": {"name": "add", "args": {"a": 1}}}]}}]}),
                (
                    "",
                    {
                        "candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP"}],
                        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
                    },
                ),
            ]
        ),
        replace(BOTH, calls=(replace(FIRST, id=""),)),
    ),
    "a blocked prompt": (
        "gemini",
        sse(
            [
                (
                    "",
                    {
                        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "No."},
                        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
                    },
                )
            ]
        ),
        replace(NOTHING, stop="filtered", refusal="No."),
    ),
}
"""Streams, and what they say."""


@pytest.mark.parametrize(
    ("what", "caller"),
    [(what, caller) for what, caller in product(GOOD, CALLERS) if caller != GOOD[what][0]],
    ids=names,
)
def test_an_odd_stream_says_what_it_says(direct: Side, upstream: Upstream, what: str, caller: str) -> None:
    provider, stream, facts = GOOD[what]
    upstream.answer(in_pieces(stream, what))
    told = direct.callers[caller].ask_for_stream(MODELS[provider])
    check(replace(told, text=joined(told.text)), facts, caller)


def joined(text: str) -> str:
    """Make characters of their halves, which pass in the events that they came in: JavaScript does so by itself."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16")


@pytest.mark.parametrize("caller", [caller for caller in CALLERS if caller != "openai_chat"])
def test_arguments_that_are_no_json_are_kept(direct: Side, upstream: Upstream, caller: str) -> None:
    """In a whole answer. In a stream they have passed piece by piece before anybody could know."""
    call = {"id": "call_a", "type": "function", "function": {"name": "add", "arguments": "{oops"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    upstream.answer(json_answer({"id": "chatcmpl-1", "model": "m", "choices": [choice], "usage": USED}))
    told = direct.callers[caller].ask_for_whole(MODELS["openai_chat"])
    check(told, replace(BOTH, calls=(replace(FIRST, arguments="{oops"),)), caller)


TEXT_OF_RESPONSES: list[tuple[str, Json]] = [
    ("response.created", {"response": {"id": "resp_1", "model": "m", "status": "in_progress", "output": []}}),
    (
        "response.output_item.added",
        {"output_index": 0, "item": {"id": "msg_1", "type": "message", "role": "assistant", "content": []}},
    ),
    ("response.output_text.delta", {"item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": "Yes"}),
]
FAILED: Json = {"id": "resp_1", "status": "failed", "error": {"code": "server_error", "message": "It broke."}}
TEXT_OF_GEMINI: Json = {"candidates": [{"content": {"parts": [{"text": "Yes"}]}}]}
ERROR_OF_GOOGLE: Json = {"error": {"code": 503, "message": "It broke.", "status": "UNAVAILABLE"}}

BAD: dict[str, tuple[str, bytes]] = {
    "a response that fails": (
        "openai_responses",
        sse(
            [
                (name, {"type": name, "sequence_number": number, **event})
                for number, (name, event) in enumerate([*TEXT_OF_RESPONSES, ("response.failed", {"response": FAILED})])
            ]
        ),
    ),
    "an error that Google wraps in a list": (
        "gemini",
        sse([("", TEXT_OF_GEMINI)]) + b"data: " + json.dumps([ERROR_OF_GOOGLE]).encode() + b"\n\n",
    ),
    "an error that is only a text": (
        "openai_chat",
        sse([("", {"id": "1", "choices": [{"index": 0, "delta": {"content": "Yes"}}]}), ("", {"error": "It broke."})]),
    ),
    "an error among the choices": (
        "openai_chat",
        sse(
            [
                ("", {"id": "1", "choices": [{"index": 0, "delta": {"content": "Yes"}}]}),
                (
                    "",
                    {
                        "id": "1",
                        "error": {"code": 502, "message": "It broke."},
                        "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
                    },
                ),
            ],
            ends_with_done=True,
        ),
    ),
    "an overloaded Anthropic": (
        "anthropic_messages",
        messages(({"type": "text", "text": "Yes"}, []), stop="end_turn").partition(b"event: message_delta")[0]
        + b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"It broke."}}\n\n',
    ),
}
"""Streams that end with an error after some text."""


@pytest.mark.parametrize(
    ("what", "caller"), [(what, caller) for what, caller in product(BAD, CALLERS) if caller != BAD[what][0]], ids=names
)
def test_an_error_after_text_is_raised(direct: Side, upstream: Upstream, what: str, caller: str) -> None:
    provider, stream = BAD[what]
    upstream.answer(in_pieces(stream, what))
    refused = refusal(lambda: direct.callers[caller].ask_for_stream(MODELS[provider]), caller)
    assert refused.status is None or caller == "gemini"
    assert "It broke." in refused.message
