"""T89: two gateways behind nginx, restarted one after the other under load. No call fails, and no stream is cut."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import GATEWAY_KEY
from tests.deployment.proxies import KINDS, Proxy, connections_to, is_installed
from tests.raw_client import ConnectionEnded, RawConnection
from tests.redis_server import free_port
from tests.test_rungateway import Gateway
from tests.upstream import Exchange, Upstream, event_stream, json_answer
from tests.wire.samples import BEARER, CHAT, CHAT_PATH, JSON

PROXY = os.environ.get("GATEWAY_ROLLING_PROXY", "nginx")
ROUNDS = int(os.environ.get("GATEWAY_ROLLING_ROUNDS", "1"))
"""How often both gateways are restarted. More takes longer, and finds more."""

EVENTS = [b'data: {"n": %d}\n\n' % number for number in range(20)]
LOCALHOST = ("host", "localhost")
ANSWER = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}


async def answer(exchange: Exchange) -> None:
    """Answer a plain call at once, and a stream in half a second."""
    await exchange.read_body()
    steps = [step for event in EVENTS for step in (event, 0.025)]
    is_stream = exchange.request.json().get("stream")
    await (event_stream(*steps, b"data: [DONE]\n\n") if is_stream else json_answer(ANSWER))(exchange)


class Load:
    """Callers that call again and again, on connections of their own, and count what became of it."""

    def __init__(self, port: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self.failures: list[str] = []
        self._port = port
        self._is_over = threading.Event()

    @contextlib.contextmanager
    def running(self, plain: int, streams: int) -> Iterator[None]:
        """Have so many callers of each sort."""
        works = [self._call] * plain + [self._stream] * streams
        callers = [threading.Thread(target=self._repeat, args=(work,)) for work in works]
        for caller in callers:
            caller.start()
        try:
            yield
        finally:
            self._is_over.set()
            for caller in callers:
                caller.join()

    def _repeat(self, work: Callable[[], None]) -> None:
        while not self._is_over.is_set():
            try:
                work()
            except (OSError, AssertionError, ConnectionEnded) as error:
                self.failures.append(f"{work.__name__}: {type(error).__name__}: {error}")
            else:
                self.outcomes[work.__name__] += 1

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
def test_a_rolling_restart_is_nobodys_business(upstream: Upstream, tmp_path: Path) -> None:
    upstream.answer(answer)
    ports = (free_port(), free_port())
    environ = {
        "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream.port}/v1",
        "OPENAI_API_KEY": "sk-stored",
        "ALLOW_PRIVATE_UPSTREAMS": "true",
        "GATEWAY_API_KEYS": f"team-a={GATEWAY_KEY}",
        # nginx finds out when it cannot connect; the others ask for the health.
        "DRAIN_DELAY": "0" if PROXY == "nginx" else "3",
    }

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
        print(dict(load.outcomes), load.failures[:20])
        assert not load.failures
        assert load.outcomes["_call"] > 50
        assert load.outcomes["_stream"] > 8
    finally:
        proxy.stop()
        for gateway in gateways.values():
            gateway.stop()
