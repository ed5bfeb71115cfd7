"""Trying targets, judging answers, choosing headers."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from time import perf_counter
from typing import Any

import msgspec
import pytest
from django.test import override_settings

from ai_gateway import breakers, cooldowns, deadlines, registry
from ai_gateway.attempts import ask
from ai_gateway.calls import Call, Caller, Reply, Target, UpstreamRequest, UpstreamResponse
from ai_gateway.credentials import Secret
from ai_gateway.errors import (
    ConnectFailed,
    DeadlineExceeded,
    ProviderBusy,
    UpstreamClosed,
    UpstreamError,
    UpstreamRedirect,
    UpstreamRefusedCredential,
    UpstreamTimeout,
)
from ai_gateway.meter import Meter
from ai_gateway.overload import at_providers
from ai_gateway.providers import Credential
from ai_gateway.relay import Plain, Stream
from ai_gateway.retries import budget
from tests.factories import JSON, Answer, Scripted, make_call, make_meter, run, states

HOLDER = Caller(key_name="team")
STRANGER = Caller(credential=(b"authorization", b"Bearer sk-own"))
SSE = (b"content-type", b"text/event-stream")
LIMITED = [{"name": "all", "scope": "everyone", "measure": "tokens", "window": "minute", "amount": 10**6}]
OPTIONS = {"PROVIDERS": {name: {"OPTIONS": {"api_key": f"stored-{name}"}} for name in ("openai", "groq", "anthropic")}}


def attempt(
    *outcomes: Answer | Exception,
    call: Call | None = None,
    caller: Caller = HOLDER,
    targets: tuple[str, ...] = ("openai",),
    **settings: Any,
) -> tuple[Reply, Scripted]:
    """Ask these providers, which answer by this script."""
    transport = Scripted(*outcomes)
    asked = call or make_call(body=b'{"model": "m"}', model="m")
    with override_settings(AI_GATEWAY={**OPTIONS, **settings}):
        snapshot = registry.snapshot()
        reply = run(ask(make_meter(asked, caller), [Target(name, "m") for name in targets], snapshot, transport))
    return reply, transport


def test_a_short_answer_is_whole_before_it_goes_out() -> None:
    answer = Answer(b'{"a":', b"1}", headers=[JSON, (b"content-length", b"7")])
    reply, _ = attempt(answer)
    assert (reply.status, reply.body) == (200, b'{"a":1}')
    assert answer.is_closed


def test_a_short_answer_that_breaks_is_an_error_and_closed() -> None:
    answer = Answer(b'{"a":', UpstreamClosed("gone"), headers=[JSON, (b"content-length", b"7")])
    with pytest.raises(UpstreamClosed):
        attempt(answer)
    assert answer.is_closed


def test_a_long_answer_flows() -> None:
    reply, _ = attempt(Answer(b"part", headers=[(b"content-type", b"audio/mpeg")]))
    assert isinstance(reply.body, Plain)


def test_a_stream_is_committed_when_its_first_event_is_good() -> None:
    reply, _ = attempt(Answer(b": hi\n\n", b"data: {}\n\n", headers=[SSE]))
    assert isinstance(reply.body, Stream)
    headers = dict(reply.headers)
    assert (headers[b"cache-control"], headers[b"x-accel-buffering"]) == (b"no-cache", b"no")


@pytest.mark.parametrize(
    ("path", "provider", "event", "status"),
    [
        ("/v1/chat/completions", "openai", b'data: {"error":{"code":429,"message":"slow"}}\n\n', 429),
        (
            "/v1/messages",
            "anthropic",
            b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"x"}}\n\n',
            529,
        ),
        (
            "/v1/responses",
            "openai",
            b'data: {"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"x"}}}\n\n',
            429,
        ),
    ],
)
def test_an_error_as_the_first_event_becomes_a_status(path: str, provider: str, event: bytes, status: int) -> None:
    answer = Answer(event, headers=[SSE])
    reply, _ = attempt(answer, call=make_call(path, body=b'{"model": "m"}', model="m"), targets=(provider,))
    assert reply.status == status
    assert isinstance(reply.body, bytes)
    assert json.loads(reply.body)["error"]["message"]
    assert dict(reply.headers)[b"content-type"] == b"application/json"
    assert answer.is_closed


def test_an_empty_stream_is_an_error() -> None:
    with pytest.raises(UpstreamClosed):
        attempt(Answer(headers=[SSE]))


def test_a_stream_that_ends_in_its_first_event_ends_with_an_error() -> None:
    async def read(stream: Any) -> bytes:
        return b"".join([part async for part in stream])

    reply, _ = attempt(Answer(b'data: {"choices"', headers=[SSE]))
    assert isinstance(reply.body, Stream)
    assert b"ended before the answer was complete" in run(read(reply.body))


def test_a_silent_stream_is_committed_after_one_interval() -> None:
    reply, _ = attempt(Answer(None, b"data: {}\n\n", headers=[SSE]))
    assert isinstance(reply.body, Stream)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    answer = Answer(status=status, headers=[(b"location", b"https://evil.example/")])
    with pytest.raises(UpstreamRedirect):
        attempt(answer)
    assert answer.is_closed


def test_a_refused_stored_credential_is_the_operators_problem() -> None:
    with pytest.raises(UpstreamRefusedCredential) as caught:
        attempt(Answer(b'{"error":{"message":"Incorrect API key provided: stored-o..."}}', status=401))
    assert "stored" not in caught.value.message


def test_a_refused_own_credential_is_told_as_it_is() -> None:
    body = b'{"error":{"message":"Incorrect API key"}}'
    length = (b"content-length", b"%d" % len(body))
    reply, _ = attempt(Answer(body, status=401, headers=[JSON, length]), caller=STRANGER)
    assert (reply.status, reply.body) == (401, body)
    assert (b"x-should-retry", b"false") in reply.headers


@pytest.mark.parametrize(("status", "is_added"), [(400, True), (404, True), (422, True), (408, False), (409, False)])
def test_what_a_retry_cannot_heal_says_so(status: int, is_added: bool) -> None:
    reply, _ = attempt(Answer(b"{}", status=status, headers=[JSON, (b"content-length", b"2")]))
    assert ((b"x-should-retry", b"false") in reply.headers) is is_added


def test_what_the_provider_says_of_retrying_stands() -> None:
    headers = [JSON, (b"content-length", b"2"), (b"x-should-retry", b"true"), (b"retry-after", b"7")]
    reply, _ = attempt(Answer(b"{}", status=400, headers=headers))
    assert [value for name, value in reply.headers if name == b"x-should-retry"] == [b"true"]
    assert (b"retry-after", b"7") in reply.headers


def test_headers_that_concern_one_hop_or_the_providers_host_stay_behind() -> None:
    dropped = [
        (b"connection", b"X-Foo, close"),
        (b"x-foo", b"1"),
        (b"set-cookie", b"a=b"),
        (b"alt-svc", b"h3"),
        (b"transfer-encoding", b"chunked"),
        (b"x-request-id", b"theirs"),
    ]
    reply, _ = attempt(Answer(b"{}", headers=[JSON, (b"content-length", b"2"), *dropped, (b"x-ratelimit", b"9")]))
    headers = dict(reply.headers)
    assert not {name for name, _ in dropped[:5]} & set(headers)
    assert headers[b"x-upstream-request-id"] == b"theirs"
    assert (headers[b"x-request-id"], headers[b"request-id"]) == (b"req_test", b"req_test")
    assert (headers[b"x-ratelimit"], headers[b"x-gateway-provider"]) == (b"9", b"openai")


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_answers_without_a_body_have_none(method: str, status: int) -> None:
    answer = Answer(status=status, headers=[(b"content-length", b"10")])
    reply, _ = attempt(answer, call=make_call("/v1/files/f", method=method, body=b""))
    assert reply.body == b""
    assert (b"content-length" in dict(reply.headers)) is (method == "HEAD")


def test_the_next_target_is_tried_when_nothing_was_sent() -> None:
    answer = Answer(b"{}", headers=[JSON, (b"content-length", b"2")])
    reply, transport = attempt(ConnectFailed("refused"), answer, targets=("openai", "groq"))
    headers = dict(reply.headers)
    assert (headers[b"x-gateway-provider"], headers[b"x-gateway-attempts"]) == (b"groq", b"2")
    assert [dict(sent.headers)[b"authorization"] for sent in transport.requests] == [
        b"Bearer stored-openai",
        b"Bearer stored-groq",
    ]


@pytest.mark.parametrize("error", [UpstreamClosed("gone"), UpstreamError("odd")])
def test_a_call_that_may_have_been_worked_on_is_not_repeated(error: UpstreamError) -> None:
    with pytest.raises(UpstreamError):
        attempt(error, Answer(b"{}"), targets=("openai", "groq"))


BOTH = ("openai", "groq")


def good() -> Answer:
    return Answer(b"{}", headers=[JSON, (b"content-length", b"2")])


def refusal(status: int, body: object = None, *headers: tuple[bytes, bytes]) -> Answer:
    content = json.dumps(body or {"error": {"message": "no"}}).encode()
    return Answer(content, status=status, headers=[JSON, (b"content-length", b"%d" % len(content)), *headers])


@pytest.mark.parametrize("status", [429, 500, 502, 503, 529, 404])
def test_the_next_target_is_tried_when_a_provider_says_that_it_did_not_do_it(status: int) -> None:
    refused = refusal(status)
    reply, transport = attempt(refused, good(), targets=BOTH)
    headers = dict(reply.headers)
    assert (reply.status, headers[b"x-gateway-provider"], headers[b"x-gateway-attempts"]) == (200, b"groq", b"2")
    assert refused.is_closed
    assert len(transport.requests) == 2


@pytest.mark.parametrize("status", [400, 422])
def test_a_mistake_of_the_callers_is_told_at_once(status: int) -> None:
    reply, transport = attempt(refusal(status), good(), targets=BOTH)
    assert reply.status == status
    assert len(transport.requests) == 1


def test_a_prompt_that_is_too_long_for_one_may_fit_the_next() -> None:
    too_long = refusal(400, {"error": {"code": "context_length_exceeded", "message": "too long"}})
    reply, _ = attempt(too_long, good(), targets=BOTH)
    assert reply.status == 200


def test_a_refused_credential_of_ours_is_no_end_while_there_is_another_target() -> None:
    reply, _ = attempt(refusal(401), good(), targets=BOTH)
    assert reply.status == 200


BLOCKED = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 4}}
SAID = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}
ASKED = {
    "/v1beta/models/m:generateContent": {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
    "/v1beta/models/m:streamGenerateContent": {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
    "/v1/chat/completions": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
    "/v1/chat/completions?stream": {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi"}]},
}
"""Bodies by path: Gemini's own format and another one, whole and streamed."""


