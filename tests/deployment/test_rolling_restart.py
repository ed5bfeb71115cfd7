"""T89: processes are replaced under load. No call fails, and no stream is cut."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.conftest import GATEWAY_KEY
from tests.deployment.proxies import KINDS, Proxy, connections_to, is_installed
from tests.private_server import free_port
from tests.raw_client import ConnectionEnded, RawConnection
from tests.test_rungateway import Gateway
from tests.threads import going_on
from tests.upstream import Exchange, Upstream, event_stream, json_answer
from tests.wire.samples import BEARER, CHAT, CHAT_PATH, JSON

PROXY = os.environ.get("GATEWAY_ROLLING_PROXY", "nginx")
ROUNDS = int(os.environ.get("GATEWAY_ROLLING_ROUNDS", "1"))
"""How often both gateways are restarted. More takes longer, and finds more."""

PAUSE = 0.05
"""Seconds between two calls of a caller: the processes that start need some of the machine, too."""

EVENTS = [b'data: {"n": %d}\n\n' % number for number in range(20)]
LOCALHOST = ("host", "localhost")
ANSWER = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}


async def answer(exchange: Exchange) -> None:
    """Answer a plain call at once, and a stream in half a second."""
    await exchange.read_body()
    steps = [step for event in EVENTS for step in (event, 0.025)]
    is_stream = exchange.request.json().get("stream")
    await (event_stream(*steps, b"data: [DONE]\n\n") if is_stream else json_answer(ANSWER))(exchange)


def configuration(upstream: Upstream) -> dict[str, str]:
    """The environment of a gateway with that provider."""
    return {
        "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream.port}/v1",
        "OPENAI_API_KEY": "sk-stored",
        "ALLOW_PRIVATE_UPSTREAMS": "true",
        "GATEWAY_API_KEYS": f"team-a={GATEWAY_KEY}",
    }


class Load:
    """Callers that call again and again, on connections of their own, and count what became of it."""

    def __init__(self, port: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self.failures: list[str] = []
        self._port = port
        self._is_over = threading.Event()

    def running(self, plain: int, streams: int) -> AbstractContextManager[None]:
        """Have so many callers of each sort."""
        works = [self._call] * plain + [self._stream] * streams
        return going_on([threading.Thread(target=self._repeat, args=(work,)) for work in works], self._is_over)

    def assert_nobody_noticed(self) -> None:
        """Fail if a call failed, or if there was hardly any."""
        print(dict(self.outcomes), self.failures[:20])
        assert not self.failures
        assert self.outcomes["_call"] > 50
        assert self.outcomes["_stream"] > 8

    def _repeat(self, work: Callable[[], None]) -> None:
        while not self._is_over.is_set():
            try:
                work()
            except (OSError, AssertionError, ConnectionEnded) as error:
                self.failures.append(f"{work.__name__}: {type(error).__name__}: {error}")
            else:
                self.outcomes[work.__name__] += 1
            time.sleep(PAUSE)

    def _call(self) -> None:
        with RawConnection(self._port) as caller:
            caller.request("POST", CHAT_PATH, [LOCALHOST, BEARER, JSON], json.dumps(CHAT).encode())
            reply = caller.read_answer()
        assert (reply.status, reply.json()) == (200, ANSWER), (reply.status, reply.body)

    def _stream(self) -> None:
        with RawConnection(self._port) as caller:
            caller.request("POST", CHAT_PATH, [LOCALHOST, BEARER, JSON], json.dumps({**CHAT, "stream": True}).encode())
            reply = caller.read_answer()
        assert (reply.status, reply.body) == (200, b"".join(EVENTS) + b"data: [DONE]\n\n"), (reply.status, reply.body)


@pytest.mark.skipif(not is_installed(PROXY), reason=f"{PROXY} is not installed, or openssl")
def test_two_gateways_behind_a_proxy_are_restarted_one_after_the_other(upstream: Upstream, tmp_path: Path) -> None:
    upstream.answer(answer)
    ports = (free_port(), free_port())
    # nginx finds out when it cannot connect; the others ask for the health.
    environ = {**configuration(upstream), "DRAIN_DELAY": "0" if PROXY == "nginx" else "3"}

    def start(port: int) -> Gateway:
        folder = tmp_path / f"{port}-{time.monotonic_ns()}"
        folder.mkdir()
        return Gateway(folder, environ, "--port", str(port))

    def both_are_at_work() -> bool:
        return all(connections_to(port) >= 2 for port in ports)

    gateways = {port: start(port) for port in ports}
    for gateway in gateways.values():
        gateway.wait_until_it_answers()
    proxy = Proxy(KINDS[PROXY], tmp_path, ports)
    try:
        proxy.wait_until_it_answers()
        load = Load(proxy.port)
        with load.running(plain=4, streams=8):
            for port in ports * ROUNDS:
                upstream.wait_for("both gateways are at work", both_are_at_work)
                gateways[port].stop()
                gateways[port] = start(port)
                gateways[port].wait_until_it_answers()
            upstream.wait_for("both gateways are at work", both_are_at_work)
        load.assert_nobody_noticed()
    finally:
        proxy.stop()
        for gateway in gateways.values():
            gateway.stop()


def test_the_workers_of_one_gateway_are_replaced_one_after_the_other(upstream: Upstream, tmp_path: Path) -> None:
    """By SIGHUP to the process that supervises them, as `systemctl reload` sends it. The port stays open."""
    upstream.answer(answer)
    gateway = Gateway(tmp_path, configuration(upstream), "--port", "0", "--workers", "2")
    try:
        gateway.wait_until_it_answers()
        gateway.wait_until_it_says("Application startup complete", 2)
        load = Load(gateway.port)
        with load.running(plain=2, streams=4):
            gateway.process.send_signal(signal.SIGHUP)
            finished = "Finished server process"
            upstream.wait_for("both are replaced", lambda: gateway.printed().count(finished) == 2, patience=120)
        assert gateway.printed().count("Application startup complete") == 4
        load.assert_nobody_noticed()
    finally:
        gateway.stop()
