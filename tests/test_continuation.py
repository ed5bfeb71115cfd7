"""A stream dies in mid-text, and the next target goes on: one stream for the caller, two answers in the books."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import admission, gateway
from ai_gateway.calls import Reply, ReplyBody
from ai_gateway.errors import ConnectFailed, Draining, UpstreamTimeout
from ai_gateway.protocols import PROTOCOLS
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Request, Stop, Text, TokenUsage
from ai_gateway.protocols.events import Grown, Opened, Started
from ai_gateway.protocols.protocol import Head
from ai_gateway.test.providers import Books
from tests.dying_streams import DEATH, SSE, chat, dying, messages, named, whole
from tests.factories import JSON, Answer, Recorder, Scripted, make_arrival, run
from tests.protocols.streams import collected, events_of_pieces

pytestmark = pytest.mark.usefixtures("books")

KEY = (b"authorization", b"Bearer gw_a-key-of-the-settings")

TARGETS = {
    "openai_chat": "mistral/mistral-large",
    "anthropic_messages": "anthropic/claude-haiku-4-5",
    "gemini": "gemini/gemini-2.5-flash",
}
NAMES = ("mistral", "anthropic", "gemini", "groq")
SETTINGS: dict[str, Any] = {
    "PROVIDERS": {
        name: {"OPTIONS": {"api_key": f"stored-{name}"}} for name in ("mistral", "anthropic", "gemini", "groq")
    },
    "KEYS": {"team": "gw_a-key-of-the-settings"},
    "PRICES": [{"model": "*", "input": 1, "output": 10}],
}


def route(*targets: str, **facts: Any) -> dict[str, Any]:
    return {**SETTINGS, "ROUTES": {"r": {"targets": list(targets), "continue_streams": True, **facts}}}


# What callers ask.

ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "openai_chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
    "openai_responses": ("/v1/responses", {"input": "Hi"}),
    "anthropic_messages": ("/v1/messages", {"max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]}),
    "gemini": ("/v1beta/models/r:streamGenerateContent", {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}),
    "bedrock_converse": ("/v1/model/r/converse-stream", {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}),
}


class Told:
    """What the caller got."""

    def __init__(self, reply: Reply, written: bytes, transport: Scripted) -> None:
        self.status, self.headers, self.written = reply.status, dict(reply.headers), written
        self.requests = transport.requests

    def sent(self, number: int) -> Any:
        """The body of a request to a provider."""
        body = self.requests[number].body
        assert isinstance(body, bytes)
        return json.loads(body)


async def ask(transport: Scripted, caller: str, body: dict[str, Any]) -> Reply:
    path, asked = ASKED[caller]
    if caller in ("gemini", "bedrock_converse"):
        content = json.dumps({**asked, **body}).encode()
    else:
        content = json.dumps({"model": "r", "stream": True, **asked, **body}).encode()
    query = b"alt=sse" if caller == "gemini" else b""
    return await gateway.handle(make_arrival(path, KEY, body=content, query=query), transport)


def tell(*answers: Answer | Exception, settings: dict[str, Any], caller: str = "openai_chat", **body: Any) -> Told:
    """Ask the route, and read what comes to its end."""
    transport = Scripted(*answers)

    async def read() -> Told:
        reply = await ask(transport, caller, body)
        written = reply.body if isinstance(reply.body, bytes) else b"".join([part async for part in reply.body])
        await reply.aclose()
        return Told(reply, written, transport)

    with override_settings(AI_GATEWAY=settings):
        return run(read())


def text_of(caller: str, told: Told) -> tuple[str, TokenUsage | None]:
    """Read the caller's stream by its format: the text of one answer that ended well, and what it says was used."""
    answer = collected(events_of_pieces(PROTOCOLS[caller], [told.written]))
    assert answer.stop is Stop.END
    [text] = [part for part in answer.parts if isinstance(part, Text)]
    return text.text, answer.usage