def of_gemini(document: object, *, stream: bool) -> Answer:
    content = json.dumps(document).encode()
    if stream:
        return Answer(b"data: %b\r\n\r\n" % content, headers=[SSE])
    return Answer(content, headers=[JSON, (b"content-length", b"%d" % len(content))])


@pytest.mark.parametrize("path", ASKED)
def test_a_prompt_that_one_provider_blocks_may_pass_at_the_next(path: str) -> None:
    """Google says so with 200, and charges for the prompt."""
    stream = "tream" in path
    call = make_call(path.partition("?")[0], body=json.dumps(ASKED[path]).encode(), model="m", stream=stream)
    names = ("first", "second")
    providers = {name: {"BACKEND": "gemini", "OPTIONS": {"api_key": f"stored-{name}"}} for name in names}
    prices = [{"model": "*", "input": 1, "output": 1}]

    def tried(*outcomes: Answer) -> tuple[Reply, Meter]:
        meter = make_meter(call)
        targets = [Target(name, "m") for name in names][: len(outcomes)]
        with override_settings(AI_GATEWAY={"PROVIDERS": providers, "PRICES": prices, "LIMITS": LIMITED}):
            return run(ask(meter, targets, registry.snapshot(), Scripted(*outcomes))), meter

    refused = of_gemini(BLOCKED, stream=stream)
    reply, meter = tried(refused, of_gemini(SAID, stream=stream))
    assert (reply.status, dict(reply.headers)[b"x-gateway-provider"]) == (200, b"second")
    assert refused.is_closed
    (found,) = meter.trail
    assert (found["provider"], found["status"], found["error"]) == ("first", 200, "content_policy_violation")
    assert (found["tokens"], found["cost_nanos"]) == ({"input": 4}, 4000)
    assert states() == {}
    for outcomes in ([BLOCKED], [BLOCKED, BLOCKED]):  # Nobody is left to be asked.
        reply, _ = tried(*(of_gemini(each, stream=stream) for each in outcomes))
        assert (reply.status, dict(reply.headers)[b"x-gateway-attempts"]) == (200, b"%d" % len(outcomes))


