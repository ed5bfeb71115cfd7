"""Trying targets, judging answers, choosing headers."""

from __future__ import annotations

import asyncio
import json

import pytest
from django.test import override_settings

from ai_gateway import registry
from ai_gateway.attempts import ask
from ai_gateway.calls import Call, Caller, Reply, Target
from ai_gateway.errors import (
    ConnectFailed,
    UpstreamClosed,
    UpstreamError,
    UpstreamRedirect,
    UpstreamRefusedCredential,
)
from ai_gateway.relay import Plain, Stream
from tests.factories import JSON, Answer, Scripted, make_call, make_meter, run

HOLDER = Caller(key_name="team")
STRANGER = Caller(credential=(b"authorization", b"Bearer sk-own"))
SSE = (b"content-type", b"text/event-stream")
OPTIONS = {"PROVIDERS": {name: {"OPTIONS": {"api_key": f"stored-{name}"}} for name in ("openai", "groq", "anthropic")}}


def attempt(
    *outcomes: Answer | Exception,
    call: Call | None = None,
    caller: Caller = HOLDER,
    targets: tuple[str, ...] = ("openai",),
) -> tuple[Reply, Scripted]:
    """Ask these providers, which answer by this script."""
    transport = Scripted(*outcomes)
    asked = call or make_call(body=b'{"model": "m"}', model="m")
    with override_settings(AI_GATEWAY=OPTIONS):
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
