"""More calls than the gateway takes: some wait, the rest is told at once, and nobody is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import SECOND_GATEWAY_KEY, StartGateway
from tests.raw_client import PATIENCE, Pairs, RawClient, RawConnection
from tests.upstream import End, Upstream, event_stream, json_answer
from tests.wire.samples import BEARER, CHAT, CHAT_DIALECT, CHAT_PATH, JSON, MESSAGES, MESSAGES_PATH

PLACES = 4
QUEUE = 4
FULL: dict[str, Any] = {
    "MAX_CALLS": PLACES,
    "QUEUE": {"size": QUEUE, "seconds": PATIENCE * 2},
    "METRICS_TOKEN": "token-for-metrics",
}
"""Who waits here waits for longer than any test does: an answer that comes did not come by time."""

OTHER = ("authorization", f"Bearer {SECOND_GATEWAY_KEY}")
UNREACHABLE: Pairs = [("authorization", "Bearer sk-own"), ("x-provider", "unreachable")]
STREAM_BODY = b'{"model": "m", "stream": true}'
FIRST, *REST = CHAT_DIALECT.events


class Crowd:
    """A gateway, and callers that take all of its places."""

    def __init__(self, raw: RawClient, upstream: Upstream) -> None:
        self.raw = raw
        self.upstream = upstream
        self.gate = upstream.gate()

    def counts(self) -> dict[str, int]:
        """What the gateway tells of the calls under way."""
        answer = self.raw.get("/health/providers", [("authorization", "Bearer token-for-metrics")])
        counts: dict[str, int] = answer.json()["calls"]
        return counts

    def wait_until(self, **expected: int) -> None:
        self.upstream.wait_for(f"{expected}", lambda: expected.items() <= self.counts().items())

    def take_places(self) -> list[RawConnection]:
        """Begin so many streams as there are places for."""
        self.upstream.answer(event_stream(FIRST, self.gate, *REST))
        streams = [self.call() for _ in range(PLACES)]
        for stream in streams:
            assert stream.read_head().status == 200
            assert stream.read_text_until(FIRST) == FIRST
        return streams

    def call(self, credential: tuple[str, str] = BEARER, *, waits: int | None = None) -> RawConnection:
        """Begin a call; `waits` is how many wait then."""
        connection = self.raw.connect()
        connection.request("POST", CHAT_PATH, [credential, JSON], STREAM_BODY)
        if waits is not None:
            self.wait_until(waiting=waits)
        return connection

    def end(self) -> None:
        """Let all calls go on; then nothing is left of them."""
        self.gate.open()
        self.wait_until(under_way=0, waiting=0)


@pytest.fixture
def crowd(start_gateway: StartGateway, upstream: Upstream) -> Iterator[Crowd]:
    made = Crowd(RawClient(start_gateway(**FULL).port), upstream)
    yield made
    made.raw.close()
    made.end()


def test_what_there_is_no_place_for_waits_or_is_refused_at_once(crowd: Crowd, upstream: Upstream) -> None:
    """T3."""
    before = crowd.counts()["refused"]
    streams = crowd.take_places()
    waiting = [crowd.call(waits=number + 1) for number in range(QUEUE)]
    for _ in range(10):
        answer = crowd.raw.post(CHAT_PATH, CHAT, [BEARER])
        assert (answer.status, answer.json()["error"]["code"]) == (503, "overloaded")
        assert (answer.header("retry-after"), answer.header("x-should-retry")) == ("1", None)
    messages = crowd.raw.post(MESSAGES_PATH, MESSAGES, [BEARER])
    assert (messages.status, messages.json()["error"]["type"]) == (529, "overloaded_error")
    assert len(upstream.requests) == PLACES
    assert crowd.counts() == {"under_way": PLACES, "waiting": QUEUE, "refused": before + 11}
    check_health(crowd.raw)
    crowd.gate.open()
    for stream in streams:
        assert b"".join(stream.chunks()) == b"".join(REST)
    for caller in waiting:
        assert caller.read_answer().body == FIRST + b"".join(REST)
    crowd.wait_until(under_way=0, waiting=0)


def check_health(raw: RawClient) -> None:
    assert raw.get("/health").json()["status"] == "healthy"
    ready = raw.get("/health/ready")
    assert (ready.status, ready.json()) == (200, {"status": "ready", "warnings": ["overloaded"]})


def test_the_body_of_a_refused_call_is_not_received(crowd: Crowd) -> None:
    crowd.take_places()
    for number in range(QUEUE):
        crowd.call(waits=number + 1)
    upload: Pairs = [BEARER, ("content-type", "audio/wav"), ("content-length", "50000000")]
    with crowd.raw.connect() as connection:
        connection.request("POST", "/v1/files", [*upload, ("expect", "100-continue")])
        answer = connection.read_answer()
    assert (answer.status, answer.is_last) == (503, True)


def test_a_browser_gets_to_see_the_refusal(crowd: Crowd) -> None:
    """The preflight is no call, and the answer has the headers without which a browser would hide it."""
    crowd.take_places()
    for number in range(QUEUE):
        crowd.call(waits=number + 1)
    origin = ("origin", "https://app.example")
    asked: Pairs = [origin, ("access-control-request-method", "POST")]
    assert crowd.raw.call("OPTIONS", CHAT_PATH, asked).status == 200
    answer = crowd.raw.post(CHAT_PATH, CHAT, [BEARER, origin])
    assert (answer.status, answer.header("access-control-allow-origin")) == (503, origin[1])


def test_a_key_that_waits_with_many_calls_keeps_no_other_out(crowd: Crowd, upstream: Upstream) -> None:
    streams = crowd.take_places()
    many = [crowd.call(waits=number + 1) for number in range(QUEUE)]
    other = crowd.call(OTHER)
    assert many[-1].read_answer().status == 503
    streams[0].close()
    upstream.wait_for_requests(PLACES + 1)
    streams[1].close()
    assert other.read_head().status == 200
    assert other.read_text_until(FIRST) == FIRST
    crowd.wait_until(under_way=PLACES, waiting=QUEUE - 2)


@pytest.mark.parametrize("leave", [RawConnection.close, RawConnection.reset])
def test_a_caller_that_hangs_up_leaves_the_queue_or_its_place(crowd: Crowd, leave: Any) -> None:
    streams = crowd.take_places()
    first, second = crowd.call(waits=1), crowd.call(waits=2)
    leave(first)
    crowd.wait_until(under_way=PLACES, waiting=1)
    leave(streams[0])
    assert second.read_head().status == 200
    assert second.read_text_until(FIRST) == FIRST
    crowd.wait_until(under_way=PLACES, waiting=0)


def test_a_place_is_given_back_whatever_ends_a_call(crowd: Crowd, upstream: Upstream) -> None:
    """More of each kind than there are places: a refusal, an error, a bad body, an answer, an upstream that breaks."""
    for _ in range(PLACES + 1):
        assert crowd.raw.post(CHAT_PATH, b"{", [BEARER]).status == 400
        assert crowd.raw.get("/v1/..//", [BEARER]).status == 404
        assert crowd.raw.get("/v1/models", [("authorization", "Bearer gw_wrong")]).status == 401
        assert crowd.raw.post(CHAT_PATH, CHAT, UNREACHABLE).status == 502
    upstream.answer(event_stream(FIRST, End.RESET))
    for _ in range(PLACES + 1):
        assert b'"error"' in crowd.raw.post(CHAT_PATH, STREAM_BODY, [BEARER]).body
    upstream.answer(json_answer({"ok": True}))
    for _ in range(PLACES + 1):
        assert crowd.raw.post(CHAT_PATH, CHAT, [BEARER]).json() == {"ok": True}
    crowd.wait_until(under_way=0, waiting=0)
