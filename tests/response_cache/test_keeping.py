"""Which answers are kept."""

from __future__ import annotations

from typing import Any

import pytest

from ai_gateway import accounting
from ai_gateway.calls import ReplyBody
from ai_gateway.errors import ConnectFailed
from ai_gateway.test.providers import Books
from tests.dying_streams import dying
from tests.dying_streams import whole as a_whole_stream
from tests.factories import JSON, Answer
from tests.response_cache.site import ANSWERED, CHAT, EVENTS, SETTINGS, Site, serve, stream, whole

BAD = {
    "an error": whole({"error": {"message": "no"}}, status=400),
    "an error that says 200": whole({"error": {"message": "no"}}),
    "no JSON": Answer(b"ha", headers=[JSON, (b"content-length", b"2")]),
    "compressed": whole(ANSWERED, (b"content-encoding", b"gzip")),
    "filtered": whole({"choices": [{"finish_reason": "content_filter", "message": {"content": ""}}]}),
    "a refusal": whole({"choices": [{"finish_reason": "stop", "message": {"refusal": "No."}}]}),
    "a tool": whole({"choices": [{"finish_reason": "tool_calls", "message": {"tool_calls": [{"id": "c"}]}}]}),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=list(BAD))
def test_what_is_no_answer_is_not_kept(bad: Answer) -> None:
    async def script(site: Site) -> None:
        first, second = await site.ask(), await site.ask()
        assert (first.cache, second.cache) == (b"miss", b"miss")

    bad = Answer(*bad.steps, status=bad.status, headers=bad.headers)
    assert serve(script, bad, whole()).asked == 2


def test_an_answer_that_calls_a_tool_is_kept_if_the_operator_wants_it() -> None:
    async def script(site: Site) -> None:
        await site.ask()
        assert (await site.ask()).cache == b"hit"

    answer = {"choices": [{"finish_reason": "tool_calls", "message": {"tool_calls": [{"id": "c"}]}}]}
    serve(script, whole(answer), RESPONSE_CACHE={"tools": True})


BROKEN = {
    "cut off": stream(EVENTS[0]),
    "died": stream(EVENTS[0], ConnectFailed("gone")),
    "an error as an event": stream(EVENTS[0], b'data: {"error": {"message": "no"}}\n\n', b"data: [DONE]\n\n"),
    "filtered": stream(b'data: {"choices":[{"finish_reason":"content_filter"}]}\n\n', EVENTS[2]),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=list(BROKEN))
def test_a_stream_that_does_not_end_well_is_not_kept(broken: Answer) -> None:
    async def script(site: Site) -> None:
        await site.ask({**CHAT, "stream": True})
        assert (await site.ask({**CHAT, "stream": True})).cache == b"miss"

    broken = Answer(*broken.steps, headers=broken.headers)
    assert serve(script, broken, stream()).asked == 2


def test_a_stream_that_its_caller_leaves_is_not_kept() -> None:
    async def script(site: Site) -> None:
        reply = await site.reply({**CHAT, "stream": True})
        assert isinstance(reply.body, ReplyBody)
        await reply.body.__anext__()
        await reply.aclose()
        assert (await site.ask({**CHAT, "stream": True})).cache == b"miss"

    assert serve(script, stream(), stream()).asked == 2


@pytest.mark.parametrize("body", [CHAT, {**CHAT, "stream": True}], ids=["plain", "stream"])
def test_nothing_long_is_kept(body: Any) -> None:
    async def script(site: Site) -> None:
        await site.ask(body)
        assert (await site.ask(body)).cache == b"miss"
        assert (await site.ask({**CHAT, "user": "x" * 200})).cache == b"bypass"

    def answer() -> Answer:
        return (
            stream(b"data: " + b"x" * 200 + b"\n\n", *EVENTS)
            if "stream" in body
            else whole({**ANSWERED, "n": "x" * 200})
        )

    assert serve(script, answer(), answer(), whole(), RESPONSE_CACHE={"max_bytes": 100}).asked == 3


@pytest.mark.parametrize("durability", ["batched", "committed"])
@pytest.mark.parametrize("prices", [SETTINGS["PRICES"], []], ids=["priced", "unpriced"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_an_answer_that_is_kept_is_priced_once(
    books: Books, monkeypatch: pytest.MonkeyPatch, is_stream: bool, prices: list[Any], durability: str
) -> None:
    """The price may be another one a moment later, and is looked for in vain but once."""
    priced: list[int | None] = []
    price_of = accounting.price_of

    def noted(*given: Any) -> int | None:
        priced.append(price_of(*given))
        return priced[-1]

    monkeypatch.setattr(accounting, "price_of", noted)

    async def script(site: Site) -> None:
        await site.ask({**CHAT, "stream": is_stream})
        await site.ask({**CHAT, "stream": is_stream})

    serve(script, stream() if is_stream else whole(), PRICES=prices, USAGE_DURABILITY=durability)
    assert [(row.outcome, row.cost_nanos) for row in books] == [("answered", priced[0]), ("cached", 0)]
    assert len(priced) == 1
    assert books[1].saved_nanos == (priced[0] or 0)


@pytest.mark.parametrize("died_unpriced", [False, True])
def test_a_stream_that_was_gone_on_with_saves_what_all_of_it_cost(books: Books, died_unpriced: bool) -> None:
    async def script(site: Site) -> None:
        asked = {**CHAT, "model": "r", "stream": True}
        first = await site.ask(asked)
        assert b"Hello " in first.body
        assert b"world" in first.body
        assert (await site.ask(asked)).cache == b"hit"

    serve(
        script,
        dying("openai_chat", "Hello "),
        a_whole_stream("openai_chat", "world"),
        ROUTES={"r": {"targets": ["openai/a", "groq/b"], "continue_streams": True, "ask_to_continue": True}},
        PRICES=[{"model": "b" if died_unpriced else "*", "input": 1, "output": 10}],
        RETRIES={"attempts": 2},
    )
    first, again = books
    died, last = [line["cost_nanos"] for line in first.trail or ()]
    assert (first.outcome, again.outcome, again.cost_nanos) == ("answered", "cached", 0)
    assert (died is None, last) == (died_unpriced, 30 * 1_000 + 7 * 10_000)
    assert first.cost_nanos == (None if died_unpriced else died + last)
    assert again.saved_nanos == (first.cost_nanos or 0)
