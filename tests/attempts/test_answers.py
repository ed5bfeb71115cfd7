"""What becomes of an answer: when it is committed, which errors are told, which headers pass."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ai_gateway.errors import UpstreamClosed, UpstreamRedirect, UpstreamRefusedCredential
from ai_gateway.relay import Plain, Stream
from tests.attempts.asking import SSE, STRANGER, attempt
from tests.factories import JSON, Answer, make_call, run


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
