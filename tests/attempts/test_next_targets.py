"""When the next target is asked, or another credential, and what is remembered of those before it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from django.test import override_settings

from ai_gateway import breakers, cooldowns, registry
from ai_gateway.attempts import ask
from ai_gateway.calls import Reply, Target, UpstreamRequest, UpstreamResponse
from ai_gateway.credentials import Secret
from ai_gateway.errors import ConnectFailed, ProviderBusy, UpstreamClosed, UpstreamError
from ai_gateway.meter import Meter
from ai_gateway.providers import Credential
from tests.attempts.asking import BOTH, HOLDER, LIMITED, OPTIONS, SSE, STRANGER, Unfinished, attempt, good, refusal
from tests.factories import JSON, Answer, Scripted, make_call, make_meter, run, states


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
