"""The end of a call: whatever it is, the limits are settled once and one entry goes to the ledger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import accounting, admission, gateway, health, ledger, registry
from ai_gateway.calls import Caller, Reply, ReplyBody
from ai_gateway.charges import Charges, State, Verdict
from ai_gateway.errors import (
    ClientDisconnected,
    ConnectFailed,
    UpstreamClosed,
    UpstreamError,
    UpstreamTimeout,
)
from ai_gateway.limits.memory import MemoryStore
from ai_gateway.meter import Entry
from ai_gateway.test.providers import Books
from tests.factories import JSON, Answer, Body, Recorder, Scripted, make_arrival, run

BODY = b'{"model": "m", "messages": []}'
STREAMED = b'{"model": "m", "stream": true, "messages": []}'
SSE = (b"content-type", b"text/event-stream")
PROTOBUF = (b"content-type", b"application/x-protobuf")
DONE = (
    b'data: {"choices":[{"delta":{"content":"Hello"},"finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}\n\ndata: [DONE]\n\n'
)
HALF = b'data: {"choices":[{"delta":{"content":"Hello there, how are you?"}}]}\n\n'
SETTINGS = {
    "PROVIDERS": {"openai": {"OPTIONS": {"api_key": "sk-x"}}},
    "KEYS": {"k": "gw_a-key-of-the-settings"},
    "LIMITS": [{"name": "tokens", "scope": "key", "measure": "tokens", "amount": 10**6}],
    "PRICES": [{"model": "m", "input": 1, "output": 10}],
    "TIMEOUTS": {},
}
KEY = (b"authorization", b"Bearer gw_a-key-of-the-settings")


class AllBooks(Books):
    """A ledger and a store of limits that remember what they were told."""

    def __init__(self) -> None:
        super().__init__()
        self.committed: list[Entry] = []
        self.settled: list[int] = []

    async def commit(self, entry: Entry) -> None:
        self.committed.append(entry)


class Store(Recorder):
    def __init__(self, books: AllBooks) -> None:
        super().__init__()
        self.books = books
        self.fails = False

    async def admit(self, charges: Charges, ttl: float) -> Verdict:
        return Verdict(True, [State(1, 1, 1.0) for _ in charges.counters])

    def settle(self, charges: Charges, used: Sequence[int]) -> None:
        self.books.settled += used
        if self.fails:
            self.fails = False
            raise RuntimeError("the store is broken")


@pytest.fixture
def books(monkeypatch: pytest.MonkeyPatch) -> AllBooks:
    made = AllBooks()
    store = Store(made)
    monkeypatch.setattr(ledger, "ledger", made)
    monkeypatch.setattr(admission, "store", lambda: store)
    return made


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    with override_settings(AI_GATEWAY=SETTINGS):
        yield


def ask(
    *outcomes: Answer | Exception, body: bytes = BODY, key: tuple[bytes, bytes] = KEY, read: int | None = None
) -> Reply:
    """Make a call, and read so many pieces of the answer (None: all of it); then hang up."""

    async def main() -> Reply:
        arrival = make_arrival("/v1/chat/completions", JSON, key, body=body)
        reply = await gateway.handle(arrival, Scripted(*outcomes))
        if isinstance(reply.body, ReplyBody):
            try:
                count = 0
                while read is None or count < read:
                    await anext(reply.body)
                    count += 1
            except StopAsyncIteration:
                pass
            finally:
                await reply.aclose()
                await reply.aclose()  # Closing twice is closing once.
        return reply

    return run(main())


def plain(value: Any, status: int = 200) -> Answer:
    content = json.dumps(value).encode()
    return Answer(content, status=status, headers=[JSON, (b"content-length", b"%d" % len(content))])


def good() -> Answer:
    return plain({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}})


Ending = tuple[Callable[[], Reply], str, int, bool]
ENDINGS: dict[str, Ending] = {
    "a good answer": (lambda: ask(good()), "answered", 15, False),
    "a mistake of the caller's": (lambda: ask(plain({"error": {}}, 400)), "failed", 0, False),
    "an error of the provider's": (lambda: ask(plain({"error": {}}, 500)), "failed", 0, False),
    "no connection": (lambda: ask(ConnectFailed("no")), "failed", 0, False),
    "silence": (lambda: ask(UpstreamTimeout("slow")), "timed_out", -1, True),
    "no answer": (lambda: ask(UpstreamClosed("gone")), "failed", -1, True),
    "a good stream": (lambda: ask(Answer(DONE, headers=[SSE]), body=STREAMED), "answered", 15, False),
    "a stream that breaks": (
        lambda: ask(Answer(HALF, UpstreamError("odd"), headers=[SSE]), body=STREAMED),
        "failed",
        -1,
        True,
    ),
    "a caller that hangs up": (
        lambda: ask(Answer(HALF, DONE, headers=[SSE]), body=STREAMED, read=1),
        "disconnected",
        -1,
        True,
    ),
    "a caller that never begins to read": (
        lambda: ask(Answer(HALF, DONE, headers=[SSE]), body=STREAMED, read=0),
        "disconnected",
        -1,
        True,
    ),
}


@pytest.mark.parametrize(("end", "outcome", "tokens", "is_estimated"), ENDINGS.values(), ids=ENDINGS)
def test_every_ending_settles_once_and_leaves_one_entry(
    books: AllBooks, end: Callable[[], Reply], outcome: str, tokens: int, is_estimated: bool
) -> None:
    """`tokens` of -1 stand for an estimate: some, and as many in the entry as in the settlement."""
    end()
    (entry,) = books
    (settled,) = books.settled
    assert (entry.outcome, entry.is_estimated) == (outcome, is_estimated)
    assert settled == entry.input_tokens + entry.output_tokens
    assert settled > 0 if tokens < 0 else settled == tokens


def test_a_caller_that_hangs_up_while_it_waits(books: AllBooks) -> None:
    class Stuck(Scripted):
        async def send(self, request: Any, timeouts: object) -> Any:
            await asyncio.Event().wait()

    async def main() -> None:
        arrival = make_arrival("/v1/chat/completions", JSON, KEY, body=BODY)
        task = asyncio.ensure_future(gateway.handle(arrival, Stuck()))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    (entry,) = books
    assert (entry.outcome, entry.status, len(books.settled)) == ("disconnected", 0, 1)


def test_a_caller_that_hangs_up_in_the_middle_of_its_request(books: AllBooks, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(self: Body, limit: int, seconds: float) -> bytes:
        raise ClientDisconnected

    monkeypatch.setattr(Body, "read", gone)
    with pytest.raises(ClientDisconnected):
        ask()
    assert [entry.outcome for entry in books] == ["disconnected"]


def test_a_call_that_ends_with_the_process(books: AllBooks, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        arrival = make_arrival("/v1/chat/completions", JSON, KEY, body=STREAMED)
        reply = await gateway.handle(arrival, Scripted(Answer(HALF, DONE, headers=[SSE])))
        monkeypatch.setattr(health, "_is_draining", True)
        await reply.aclose()

    run(main())
    assert [entry.outcome for entry in books] == ["stopped"]


def test_a_broken_store_takes_no_answer_from_its_caller(books: AllBooks) -> None:
    admission.store().fails = True  # type: ignore[attr-defined]
    assert ask(good()).status == 200
    (entry,) = books
    assert (entry.cost_nanos, books.settled) == (60_000, [15, books.settled[1]])
    assert books.settled[1] > 1000, "what was reserved"


@pytest.mark.parametrize(("where", "tokens"), [("cost_of", 15), ("consumption_of", 0)])
def test_a_call_that_cannot_be_priced_for_a_bug_is_not_free(
    books: AllBooks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str, tokens: int
) -> None:
    """What it had reserved counts as used, and it is written down without a cost."""
    monkeypatch.setattr(accounting, where, fails)
    assert ask(good()).status == 200
    (entry,) = books
    assert (entry.outcome, entry.input_tokens + entry.output_tokens, entry.cost_nanos) == ("answered", tokens, None)
    (settled,) = books.settled
    assert settled > 1000
    assert "could not be accounted for" in caplog.text


def test_a_consumption_that_cannot_be_written_down_leaves_an_entry(
    books: AllBooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounting, "_add_consumption", fails)
    assert ask(good()).status == 200
    (entry,) = books
    assert (entry.outcome, entry.output_tokens, books.settled) == ("answered", 0, [15, books.settled[1]])


@pytest.mark.parametrize("body", [BODY, STREAMED], ids=["whole", "streamed"])
@pytest.mark.parametrize("where", ["tell_limits", "ratelimits.headers"])
def test_nothing_between_an_answer_and_its_account_loses_either(
    books: AllBooks, monkeypatch: pytest.MonkeyPatch, where: str, body: bytes
) -> None:
    monkeypatch.setattr(f"ai_gateway.accounting.{where}", fails)
    answer = good() if body is BODY else Answer(DONE, headers=[SSE])
    if where == "tell_limits":
        with pytest.raises(RuntimeError, match="a bug"):
            ask(answer, body=body)
    else:
        assert ask(answer, body=body).status == 200
    assert [entry.attempts for entry in books] == [1]
    assert len(books.settled) == 1


def test_what_was_taken_is_given_back_if_the_call_fails_right_after(
    books: AllBooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ai_gateway.notices.warn", fails)
    limits = [{"name": "tokens", "scope": "key", "measure": "tokens", "amount": 1, "is_soft": True}]
    with override_settings(AI_GATEWAY={**SETTINGS, "LIMITS": limits}):
        assert ask(good()).status == 500
    assert (books.settled, [entry.cost_nanos for entry in books]) == ([0], [0])


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("most", [10**9, 10**16, 10**22, 10**320])
@pytest.mark.parametrize("stream", [False, True])
def test_what_a_caller_allows_beyond_all_measure_harms_no_other(
    books: AllBooks, monkeypatch: pytest.MonkeyPatch, path: str, most: int, stream: bool
) -> None:
    store = MemoryStore()
    monkeypatch.setattr(admission, "store", lambda: store)
    limits = [
        {"name": "tokens", "measure": "tokens", "amount": 1000},
        {"name": "slots", "measure": "concurrency", "amount": 1},
    ]

    async def call(most: int) -> int:
        body = {"model": "openai/m", "max_tokens": most, "stream": stream, "messages": []}
        arrival = make_arrival(path, JSON, KEY, body=json.dumps(body).encode())
        reply = await gateway.handle(arrival, Scripted(Answer(DONE, headers=[SSE]) if stream else good()))
        if isinstance(reply.body, ReplyBody):
            async for _ in reply.body:
                pass
        await reply.aclose()
        return reply.status

    with override_settings(AI_GATEWAY={**SETTINGS, "LIMITS": limits}):
        assert [run(call(each)) < 500 for each in (most, 5)] == [True, True]
    assert len(books) == 2
    assert store.is_idle


def fails(*_: Any) -> Any:
    raise RuntimeError("a bug")


def test_a_stranger_whose_call_leads_nowhere_leaves_no_entry(books: AllBooks) -> None:
    assert ask(key=(b"x-nothing", b"")).status == 401
    assert ask(body=b"{", key=(b"x-nothing", b"")).status == 400
    assert not books


def test_a_site_that_wants_it_waits_for_the_ledger_before_the_end(
    books: AllBooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "writes_usage", lambda: True)
    with override_settings(AI_GATEWAY={**SETTINGS, "USAGE_DURABILITY": "committed"}):
        ask(good())
        assert len(books.committed) == 1
        ask(Answer(HALF, DONE, headers=[SSE]), body=STREAMED, read=1)
        assert (len(books.committed), len(books)) == (1, 1)  # Nobody waits any more who could.
        ask(Answer(HALF, DONE, headers=[SSE]), body=STREAMED, read=2)
        assert len(books.committed) == 2


@pytest.mark.parametrize("length", [[(b"content-length", b"100000")], []], ids=["of a length that was told", "of any"])
def test_the_end_of_an_answer_without_a_proof_of_it_is_waited_for_too(
    books: AllBooks, monkeypatch: pytest.MonkeyPatch, length: list[tuple[bytes, bytes]]
) -> None:
    monkeypatch.setattr(registry, "writes_usage", lambda: True)
    sound = [(b"content-type", b"audio/mpeg"), *length]

    def answer() -> Answer:
        return Answer(bytes(50_000), bytes(50_000), headers=sound)

    with override_settings(AI_GATEWAY={**SETTINGS, "USAGE_DURABILITY": "committed"}):
        ask(answer(), read=1)
        assert (len(books.committed), [entry.outcome for entry in books]) == (0, ["disconnected"])
        ask(answer(), read=2)
        assert len(books.committed) == len(length), (
            "the piece that completes it is the end, if anybody knows its length"
        )
        ask(answer())
        assert books.committed[-1].outcome == "answered"
        assert books.committed[-1].bytes_out == 100_000


@pytest.mark.parametrize(("where", "is_written"), [("keys.identify", False), ("routing.resolve", True)])
def test_a_bug_of_the_gateways_is_an_error_in_the_callers_format_and_in_the_log(
    books: AllBooks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str, is_written: bool
) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("a secret of the operator's")

    monkeypatch.setattr(f"ai_gateway.gateway.{where}", fails)
    reply = ask()
    assert isinstance(reply.body, bytes)
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (500, "internal_error")
    assert b"secret" not in reply.body
    assert dict(reply.headers)[b"x-request-id"].decode() in caplog.text
    assert "a secret of the operator's" in caplog.text
    assert [(entry.outcome, entry.error_code) for entry in books] == [("failed", "internal_error")] * is_written


def test_sound_is_told_apart_from_text(books: AllBooks) -> None:
    details = {"prompt_tokens_details": {"audio_tokens": 4}, "completion_tokens_details": {"audio_tokens": 2}}
    ask(plain({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, **details}}))
    (entry,) = books
    assert (entry.input_tokens + entry.input_audio_tokens, entry.input_audio_tokens) == (10, 4)
    assert (entry.output_tokens + entry.output_audio_tokens, entry.output_audio_tokens) == (5, 2)


def test_what_nobody_wants_to_know_is_not_measured(books: AllBooks) -> None:
    with override_settings(AI_GATEWAY={**SETTINGS, "LIMITS": [], "USAGE": False}):
        reply = ask(good())
    assert reply.status == 200
    assert (list(books), books.settled) == ([], [])
    assert b"x-gateway-cost" not in dict(reply.headers)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1beta/models/m:generateContent", "/v1/files"])
def test_an_endpoint_is_named_without_its_version(path: str) -> None:
    assert accounting.endpoint_of(path) == path.removeprefix("/v1beta/").removeprefix("/v1/")


def test_the_callers_own_words_are_in_the_entry(books: AllBooks) -> None:
    async def main() -> None:
        headers = [(b"x-user-id", b"ann"), (b"x-claude-code-session-id", b"s-1"), (b"x-project-id", b"atlas")]
        arrival = make_arrival("/v1/chat/completions", JSON, *headers, body=BODY)
        caller = Caller(key_name="k", key_id=7, tags=("beta",), metadata={"team": 1})
        await gateway.handle(arrival, Scripted(good()), caller)

    run(main())
    (entry,) = books
    assert (entry.end_user, entry.session, entry.project) == ("ann", "s-1", "atlas")
    assert (entry.key_id, entry.tags, entry.metadata) == (7, ["beta"], {"team": 1})


# Providers that were asked before the last one.

UNSURE = {
    **SETTINGS,
    "PROVIDERS": {
        "openai": {"OPTIONS": {"api_key": "sk-x", "idempotency_header": "Idempotency-Key"}},
        "groq": {"OPTIONS": {"api_key": "sk-y"}},
        "mistral": {"OPTIONS": {"api_key": "sk-z"}},
    },
    "ROUTES": {"either": ["groq/m", "mistral/m"]},
    "RETRIES": {"ambiguous": True},
}
TO_ROUTE = json.dumps({"model": "either", "messages": [{"role": "user", "content": "word " * 100}]}).encode()
TO_GROQ, TO_KNOWING = TO_ROUTE.replace(b"either", b"groq/m"), TO_ROUTE.replace(b"either", b"openai/m")


def test_what_a_provider_was_sent_that_did_not_answer_is_counted_though_another_one_answers(books: AllBooks) -> None:
    with override_settings(AI_GATEWAY=UNSURE):
        alone = ask(UpstreamTimeout("slow"), body=TO_GROQ)
        both = ask(UpstreamTimeout("slow"), good(), body=TO_ROUTE)
    first, entry = books
    assert (alone.status, both.status, entry.attempts) == (504, 200, 2)
    assert first.input_tokens > 100
    assert (entry.input_tokens, entry.output_tokens, entry.is_estimated) == (first.input_tokens + 10, 5, True)
    assert first.cost_nanos
    assert entry.cost_nanos == first.cost_nanos + 60_000
    assert books.settled == [first.input_tokens, first.input_tokens + 15]
    assert [(each["provider"], each["status"], each["cost_nanos"]) for each in entry.trail or ()] == [
        ("groq", 504, first.cost_nanos),
        ("mistral", 200, 60_000),
    ]


def test_what_providers_were_sent_of_which_none_answers_is_counted_of_each(books: AllBooks) -> None:
    with override_settings(AI_GATEWAY=UNSURE):
        ask(UpstreamTimeout("slow"), body=TO_GROQ)
        ask(UpstreamTimeout("slow"), UpstreamClosed("gone"), body=TO_ROUTE)
    first, entry = books
    assert (entry.outcome, entry.input_tokens) == ("failed", 2 * first.input_tokens)
    assert entry.cost_nanos == 2 * (first.cost_nanos or 0)
    assert [(each["provider"], each["status"]) for each in entry.trail or ()] == [("groq", 504), ("mistral", 502)]


def test_a_refusal_after_silence_costs_what_the_silence_did(books: AllBooks) -> None:
    with override_settings(AI_GATEWAY=UNSURE):
        ask(UpstreamTimeout("slow"), plain({"error": {}}, 400), body=TO_ROUTE)
    [entry] = books
    assert (entry.outcome, entry.status) == ("failed", 400)
    assert entry.cost_nanos == 1000 * entry.input_tokens > 0


def test_work_that_is_done_once_is_counted_once(books: AllBooks) -> None:
    with override_settings(AI_GATEWAY=UNSURE):
        ask(UpstreamTimeout("slow"), good(), body=TO_KNOWING)
    [entry] = books
    assert (entry.attempts, entry.input_tokens, entry.cost_nanos) == (2, 10, 60_000)


def test_an_answer_in_a_form_that_nobody_can_read_is_refused_in_the_caller_s_dialect(books: AllBooks) -> None:
    async def ask_google(transport: Scripted) -> Reply:
        path = "/v1beta/models/gemini-x:generateContent"
        return await gateway.handle(
            make_arrival(path, JSON, KEY, body=b'{"contents": []}', query=b"alt=proto"), transport
        )

    site = {**SETTINGS, "PROVIDERS": {"gemini": {"OPTIONS": {"api_key": "AIza-x"}}}}
    binary = Answer(b"\x0a\x10" + b"x" * 400, headers=[PROTOBUF, (b"content-length", b"402")])
    with override_settings(AI_GATEWAY=site):
        refused = run(ask_google(transport := Scripted()))
    assert isinstance(refused.body, bytes)
    error = json.loads(refused.body)["error"]
    assert (refused.status, error["code"], error["status"], transport.requests) == (400, 400, "INVALID_ARGUMENT", [])
    assert "alt" in error["message"]
    with override_settings(AI_GATEWAY={**site, "UNCOUNTED_WORK": True}):
        run(ask_google(Scripted(binary)))
    assert [(row.status, row.error_code, row.is_estimated) for row in books] == [
        (400, "usage_unknown", False),
        (200, "", True),
    ]