@pytest.mark.parametrize("second", TARGETS)
@pytest.mark.parametrize("first", TARGETS)
@pytest.mark.parametrize("caller", ASKED)
def test_the_caller_gets_one_stream_with_both_texts(caller: str, first: str, second: str) -> None:
    answers = (dying(first, "Hello ", "wor"), whole(second, "ld, ", "good day"))
    told = tell(*answers, settings=route(TARGETS[first], TARGETS[second] + "-b"), caller=caller)
    assert text_of(caller, told)[0] == "Hello world, good day"
    assert told.headers[b"x-gateway-continuation"] == b"on"
    assert all(answer.is_closed for answer in answers)
    if caller in BEGINNINGS:
        assert told.written.count(BEGINNINGS[caller]) == 1


BEGINNINGS = {
    "openai_chat": b'"role":"assistant"',
    "openai_responses": b"event: response.created",
    "anthropic_messages": b"event: message_start",
}

HAIKU = TARGETS["anthropic_messages"]
MISTRAL = TARGETS["openai_chat"]
BOTH = route(HAIKU, MISTRAL)
OVERLOADED = named("error", error={"type": "overloaded_error", "message": "Overloaded"})


def is_failed(told: Told) -> bool:
    """Whether a stream of chat completions ended in an error, and nothing else."""
    return b'"error":{' in told.written.split(b"\n\n")[-2] and b"[DONE]" not in told.written


@pytest.mark.parametrize(
    "death",
    [
        pytest.param((DEATH,), id="reset"),
        pytest.param((UpstreamTimeout("silent"),), id="stalled"),
        pytest.param((), id="ended without an end"),
        pytest.param((OVERLOADED,), id="error event"),
        pytest.param((b'event: content_block_delta\ndata: {"type":"content_bl', DEATH), id="within an event"),
    ],
)
def test_every_death_of_a_provider_is_gone_on_from(death: tuple[Any, ...]) -> None:
    first = Answer(*messages("Hello ", "wor"), *death, headers=[SSE])
    told = tell(first, whole("openai_chat", "ld"), settings=BOTH)
    assert text_of("openai_chat", told)[0] == "Hello world"
    assert b": gateway-continued mistral/mistral-large\n\n" in told.written


@pytest.mark.parametrize("events", range(1, 4))
def test_wherever_it_dies_in_the_text(events: int) -> None:
    said = [f"word{number} " for number in range(events)]
    told = tell(
        dying("anthropic_messages", *said),
        whole("anthropic_messages", "and the rest"),
        settings=route(HAIKU, HAIKU + "-b"),
    )
    assert text_of("openai_chat", told)[0] == "".join(said) + "and the rest"


def test_a_death_in_the_very_chunk_that_began_the_text_too() -> None:
    first = Answer(b"".join([*messages("Hello "), OVERLOADED]), headers=[SSE])
    assert text_of("openai_chat", tell(first, whole("openai_chat", "world"), settings=BOTH))[0] == "Hello world"


def test_what_was_said_is_the_beginning_of_the_new_answer() -> None:
    told = tell(dying("anthropic_messages", "Hello "), whole("openai_chat", "world"), settings=BOTH, max_tokens=50)
    last = told.sent(1)["messages"][-1]
    assert last == {"role": "assistant", "content": "Hello", "prefix": True}
    assert told.sent(1)["max_tokens"] < 50
    back = tell(dying("openai_chat", "Hello "), whole("anthropic_messages", " world"), settings=route(MISTRAL, HAIKU))
    assert back.sent(1)["messages"][-1] == {"role": "assistant", "content": "Hello"}
    assert text_of("openai_chat", back)[0] == "Hello world"  # The blank that could not be sent is not doubled.


def test_a_model_that_begins_anew_is_asked_to_go_on_only_if_the_route_says_so() -> None:
    groq = "groq/llama-4"
    told = tell(dying("anthropic_messages", "Hello"), settings=route(HAIKU, groq))
    assert (is_failed(told), len(told.requests)) == (True, 1)
    asked = tell(
        dying("anthropic_messages", "Hello"),
        whole("openai_chat", " world"),
        settings=route(HAIKU, groq, ask_to_continue=True),
    )
    assert [each["role"] for each in asked.sent(1)["messages"]] == ["user", "assistant", "user"]
    assert text_of("openai_chat", asked)[0] == "Hello world"