def test_a_word_of_blocks_in_an_answer_is_no_refusal() -> None:
    both = {**BLOCKED, **SAID}
    call = make_call("/v1beta/models/m:generateContent", model="m")
    documents: list[object] = [both, {**SAID, "note": "blockReason"}, [], {"promptFeedback": 1}]
    for document in documents:
        outcomes = [of_gemini(document, stream=False), good()]
        with override_settings(AI_GATEWAY={"PROVIDERS": {"gemini": {"OPTIONS": {"api_key": "k"}}}}):
            transport = Scripted(*outcomes)
            targets = [Target("gemini", "m"), Target("gemini", "n")]
            run(ask(make_meter(call), targets, registry.snapshot(), transport))
        assert len(transport.requests) == 1


def test_an_error_as_a_streams_first_event_goes_to_the_next_target() -> None:
    broken = Answer(b'data: {"error":{"message":"overloaded","code":503}}\n\n', headers=[SSE])
    reply, _ = attempt(broken, good(), targets=BOTH)
    assert dict(reply.headers)[b"x-gateway-provider"] == b"groq"
    assert broken.is_closed


def test_an_upload_is_sent_once() -> None:
    async def pieces() -> Any:
        yield b"audio"

    call = msgspec.structs.replace(make_call("/v1/audio/transcriptions", body=b""), body=pieces())
    reply, transport = attempt(refusal(503), good(), call=call, targets=BOTH)
    assert reply.status == 503
    assert len(transport.requests) == 1


