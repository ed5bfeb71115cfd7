"""OpenAI's own client, answered by what this format writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import openai
import pytest

from ai_gateway.errors import Overloaded
from ai_gateway.protocols.conversation import State, Stop, Text, Thinking, TokenUsage, ToolCall
from ai_gateway.protocols.events import Closed, Event, Finished, Grown, Opened, Signed, Started
from ai_gateway.protocols.jsontext import dumps
from ai_gateway.protocols.openai_responses import PROTOCOL
from ai_gateway.protocols.protocol import Head
from tests.protocols.openai_responses.wire import SEALING, asked, read, written
from tests.protocols.streams import collected

EVENTS: list[Event] = [
    Started(id="msg_1", model="thinker-1", created=7),
    Opened(key=0, part=Thinking()),
    Grown(key=0, text="Hm."),
    Signed(key=0, state=State(format="anthropic_messages", kind="signature", value="c2ln")),
    Closed(key=0),
    Opened(key=1, part=Text()),
    Grown(key=1, text="Let me "),
    Grown(key=1, text="see."),
    Closed(key=1),
    Opened(key=2, part=ToolCall(id="toolu_1", name="add")),
    Grown(key=2, text='{"a": 1}'),
    Closed(key=2),
    Finished(stop=Stop.TOOL_USE, usage=TokenUsage(input=5, output=7)),
]
"""An answer of an Anthropic model."""


@contextmanager
def client(body: bytes, content_type: str) -> Iterator[openai.OpenAI]:
    """OpenAI's client, whose every request gets this answer."""
    answered = httpx2.MockTransport(
        lambda request: httpx2.Response(200, headers={"content-type": content_type}, content=body)
    )
    with openai.OpenAI(
        api_key="k", base_url="http://gateway.test/v1", http_client=httpx2.Client(transport=answered), max_retries=0
    ) as made:
        yield made


def test_the_stream_helper_reaches_its_final_response() -> None:
    with (
        client(written(EVENTS), "text/event-stream") as made,
        made.responses.stream(model="m", input="Hello!") as stream,
    ):
        final = stream.get_final_response()
    assert final.output_text == "Let me see."
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]
    assert final.usage is not None
    assert final.usage.total_tokens == 12


def test_a_whole_answer_is_what_the_stream_came_to() -> None:
    whole = PROTOCOL.write_answer(collected(EVENTS), asked(), SEALING)
    with client(dumps(whole), "application/json") as made:
        plain = made.responses.create(model="m", input="Hello!")
    with client(written(EVENTS), "text/event-stream") as made:
        *_, last = made.responses.create(model="m", input="Hello!", stream=True)
    assert last.type == "response.completed"
    assert last.response.output == plain.output


def test_what_the_client_sends_back_is_read_as_it_was() -> None:
    with client(dumps(PROTOCOL.write_answer(collected(EVENTS), asked(), SEALING)), "application/json") as made:
        output = made.responses.create(model="m", input="Hello!").output
    items = [item.model_dump(exclude_none=True) for item in output]
    result = {"type": "function_call_output", "call_id": "toolu_1", "output": "2"}
    said, _ = read({"model": "m", "input": [*items, result]}).messages
    thinking, text, call = said.parts
    assert isinstance(thinking, Thinking)
    assert thinking.state is not None
    assert (thinking.text, thinking.state.value) == ("Hm.", "c2ln")
    assert isinstance(text, Text)
    assert isinstance(call, ToolCall)
    assert (text.text, call.id, call.arguments) == ("Let me see.", "toolu_1", '{"a": 1}')


def test_the_client_raises_where_a_stream_breaks() -> None:
    writer = PROTOCOL.stream_writer(asked(), SEALING, Head(model="m", stream=True))
    body = b"".join(writer.write(event) for event in EVENTS[:8]) + writer.fail(Overloaded("Too much."), "req_1")
    with client(body, "text/event-stream") as made:
        stream = made.responses.create(model="m", input="Hello!", stream=True)
        with pytest.raises(openai.APIError, match="Too much") as caught:
            list(stream)
    assert caught.value.code == "overloaded"
