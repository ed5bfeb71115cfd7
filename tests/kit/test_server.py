"""The kit's providers on a socket: asked by a gateway that runs by itself, and by one in this process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from django.test import override_settings

from ai_gateway.client import sync_client
from ai_gateway.environment import from_environ
from ai_gateway.test import Answer, FakeServer, Sent, calls, fails, is_silent, is_unreachable, says, sends
from ai_gateway.test.isolation import isolated
from tests.conftest import GATEWAY_KEY, StartGateway
from tests.patience import PATIENCE, until
from tests.raw_client import RawClient
from tests.wire.samples import BEARER, CHAT, CHAT_PATH, GEMINI, MESSAGES, MESSAGES_PATH, RESPONSES

KEY = "gw_key-of-the-sites-own-code"
HURRIED = {"TIMEOUTS": {"first_byte": 0.2, "idle": 0.2}}
STREAMED = {**CHAT, "stream": True}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def client(server: FakeServer, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """A client of a gateway in this process that asks the server, hurried if the test says so."""
    more = getattr(request, "param", {})
    with (
        override_settings(AI_GATEWAY={**server.settings, "KEYS": {"site": KEY}, **more}),
        isolated(database=False),
        sync_client(key=KEY) as client,
    ):
        yield client


hurried = pytest.mark.parametrize("client", [HURRIED], indirect=True)


# A gateway that runs by itself.


def test_a_gateway_in_another_process_asks_it(start_gateway: StartGateway, fake_server: FakeServer) -> None:
    gateway = start_gateway(KEYS={"site": GATEWAY_KEY}, **fake_server.settings)
    raw = RawClient(gateway.port)
    fake_server.answer(fails(404, "No such model"), says("Good morning"), says("one two"))
    assert raw.post(CHAT_PATH, CHAT, [BEARER]).status == 404
    assert raw.post(CHAT_PATH, CHAT, [BEARER]).json()["choices"][0]["message"]["content"] == "Good morning"
    streamed = raw.post(MESSAGES_PATH, {**MESSAGES, "stream": True}, [BEARER, ("anthropic-version", "2023-06-01")])
    assert b'"text":"one' in streamed.body.replace(b": ", b":")
    assert b"message_stop" in streamed.body
    assert [sent.format for sent in fake_server.sent] == ["openai_chat", "openai_chat", "anthropic_messages"]
    assert fake_server.sent[0].headers["authorization"] == "Bearer sk-test"


def test_the_environment_says_the_same_as_the_settings(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    given = {**from_environ(server.environment), "KEYS": {"site": KEY}}
    with override_settings(AI_GATEWAY=given), isolated(database=False), sync_client(key=KEY) as client:
        assert client.post(CHAT_PATH, json=CHAT).status_code == 200
    assert server.request.url == f"{server.url}/v1/chat/completions"


# What it answers.


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT_PATH, CHAT),
        ("/v1/responses", RESPONSES),
        (MESSAGES_PATH, MESSAGES),
        ("/v1beta/models/gemini-3-flash-preview", GEMINI),
    ],
)
def test_it_answers_in_every_format(
    client: httpx.Client, server: FakeServer, path: str, body: dict[str, Any], stream: bool
) -> None:
    if path.startswith("/v1beta"):
        path += ":streamGenerateContent?alt=sse" if stream else ":generateContent"
    server.answer(says("Goodmorning", calls("weather", {"city": "Bern"})))
    answer = client.post(path, json={**body, "stream": True} if stream and "model" in body else body)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream" if stream else "application/json")
    assert "Goodmorning" in answer.text
    assert "Bern" in answer.text
    assert server.request.is_stream is stream


def test_several_requests_go_over_one_connection_and_bodies_may_come_in_chunks(server: FakeServer) -> None:
    server.answer(sends(b"one"), sends(b"two", b"", b"three", content_type="audio/mpeg"), sends({}, status=201))
    with httpx.Client(base_url=server.url) as http:
        pieces = [http.post("/v1/files", content=iter([b"a" * 70_000, b"b"])).content]
        pieces += [http.get("/v1/audio").content, http.post("/v1/done", content=b"{}").content]
    assert pieces == [b"one", b"twothree", b"{}"]
    assert [len(sent.body) for sent in server.sent] == [70_001, 0, 2]


def test_a_pause_is_one(client: httpx.Client, server: FakeServer) -> None:
    server.answer(says("one two").slowly(0.01).after(0.01))
    assert client.post(CHAT_PATH, json=STREAMED).text.endswith("data: [DONE]\n\n")
    assert not server.request.was_closed_early


def test_a_connection_that_breaks(client: httpx.Client, server: FakeServer) -> None:
    server.answer(says("one two").cut_after(2))
    assert "upstream_closed" in client.post(CHAT_PATH, json=STREAMED).text


@hurried
def test_who_is_silent_is_waited_for_as_long_as_the_gateway_waits(client: httpx.Client, server: FakeServer) -> None:
    server.answer(is_silent(), says("one two").stalled_after(2))
    assert client.post(CHAT_PATH, json=CHAT).status_code == 504
    assert "stopped sending" in client.post(CHAT_PATH, json=STREAMED).text
    until(lambda: all(sent.was_closed_early for sent in server.sent))


def test_who_hangs_up_while_more_is_coming_is_known_to_have_left(server: FakeServer) -> None:
    server.answer(sends(b"x" * 1_000_000, *[b"x" * 1_000_000] * 50))
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as caller:
        caller.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert caller.recv(1) == b"H"
    until(lambda: server.request.was_closed_early)


# When something is wrong.


def forgets_nothing(sent: Sent) -> Answer:
    assert sent.json.get("temperature") == 0, "it was forgotten"
    return says("Hello")


def test_what_goes_wrong_in_a_script_is_the_tests() -> None:
    with FakeServer() as server:
        server.answer(forgets_nothing)
        assert "it was forgotten" in httpx.post(f"{server.url}/v1/chat/completions", json=CHAT).text
        with pytest.raises(AssertionError, match="it was forgotten"):
            _ = server.request
        server.answer(is_unreachable())
        assert httpx.post(f"{server.url}/v1/chat/completions", json=CHAT).status_code == 500
        with pytest.raises(AssertionError, match="stop it"):
            server.stop()


def test_what_is_no_http_is_told() -> None:
    server = FakeServer().start()
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
        connection.sendall(b"Hello\r\n\r\n")
        assert connection.recv(100) == b""
    with pytest.raises(ValueError, match="unpack"):
        server.stop()


def test_it_is_started_once_at_a_time_and_leaves_nothing() -> None:
    server = FakeServer()
    for _ in range(2):
        with server, httpx.Client() as http:
            server.answer(says("never").after(60))
            with pytest.raises(httpx.ReadTimeout):
                http.post(f"{server.url}/v1/responses", json=RESPONSES, timeout=0.1)
            with pytest.raises(RuntimeError, match="in use"):
                server.start()
            left = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
        with left, suppress(ConnectionResetError):
            assert left.recv(1) == b""
    assert "ai-gateway-fake-server" not in [thread.name for thread in threading.enumerate()]
    server.stop()