def test_what_the_model_repeats_is_told_once() -> None:
    said = "It was the best of times, it was the worst of times"
    told = tell(
        dying("anthropic_messages", said),
        whole("openai_chat", "it was the", " worst of times", ", and so on"),
        settings=BOTH,
    )
    assert text_of("openai_chat", told)[0] == said + ", and so on"


def test_a_rest_that_comes_in_one_piece_is_told_as_events(books: Books) -> None:
    message = {"role": "assistant", "content": " world"}
    rest = {"id": "c", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    told = tell(dying("anthropic_messages", "Hello"), Answer(json.dumps(rest).encode(), headers=[JSON]), settings=BOTH)
    assert text_of("openai_chat", told)[0] == "Hello world"
    assert [entry.outcome for entry in books] == ["answered"]


def test_a_second_death_is_gone_on_from_as_well(books: Books) -> None:
    answers = (dying("anthropic_messages", "a "), dying("openai_chat", "b "), whole("gemini", "c"))
    told = tell(*answers, settings=route(*(TARGETS[name] for name in ("anthropic_messages", "openai_chat", "gemini"))))
    assert text_of("openai_chat", told)[0] == "a b c"
    [entry] = books
    assert [each.get("characters") for each in entry.trail or ()] == [2, 4, None]


def test_one_that_does_not_go_on_is_followed_by_the_next() -> None:
    answers = (dying("anthropic_messages", "Hello"), ConnectFailed("no"), whole("gemini", " world"))
    settings = route(*(TARGETS[name] for name in ("anthropic_messages", "openai_chat", "gemini")))
    assert text_of("openai_chat", tell(*answers, settings=settings))[0] == "Hello world"


def test_if_nobody_goes_on_the_stream_ends_with_the_error_that_it_died_of(books: Books) -> None:
    told = tell(dying("anthropic_messages", "Hello"), ConnectFailed("no"), settings=BOTH)
    assert is_failed(told)
    assert b'"upstream_closed"' in told.written
    [entry] = books
    assert (entry.outcome, entry.provider, entry.error_code) == ("failed", "anthropic", "upstream_closed")
    assert entry.output_tokens > 0


def test_the_only_target_is_asked_again_only_if_rounds_allow_it() -> None:
    answers = (dying("anthropic_messages", "Hello"), whole("anthropic_messages", " world"))
    assert is_failed(tell(*answers, settings=route(HAIKU)))
    answers = (dying("anthropic_messages", "Hello"), whole("anthropic_messages", " world"))
    again = tell(*answers, settings={**route(HAIKU), "RETRIES": {"rounds": 2}})
    assert text_of("openai_chat", again)[0] == "Hello world"


def test_the_rest_is_other_work_than_the_beginning_and_has_another_key() -> None:
    settings = {**route(HAIKU), "RETRIES": {"rounds": 2}}
    options = {"api_key": "stored", "idempotency_header": "idempotency-key"}
    settings["PROVIDERS"] = {"anthropic": {"OPTIONS": options}}
    told = tell(dying("anthropic_messages", "Hello"), whole("anthropic_messages", " world"), settings=settings)
    keys = [dict(request.headers)[b"idempotency-key"] for request in told.requests]
    assert len(set(keys)) == 2


def test_no_more_attempts_are_made_than_the_policy_has() -> None:
    told = tell(dying("anthropic_messages", "Hello"), settings={**BOTH, "RETRIES": {"attempts": 1}})
    assert (is_failed(told), len(told.requests)) == (True, 1)


TOOL = named(
    "content_block_start", index=1, content_block={"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
)
THOUGHT = named("content_block_start", index=1, content_block={"type": "thinking", "thinking": "", "signature": ""})


@pytest.mark.parametrize("begun", [TOOL, THOUGHT], ids=["call", "reasoning"])
def test_nothing_but_text_is_gone_on_with(begun: bytes) -> None:
    first = Answer(*messages("Hello"), named("content_block_stop", index=0), begun, DEATH, headers=[SSE])
    told = tell(first, settings=BOTH)
    assert (is_failed(told), len(told.requests)) == (True, 1)


def test_nor_is_an_answer_of_which_nothing_was_said() -> None:
    told = tell(dying("anthropic_messages"), settings=BOTH, caller="anthropic_messages")
    assert len(told.requests) == 1
    assert b"event: error" in told.written or told.status >= 500


@pytest.mark.parametrize(
    "asked",
    [
        {"response_format": {"type": "json_object"}},
        {"logprobs": True},
        {"n": 2},
        {"reasoning_effort": "high"},
        {"modalities": ["text"]},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_what_asks_for_more_than_text_passes_as_ever(asked: dict[str, Any]) -> None:
    told = tell(dying("openai_chat", "{"), settings=route(MISTRAL, HAIKU), **asked)
    assert told.written.startswith(b"".join(chat("{")))
    assert (is_failed(told), len(told.requests)) == (True, 1)
    assert b"x-gateway-continuation" not in told.headers


@pytest.mark.parametrize(
    "error",
    [
        named("error", error={"type": "invalid_request_error", "message": "prompt is too long: 300000 tokens"}),
        Draining("stopping"),
    ],
    ids=["context length", "our own end"],
)
def test_only_a_failure_of_the_provider_is_made_up_for(error: Any) -> None:
    told = tell(Answer(*messages("Hello"), error, headers=[SSE]), settings=BOTH)
    assert (is_failed(told), len(told.requests)) == (True, 1)


def test_a_route_without_the_flag_is_as_ever() -> None:
    told = tell(dying("openai_chat", "Hello"), settings=route(MISTRAL, HAIKU, continue_streams=False))
    assert told.written.startswith(b"".join(chat("Hello")))
    assert (is_failed(told), len(told.requests)) == (True, 1)


def test_a_stream_of_responses_from_their_own_provider() -> None:
    protocol = PROTOCOLS["openai_responses"]
    asked = Request(format="openai_responses", model="m", messages=[])
    writer = protocol.stream_writer(asked, Carrier([b"k" * 32]), Head(model="m", stream=True))
    events = (Started(id="resp_1", model="m"), Opened(key=0, part=Text(text="Hello ")), Grown(key=0, text="wor"))
    first = Answer(*map(writer.write, events), DEATH, headers=[SSE])
    told = tell(first, whole("openai_chat", "ld"), settings=route("groq/llama-4", MISTRAL), caller="openai_responses")
    assert b"resp_1" in told.written
    assert text_of("openai_responses", told)[0] == "Hello world"


def test_a_second_answer_may_call_tools() -> None:
    call = named(
        "content_block_start", index=1, content_block={"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    )
    ends = [
        named("content_block_stop", index=1),
        named("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 7}),
        named("message_stop"),
    ]
    second = Answer(*messages(" world"), named("content_block_stop", index=0), call, *ends, headers=[SSE])
    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    told = tell(
        dying("openai_chat", "Hello"), second, settings=route(MISTRAL, HAIKU), caller="anthropic_messages", tools=tools
    )
    answer = collected(events_of_pieces(PROTOCOLS["anthropic_messages"], [told.written]))
    assert [type(part).__name__ for part in answer.parts] == ["Text", "ToolCall"]
    assert answer.stop is Stop.TOOL_USE


def test_both_answers_are_paid_for_and_the_seam_is_written_down(books: Books) -> None:
    told = tell(
        dying("anthropic_messages", "Hello "), whole("openai_chat", "world"), settings=BOTH, caller="anthropic_messages"
    )
    _, shown = text_of("anthropic_messages", told)
    [entry] = books
    assert entry.trail is not None
    died, last = entry.trail
    spent = died["tokens"]["output"]
    assert (died["provider"], died["error"], died["characters"]) == ("anthropic", "upstream_closed", 6)
    assert (last["provider"], last["tokens"]) == ("mistral", {"input": 30, "output": 7})
    assert (entry.input_tokens, entry.output_tokens, entry.is_estimated) == (20 + 30, spent + 7, True)
    assert entry.cost_nanos == died["cost_nanos"] + last["cost_nanos"] == 1000 * 50 + 10_000 * (spent + 7)
    assert (entry.outcome, entry.provider, entry.attempts) == ("answered", "mistral", 2)
    assert shown is not None
    assert (shown.input, shown.output) == (20, spent + 7)  # The caller sees its prompt once.


def test_limits_count_what_both_used_and_those_of_a_provider_its_own_part(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Recorder()
    monkeypatch.setattr(admission, "store", lambda: store)
    limits = [
        {"name": "tokens", "measure": "tokens", "amount": 100_000},
        {"name": "money", "measure": "cost", "amount": 5, "window": "month"},
        {"name": "often", "measure": "requests", "amount": 100},
        *({"name": each, "scope": "provider", "subject": each, "measure": "tokens", "amount": 10**6} for each in NAMES),
    ]
    tell(dying("anthropic_messages", "Hello "), whole("openai_chat", "world"), settings={**BOTH, "LIMITS": limits})
    [entry] = books
    assert entry.trail is not None
    first, second = (sum(each["tokens"].values()) for each in entry.trail)
    settled = [
        (counter.name.split(":")[1], actual)
        for charges, used in store.settled
        for counter, actual in zip(charges.counters, used, strict=True)
    ]
    assert sorted(settled) == [
        ("anthropic", first),
        ("mistral", second),
        ("money", entry.cost_nanos),
        ("often", 1),
        ("tokens", first + second),
    ]


def test_what_a_limit_of_the_next_target_refuses_is_not_sent() -> None:
    limits = [
        {"name": "all", "measure": "tokens", "amount": 100_000},
        {"name": "m", "scope": "provider", "subject": "mistral", "measure": "tokens", "amount": 30, "window": "day"},
    ]
    told = tell(dying("anthropic_messages", "Hello "), settings={**BOTH, "LIMITS": limits})
    assert (is_failed(told), len(told.requests)) == (True, 1)


class Slow(Scripted):
    """The second provider does not answer before it is let go."""

    def __init__(self, *outcomes: Answer) -> None:
        super().__init__(*outcomes)
        self.go_on = asyncio.Event()

    async def send(self, request: Any, timeouts: object) -> Any:
        answer = await super().send(request, timeouts)
        if len(self.requests) == 2:
            await self.go_on.wait()
        return answer


def test_a_caller_that_hangs_up_during_the_switch_leaves_nothing_open(books: Books) -> None:
    first = dying("anthropic_messages", "Hello")
    transport = Slow(first, whole("openai_chat", " world"))

    async def hang_up() -> None:
        reply = await ask(transport, "openai_chat", {})
        assert isinstance(reply.body, ReplyBody)
        async for part in reply.body:
            if part.startswith(b": keep-alive"):
                break
        await reply.aclose()
        assert len(asyncio.all_tasks()) == 1

    with override_settings(AI_GATEWAY={**BOTH, "KEEP_ALIVE_INTERVAL": 0.02}):
        run(hang_up())
    assert first.is_closed
    [entry] = books
    assert (entry.outcome, len(entry.trail or ())) == ("disconnected", 2)


def test_a_sign_of_life_is_given_while_somebody_is_looked_for() -> None:
    transport = Slow(dying("anthropic_messages", "Hello"), whole("openai_chat", " world"))

    async def read() -> bytes:
        reply = await ask(transport, "openai_chat", {})
        assert isinstance(reply.body, ReplyBody)
        written = b""
        async for part in reply.body:
            written += part
            if b": keep-alive" in part:
                transport.go_on.set()
        await reply.aclose()
        return written

    with override_settings(AI_GATEWAY={**BOTH, "KEEP_ALIVE_INTERVAL": 0.02}):
        written = run(read())
    assert b": keep-alive" in written
    assert written.endswith(b"data: [DONE]\n\n")