def test_the_last_answer_is_told_and_sdks_are_told_not_to_repeat_what_was_repeated() -> None:
    reply, transport = attempt(refusal(500), refusal(503), targets=BOTH)
    assert (reply.status, len(transport.requests)) == (503, 2)
    assert (b"x-should-retry", b"false") in reply.headers
    reply, _ = attempt(refusal(503))
    assert (b"x-should-retry", b"false") not in reply.headers


def test_a_callers_own_credential_goes_to_one_provider_only() -> None:
    reply, transport = attempt(refusal(503), good(), caller=STRANGER, targets=BOTH)
    assert reply.status == 503
    assert [sent.origin.host for sent in transport.requests] == ["api.openai.com"]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits that are noted, and not waited."""
    noted: list[float] = []

    async def sleep(seconds: float) -> None:
        noted.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return noted


def test_the_same_targets_are_asked_again_if_the_operator_wants_it(waits: list[float]) -> None:
    outcomes = [refusal(503), refusal(500), refusal(503), good()]
    reply, transport = attempt(*outcomes, targets=BOTH, RETRIES={"rounds": 3})
    assert reply.status == 200
    hosts = [sent.origin.host for sent in transport.requests]
    assert hosts == ["api.openai.com", "api.groq.com"] * 2
    assert len(waits) == 1


def test_a_provider_that_asks_for_patience_gets_it(waits: list[float]) -> None:
    reply, _ = attempt(refusal(429, None, (b"retry-after", b"7")), good(), RETRIES={"rounds": 2})
    assert (reply.status, waits) == (200, [7])


def test_who_asks_for_too_much_is_passed_on(waits: list[float]) -> None:
    reply, transport = attempt(refusal(429, None, (b"retry-after", b"3600")), good(), RETRIES={"rounds": 2})
    assert (reply.status, len(transport.requests), waits) == (429, 1, [])
    assert (b"retry-after", b"3600") in reply.headers


def test_a_route_whose_targets_are_all_open_answers_without_waiting(waits: list[float]) -> None:
    outcomes = [refusal(503) for _ in range(4)]
    policy = {"consecutive": 1}
    reply, transport = attempt(*outcomes, targets=BOTH, RETRIES={"rounds": 3}, BREAKERS=policy)
    assert (reply.status, len(transport.requests), waits) == (503, 2, [])


class Unfinished(Answer):
    """A refusal whose body does not end."""

    async def read(self, patience: float | None = None) -> bytes | None:
        assert patience is not None
        return self.steps.pop(0) if self.steps else None  # type: ignore[return-value]


BUSY = {"PROVIDERS": {"openai": {"OPTIONS": {"api_key": "k", "max_concurrency": 1}}}, "RETRIES": {"rounds": 2}}


@pytest.mark.parametrize("kind", [Answer, Unfinished])
def test_who_leaves_while_the_next_attempt_is_waited_for_leaves_nothing_open(kind: type[Answer]) -> None:
    refused = kind(b'{"error": {}}', status=429, headers=[JSON, (b"retry-after", b"5")])

    async def leave() -> None:
        call = make_call(body=b'{"model": "m"}', model="m")
        asking = asyncio.ensure_future(
            ask(make_meter(call), [Target("openai", "m")], registry.snapshot(), Scripted(refused))
        )
        await asyncio.sleep(0.01)
        assert refused.is_closed
        assert (at_providers["openai"].taken, budget.repetitions) == (0, 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    with override_settings(AI_GATEWAY=BUSY):
        run(leave())
    assert (at_providers["openai"].taken, budget.repetitions) == (0, 0)


def test_a_refusal_whose_body_does_not_end_is_one_all_the_same() -> None:
    refused = Unfinished(b"{", status=503, headers=[JSON])
    reply, _ = attempt(refused, good(), targets=BOTH)
    assert (reply.status, refused.is_closed) == (200, True)


def test_a_refusal_that_breaks_is_one_all_the_same() -> None:
    refused = Answer(b"{", UpstreamClosed("gone"), status=503, headers=[JSON, (b"content-length", b"9")])
    reply, _ = attempt(refused, good(), targets=BOTH)
    assert (reply.status, refused.is_closed) == (200, True)


def test_what_a_refusal_in_pieces_says_counts() -> None:
    body = json.dumps({"error": {"message": "no", "code": "context_length_exceeded"}}).encode()
    reply, _ = attempt(Answer(body[:20], body[20:], status=400, headers=[JSON]), good(), targets=BOTH)
    assert reply.status == 200


def test_the_error_of_an_attempt_is_not_that_of_the_call() -> None:
    meter = make_meter(make_call(body=b'{"model": "m"}', model="m"))
    refused = refusal(503, {"error": {"message": "no", "code": "overloaded"}})
    with override_settings(AI_GATEWAY=OPTIONS):
        run(ask(meter, [Target(name, "m") for name in BOTH], registry.snapshot(), Scripted(refused, good())))
    assert meter.error_code == ""


def test_a_strangers_limit_is_nobody_elses() -> None:
    """Else anybody could have a target rest for all, with a credential that is used up."""
    attempt(refusal(429, None, (b"retry-after", b"60")), caller=STRANGER)
    assert states() == {}
    attempt(refusal(429, None, (b"retry-after", b"60")))
    assert states() == {"openai/m": "resting"}


def test_what_fails_with_a_credential_of_the_caller_s_own_opens_no_breaker_for_others() -> None:
    fast: dict[str, Any] = {"RETRIES": {"attempts": 1}, "BREAKERS": {"consecutive": 2}}
    for _ in range(3):
        attempt(refusal(500), caller=STRANGER, **fast)
        with pytest.raises(UpstreamClosed):
            attempt(UpstreamClosed("gone"), caller=STRANGER, **fast)
    assert states() == {}
    for _ in range(2):
        with pytest.raises(ConnectFailed):
            attempt(ConnectFailed("nobody there"), caller=STRANGER, **fast)
    assert states() == {"openai/m": "open"}


def test_a_caller_s_own_credential_leaves_the_probe_to_others() -> None:
    target = Target("openai", "m")
    breakers.note(target, breakers.BreakerPolicy(consecutive=1), is_good=False)
    breakers._breakers[target].open_until = 0.0
    attempt(refusal(500), caller=STRANGER, RETRIES={"attempts": 1})
    assert (states(), breakers.is_probed(target)) == ({"openai/m": "half-open"}, False)


def test_there_is_an_end_to_it(waits: list[float]) -> None:
    outcomes = [refusal(503) for _ in range(20)]
    _, transport = attempt(*outcomes, targets=BOTH, RETRIES={"rounds": 9, "attempts": 4})
    assert len(transport.requests) == 4


@pytest.mark.parametrize("status", [401, 402, 403, 429])
def test_another_credential_of_the_same_provider_is_tried_first(status: int) -> None:
    options = {"api_key": "a", "credentials": (Credential("a", Secret("sk-a")), Credential("b", Secret("sk-b")))}
    with override_settings(AI_GATEWAY=OPTIONS):
        snapshot = registry.snapshot()
    provider = snapshot.providers["openai"].with_options(options)
    snapshot = replace(snapshot, providers={**snapshot.providers, "openai": provider})
    call = make_call(body=b'{"model": "m"}', model="m")
    for outcomes in ([refusal(status), good()], [good()]):
        transport = Scripted(*outcomes)
        reply = run(ask(make_meter(call), [Target("openai", "m"), Target("groq", "m")], snapshot, transport))
        used = [dict(sent.headers)[b"authorization"] for sent in transport.requests]
        assert (reply.status, dict(reply.headers)[b"x-gateway-provider"]) == (200, b"openai")
        assert len(set(used)) == len(outcomes)
        if len(outcomes) == 2:
            healthy = used[1]
    assert used == [healthy]  # The other one rests.


class OneOfTwo(Scripted):
    """A provider that knows one of two credentials."""

    async def send(self, request: UpstreamRequest, timeouts: object) -> UpstreamResponse:
        self.requests.append(request)
        return refusal(401) if b"Bearer sk-bad" in dict(request.headers).values() else good()


def test_one_bad_credential_of_two_rests_and_its_target_is_well() -> None:
    """The provider is not to blame for what the operator has to renew, and no call is lost to it."""
    entries = (Credential("bad", Secret("sk-bad"), 99), Credential("sound", Secret("sk-sound")))
    with override_settings(AI_GATEWAY={**OPTIONS, "BREAKERS": {"consecutive": 1}}):
        snapshot = registry.snapshot()
    provider = snapshot.providers["openai"].with_options({"api_key": "sk-bad", "credentials": entries})
    snapshot = replace(snapshot, providers={**snapshot.providers, "openai": provider})
    transport = OneOfTwo()
    for _ in range(10):
        meter = make_meter(make_call(body=b'{"model": "m"}', model="m"))
        assert run(ask(meter, [Target("openai", "m")], snapshot, transport)).status == 200
    assert len(transport.requests) == 11
    assert list(cooldowns.resting("openai")) == ["bad"]
    assert states() == {}


def test_every_failure_is_in_the_trail() -> None:
    meter = make_meter(make_call(body=b'{"model": "m"}', model="m"))
    with override_settings(AI_GATEWAY=OPTIONS):
        transport = Scripted(ConnectFailed("refused"), refusal(503), good())
        targets = [Target(name, "m") for name in ("openai", "groq", "anthropic")]
        run(ask(meter, targets[:2], registry.snapshot(), transport))
    assert [(tried["provider"], tried["status"]) for tried in meter.trail] == [("openai", 502), ("groq", 503)]


def test_who_was_passed_over_because_it_is_not_well_is_in_the_trail() -> None:
    meter = make_meter(make_call(body=b'{"model": "m"}', model="m"))
    targets = [Target(name, "m") for name in ("openai", "groq", "anthropic")]
    breakers.note(targets[0], breakers.BreakerPolicy(consecutive=1), is_good=False)
    breakers.note(targets[2], breakers.BreakerPolicy(consecutive=1), is_good=False)
    with override_settings(AI_GATEWAY=OPTIONS):
        run(ask(meter, targets, registry.snapshot(), Scripted(good())))
    assert [(each["provider"], each["error"]) for each in meter.trail] == [("openai", "breaker")]
    assert meter.trail[0]["why"] == "its breaker is open"


def test_the_last_failure_is_told() -> None:
    with pytest.raises(ConnectFailed, match="second"):
        attempt(ConnectFailed("first"), ConnectFailed("second"), targets=("openai", "groq"))


def test_nothing_stays_open_when_judging_is_cancelled() -> None:
    class Stuck(Answer):
        async def read(self, patience: float | None = None) -> bytes | None:
            await asyncio.Event().wait()
            return None

    answer = Stuck(headers=[SSE])

    async def main() -> None:
        call = make_call(body=b'{"model": "m"}', model="m")
        asked = asyncio.ensure_future(
            ask(make_meter(call, HOLDER), [Target("openai", "m")], registry.snapshot(), Scripted(answer))
        )
        await asyncio.sleep(0.01)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    with override_settings(AI_GATEWAY=OPTIONS):
        run(main())
    assert answer.is_closed


@pytest.mark.parametrize(
    "failed", [UpstreamClosed("gone"), Answer(b"{}", status=503, headers=[JSON])], ids=["an error", "a refusal"]
)
def test_whose_answer_is_read_on_to_the_end_depends_on_who_answers(failed: Answer | Exception) -> None:
    """The first provider has its answers read on without their caller; it fails, and the second one answers."""
    options = {**OPTIONS["PROVIDERS"], "openai": {"OPTIONS": {"api_key": "sk-x", "finish_within": 5}}}
    meter = make_meter(make_call(body=b'{"model": "m"}', model="m"), HOLDER)
    with override_settings(AI_GATEWAY={"PROVIDERS": options, "RETRIES": {"ambiguous": True}}):
        transport = Scripted(failed, Answer(b"{}", headers=[JSON]))
        reply = run(ask(meter, [Target("openai", "m"), Target("groq", "m")], registry.snapshot(), transport))
    assert (reply.status, len(transport.requests)) == (200, 2)
    assert (meter.goes_on, meter.finish_within) == (False, 0.0)


def test_a_limit_of_our_own_says_nothing_about_the_provider() -> None:
    with pytest.raises(ProviderBusy):
        attempt(ProviderBusy("Full.", retry_after=30))
    assert states() == {}


def test_a_call_that_proves_nothing_does_not_end_the_probe_of_another() -> None:
    target = Target("openai", "m")
    for _ in range(5):
        attempt(Answer(b"{}", status=503, headers=[JSON]))
    breakers._breakers[target].open_until = 0.0
    assert breakers.begin(target)
    attempt(Answer(b"{}", status=400, headers=[JSON]))
    assert not breakers.begin(target)


def test_a_caller_that_leaves_gives_the_probe_to_the_next() -> None:
    class Stuck(Scripted):
        async def send(self, request: object, timeouts: object) -> Answer:
            await asyncio.Event().wait()
            raise AssertionError

    async def leave() -> None:
        with override_settings(AI_GATEWAY=OPTIONS):
            meter = make_meter(make_call(body=b"{}", model="m"))
            asking = asyncio.ensure_future(ask(meter, [target], registry.snapshot(), Stuck()))
            await asyncio.sleep(0.01)
            assert not breakers.begin(target)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    target = Target("openai", "m")
    for _ in range(5):
        attempt(Answer(b"{}", status=503, headers=[JSON]))
    breakers._breakers[target].open_until = 0.0
    run(leave())
    assert breakers.begin(target)


# The time for a call.


def test_a_call_without_a_deadline_waits_as_the_provider_is_set_up() -> None:
    class Noting(Scripted):
        async def send(self, request: UpstreamRequest, timeouts: object) -> UpstreamResponse:
            seen.append(timeouts)
            return await super().send(request, timeouts)

    seen: list[object] = []
    with override_settings(AI_GATEWAY=OPTIONS):
        snapshot = registry.snapshot()
        call = make_call(body=b"{}", model="m")
        run(ask(make_meter(call, HOLDER), [Target("openai", "m")], snapshot, Noting(Answer(b"{}", headers=[JSON]))))
    assert seen == [snapshot.timeouts.of_target("", Target("openai", "m"))]


def timed(*outcomes: Answer | Exception, left: float, **settings: Any) -> tuple[Reply, Scripted]:
    """Ask two providers for a call that must be over in so many seconds."""
    call = msgspec.structs.replace(make_call(body=b'{"model": "m"}', model="m"), deadline=perf_counter() + left)
    return attempt(*outcomes, call=call, targets=("openai", "groq"), **settings)


def test_there_is_an_answer_in_time() -> None:
    reply, transport = timed(ConnectFailed("no"), Answer(b"{}", headers=[JSON]), left=30)
    assert (reply.status, len(transport.requests)) == (200, 2)


def test_a_call_whose_time_is_over_is_not_sent_to_anybody() -> None:
    with pytest.raises(DeadlineExceeded):
        timed(left=-1)


def test_nobody_else_is_asked_when_there_is_hardly_any_time_left() -> None:
    reply, transport = timed(Answer(b"{}", status=503, headers=[JSON]), left=deadlines.LEAST / 2)
    assert (reply.status, len(transport.requests)) == (503, 1)


def test_no_wait_leads_beyond_the_deadline() -> None:
    busy = Answer(b"{}", status=429, headers=[JSON, (b"retry-after", b"5")])
    reply, transport = timed(busy, busy, left=4, RETRIES={"rounds": 2})
    assert (reply.status, len(transport.requests)) == (429, 2)
    assert (b"x-should-retry", b"false") in reply.headers


def test_a_caller_in_a_hurry_does_not_make_a_provider_look_ill() -> None:
    target = Target("openai", "hurried")
    call = make_call(body=b"{}", model="hurried")
    with override_settings(AI_GATEWAY=OPTIONS):
        for _ in range(10):
            hurried = msgspec.structs.replace(call, deadline=perf_counter() + deadlines.EARLY / 2)
            with pytest.raises(DeadlineExceeded):
                run(ask(make_meter(hurried, HOLDER), [target], registry.snapshot(), Scripted(UpstreamTimeout("slow"))))
    assert breakers.ordered([target, Target("groq", "m")])[0] == target


# Repetitions that are safe.

KNOWING = {"api_key": "k", "idempotency_header": "Idempotency-Key"}


def safely(*outcomes: Answer | Exception, options: dict[str, Any] | None = None) -> tuple[Reply, Scripted]:
    """Ask a provider that knows a request by its key, and then another one."""
    providers = {**OPTIONS["PROVIDERS"], "openai": {"OPTIONS": options or KNOWING}}
    return attempt(*outcomes, targets=("openai", "groq"), PROVIDERS=providers)


def keys(transport: Scripted) -> list[bytes | None]:
    return [dict(request.headers).get(b"idempotency-key") for request in transport.requests]


def test_what_may_have_been_done_is_asked_of_the_same_target_again_by_its_key() -> None:
    reply, transport = safely(UpstreamClosed("gone"), Answer(b"{}", headers=[JSON]))
    first, second = keys(transport)
    assert (reply.status, first) == (200, second)
    assert first


def test_once_and_never_elsewhere() -> None:
    with pytest.raises(UpstreamClosed) as caught:
        safely(UpstreamClosed("gone"), UpstreamClosed("gone again"))
    assert not caught.value.retryable


def test_a_provider_that_promises_nothing_is_not_asked_again() -> None:
    with pytest.raises(UpstreamClosed):
        safely(UpstreamClosed("gone"), options={"api_key": "k"})
