"""Callers do not see each other, and the machine's settings do not see the calls."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.conftest import GATEWAY_KEY, SECOND_GATEWAY_KEY, default_settings
from tests.gateway_process import Door, GatewayProcess
from tests.raw_client import RawClient, RawConnection, write_request
from tests.upstream import LAST_CHUNK, Exchange, Upstream, chunk, json_answer, stream_head
from tests.wire.samples import BEARER, CHAT, CHAT_PATH, JSON


@pytest.mark.usefixtures("quiescent")
def test_pipelined_requests_get_their_own_answers_in_order(raw: RawClient, upstream: Upstream) -> None:
    """T29."""

    async def echo_model(exchange: Exchange) -> None:
        await exchange.read_body()
        await json_answer({"said": exchange.request.json()["model"]})(exchange)

    upstream.answer(echo_model)
    with raw.connect() as connection:
        connection.send(
            b"".join(
                write_request("POST", CHAT_PATH, [BEARER, JSON], b'{"model": "number %d"}' % number)
                for number in range(10)
            )
        )
        said = [connection.read_answer().json()["said"] for _ in range(10)]
    assert said == [f"number {number}" for number in range(10)]


@pytest.mark.usefixtures("quiescent")
def test_streams_of_many_callers_do_not_mix(raw: RawClient, upstream: Upstream) -> None:
    async def repeat_model(exchange: Exchange) -> None:
        await exchange.read_body()
        model = exchange.request.json()["model"].encode()
        await exchange.send(stream_head())
        for number in range(20):
            await exchange.send(chunk(b'data: {"from":"%b","n":%d}\n\n' % (model, number)))
        await exchange.send(chunk(b"data: [DONE]\n\n") + LAST_CHUNK)

    upstream.answer(repeat_model)
    wrong: list[bytes] = []

    def call(name: str, key: str) -> None:
        body = b'{"model": "%b", "stream": true}' % name.encode()
        expected = b"".join(b'data: {"from":"%b","n":%d}\n\n' % (name.encode(), number) for number in range(20))
        with RawConnection(raw.port) as connection:
            for _ in range(5):
                connection.request("POST", CHAT_PATH, [("authorization", f"Bearer {key}"), JSON], body)
                received = connection.read_answer().body
                if received != expected + b"data: [DONE]\n\n":
                    wrong.append(received)

    keys = [GATEWAY_KEY, SECOND_GATEWAY_KEY, "sk-own"]
    callers = [threading.Thread(target=call, args=(f"caller-{number}", keys[number % 3])) for number in range(16)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong
    credentials = {request.header("authorization") for request in upstream.requests}
    assert credentials == {"Bearer sk-stored-openai", "Bearer sk-own"}


def test_proxies_and_passwords_of_the_environment_are_ignored(door: Door, upstream: Upstream, tmp_path: Path) -> None:
    """T92: a key must not go to whatever HTTP_PROXY says."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login canary password canary\n")
    (tmp_path / ".netrc").chmod(0o600)
    proxy = "http://127.0.0.1:9"
    variables = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"), proxy)
    variables |= {"HOME": str(tmp_path), "NETRC": str(tmp_path / ".netrc"), "NO_PROXY": "", "no_proxy": ""}
    gateway = GatewayProcess(door, default_settings(upstream), tmp_path / "log", environment=variables)
    try:
        for _ in range(2):
            assert RawClient(gateway.port).post(CHAT_PATH, CHAT, [BEARER]).status == 200
        assert b"canary" not in upstream.requests[0].raw_head
        assert upstream.requests[0].header("authorization") == "Bearer sk-stored-openai"
    finally:
        gateway.stop()
    gateway.assert_log_in_order()
