"""The neutral vocabulary, and what keeps a long conversation from standing in everybody's way."""

from __future__ import annotations

import gc

from ai_gateway.errors import InternalError
from ai_gateway.protocols.conversation import Message, Text, ToolCall
from ai_gateway.protocols.events import Failed


def test_the_values_of_a_conversation_are_nothing_for_the_garbage_collector() -> None:
    parts = [Text(text="x"), ToolCall(id="c", name="f", arguments="{}")]
    assert not any(map(gc.is_tracked, (*parts, Message(role="user", parts=list(parts)))))


def test_an_error_in_a_stream_may_be_part_of_a_cycle() -> None:
    assert gc.is_tracked(Failed(error=InternalError("x")))
