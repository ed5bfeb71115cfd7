"""What one process learns of a target's health spares the others the attempt; and each goes on without Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.gateway_process import GatewayProcess
from tests.patience import PATIENCE, until
from tests.raw_client import RawClient
from tests.redis_server import RedisServer
from tests.upstream import Upstream, json_answer
from tests.wire.samples import BEARER, CHAT, CHAT_PATH

ANSWERED = json_answer({"choices": [{"message": {"role": "assistant", "content": "Hello"}}]})
FAILED = json_answer({"error": {"message": "not now"}}, status=500)
TOKEN = "token-of-who-looks"


class Worker:
    """One of the processes, and who calls it."""

    def __init__(self, process: GatewayProcess) -> None:
        self.process = process
        self.raw = RawClient(process.port)

    def ask(self) -> tuple[int, str | None]:
        answer = self.raw.post(CHAT_PATH, {**CHAT, "model": "shared"}, [BEARER])
        return answer.status, answer.header("x-gateway-attempts")

    def health(self) -> Any:
        answer = self.raw.get("/health/providers", [("authorization", f"Bearer {TOKEN}")])
        assert answer.status == 200, answer.body
        return answer.json()

    def heard(self) -> int:
        return len(self.health()["peers"]["heard"])

    def breakers(self) -> Any:
        return self.health()["providers"]["openai"]["breakers"]


@pytest.fixture
def workers(
    gateway_processes: Callable[..., GatewayProcess], upstream: Upstream, redis_server: RedisServer
) -> Iterator[list[Worker]]:
    """One with the direct door, and one under Django's own handler, which starts nothing by itself."""
    settings = {
        "PEERS": {"URL": redis_server.url},
        "BREAKERS": {"consecutive": 2},
        "ROUTES": {"shared": ["openai/a", "groq/b"]},
        "METRICS_TOKEN": TOKEN,
    }
    made = [Worker(gateway_processes(door, settings, {})) for door in ("direct", "stock")]
    yield made
    for worker in made:
        worker.raw.close()
        worker.process.assert_log_in_order()


def test_what_one_learns_spares_the_other(workers: list[Worker], upstream: Upstream, redis_server: RedisServer) -> None:
    one, other = workers
    upstream.answer(ANSWERED)
    assert other.ask() == (200, "1")
    until(lambda: one.heard() == other.heard() == 1)

    upstream.answer(FAILED, ANSWERED, FAILED, ANSWERED)
    assert [one.ask(), one.ask()] == [(200, "2"), (200, "2")]
    until(lambda: "openai/a" in other.breakers())
    found = other.breakers()["openai/a"]
    assert (found["state"], found["reason"]) == ("open", "2 failures in a row")
    assert found["heard_from"] == one.health()["peers"]["process"]
    upstream.answer(ANSWERED)
    assert other.ask() == (200, "1")
    assert upstream.requests[-1].json()["model"] == "b"

    redis_server.stop()
    until(lambda: not any(worker.health()["peers"]["connected"] for worker in workers))
    for worker in workers:
        began = time.monotonic()
        assert worker.ask() == (200, "1")
        assert time.monotonic() - began < PATIENCE / 2
        assert worker.process.log().count("cannot be reached; each goes on for itself") == 1
    redis_server.start()
    until(lambda: one.heard() == other.heard() == 1)
