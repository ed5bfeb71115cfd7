"""SIGTERM: what runs may finish, what does not finish ends with an error of its dialect, and the process goes."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import default_settings
from tests.gateway_process import Door, GatewayProcess
from tests.raw_client import ConnectionEnded, RawClient, RawConnection
from tests.upstream import End, Gate, Upstream, chunk, event_stream, head, play
from tests.wire.samples import BEARER, CHAT, CHAT_DIALECT, CHAT_PATH, DIALECTS, JSON, Dialect

Start = Callable[..., GatewayProcess]
STREAM_BODY = b'{"model": "m", "stream": true}'


@pytest.fixture
def start(door: Door, upstream: Upstream, tmp_path: Path) -> Iterator[Start]:
    """Start a gateway that is the test's alone, with a drain timeout in seconds."""
    running: list[GatewayProcess] = []

    def run(drain_timeout: float, **others: Any) -> GatewayProcess:
        settings: dict[str, Any] = {**default_settings(upstream), "DRAIN_TIMEOUT": drain_timeout, **others}
        running.append(GatewayProcess(door, settings, tmp_path / f"{len(running)}.log"))
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.assert_log_in_order()


def begin(gateway: GatewayProcess, path: str, body: bytes = STREAM_BODY) -> RawConnection:
    """Begin a call on a connection of its own."""
    connection = RawConnection(gateway.port)
    connection.request("POST", path, [BEARER, JSON], body)
    return connection


def wait_until_draining(upstream: Upstream, gateway: GatewayProcess) -> None:
    upstream.wait_for("the gateway drains", lambda: "Draining" in gateway.log())


def test_calls_that_finish_in_time_end_whole(start: Start, upstream: Upstream) -> None:
    """T88."""
    gateway = start(20.0)
    gate = upstream.gate()
    first, *rest = CHAT_DIALECT.events
    upstream.answer(event_stream(first, gate, *rest))
    streams = [begin(gateway, CHAT_PATH) for _ in range(20)]
    for stream in streams:
        assert stream.read_head().status == 200
        assert stream.read_text_until(first) == first
    gateway.terminate()
    wait_until_draining(upstream, gateway)
    assert gateway.process.poll() is None
    gate.open()
    for stream in streams:
        assert b"".join(stream.chunks()) == b"".join(rest)
        stream.close()
    gateway.wait()


def test_streams_that_do_not_finish_get_an_error_event_and_a_clean_end(start: Start, upstream: Upstream) -> None:
    """T88: ten of each dialect."""
    gateway = start(0.5)
    streams: list[tuple[Dialect, RawConnection]] = []
    for dialect in DIALECTS:
        upstream.answer(event_stream(dialect.events[0], End.STALL))
        for _ in range(10):
            stream = begin(gateway, dialect.stream_path)
            assert stream.read_head().status == 200
            assert stream.read_text_until(dialect.events[0]) == dialect.events[0]
            streams.append((dialect, stream))
    gateway.terminate()
    for dialect, stream in streams:
        event = b"".join(stream.chunks())
        assert dialect.error_event(event)["error"]["message"]
        stream.close()
    gateway.wait()
    upstream.wait_for("the upstream was left", lambda: upstream.busy == 0)


def test_a_call_that_still_waits_for_its_answer_gets_a_503(start: Start, upstream: Upstream) -> None:
    gateway = start(0.5)
    upstream.answer(play(End.STALL))
    with begin(gateway, CHAT_PATH, b'{"model": "m"}') as connection:
        upstream.wait_for_requests()
        gateway.terminate()
        answer = connection.read_answer()
    assert (answer.status, answer.json()["error"]["code"]) == (503, "gateway_draining")
    gateway.wait()


def check_refusal(connection: RawConnection) -> None:
    answer = connection.read_answer()
    assert (answer.status, answer.json()["error"]["code"]) == (503, "gateway_draining")
    assert answer.header("x-request-id")
    connection.close()


def test_a_call_whose_body_is_still_on_its_way_gets_a_503(start: Start, upstream: Upstream) -> None:
    gateway = start(0.5)
    in_json, in_an_upload = RawConnection(gateway.port), RawConnection(gateway.port)
    in_json.request("POST", CHAT_PATH, [BEARER, JSON, ("content-length", "1000")])
    in_json.send(b'{"model"')
    in_an_upload.request("POST", "/v1/files", [BEARER, ("content-type", "audio/wav"), ("content-length", "1000000")])
    in_an_upload.send(b"x" * 1000)
    gateway.tasks()  # An answer to a later request: both have arrived.
    gateway.terminate()
    check_refusal(in_json)
    check_refusal(in_an_upload)
    gateway.wait()


def test_a_call_whose_provider_lets_it_wait_for_a_connection_gets_a_503(
    start: Start, upstream: Upstream, slow_to_accept: int
) -> None:
    slow = {"BACKEND": "custom", "OPTIONS": {"base_url": f"http://127.0.0.1:{slow_to_accept}/v1"}}
    gateway = start(0.5, PROVIDERS={"slow": slow}, ALLOW_PRIVATE_UPSTREAMS=True, TIMEOUTS={"connect": 60})
    caller = RawConnection(gateway.port)
    caller.request("POST", CHAT_PATH, [("authorization", "Bearer sk-own"), JSON, ("x-provider", "slow")], b"{}")
    gateway.tasks()
    gateway.terminate()
    check_refusal(caller)
    gateway.wait()


@pytest.fixture
def slow_to_accept() -> Iterator[int]:
    """A port where nobody accepts, and whose queue is full: the kernel lets whoever connects wait."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        waiting = [socket.socket() for _ in range(4)]
        for caller in waiting:
            caller.setblocking(False)
            caller.connect_ex(server.getsockname())
        yield server.getsockname()[1]
        for caller in waiting:
            caller.close()


def test_no_new_work_is_taken_while_draining(start: Start, upstream: Upstream) -> None:
    """T88: on connections that are open already; new ones the server does not accept any more."""
    gateway = start(20.0)
    gate = upstream.gate()
    upstream.answer(play(gate, head(200, [("content-length", "2")]) + b"ok"))
    with begin(gateway, CHAT_PATH, b'{"model": "m"}') as running, RawConnection(gateway.port) as idle:
        upstream.wait_for_requests()
        gateway.terminate()
        wait_until_draining(upstream, gateway)
        try:
            idle.request("POST", CHAT_PATH, [BEARER, JSON], b'{"model": "m"}')
            answer = idle.read_answer()
            assert (answer.status, answer.json()["error"]["code"]) == (503, "gateway_draining")
            assert answer.header("retry-after") == "1"
        except (ConnectionEnded, ConnectionResetError, BrokenPipeError):
            pass  # The server closed it first, which is as good an answer.
        gate.open()
        assert running.read_answer().body == b"ok"
    gateway.wait()
    assert len(upstream.requests) == 1


def test_the_process_ends_within_the_drain_timeout(start: Start, upstream: Upstream) -> None:
    """T88: half a second and one more are the requirement; the deadline is generous."""
    gateway = start(0.5)
    upstream.answer(event_stream(CHAT_DIALECT.events[0], End.STALL))
    streams = [begin(gateway, CHAT_PATH) for _ in range(50)]
    upstream.wait_for_requests(50)
    begun = time.monotonic()
    gateway.terminate()
    gateway.wait()
    assert time.monotonic() - begun < 10
    for stream in streams:
        stream.close()


@pytest.mark.parametrize(("door", "number"), [("direct", signal.SIGTERM), ("django", signal.SIGINT)], indirect=["door"])
def test_an_idle_process_ends_at_once(start: Start, upstream: Upstream, number: signal.Signals) -> None:
    gateway = start(60.0)
    RawClient(gateway.port).post(CHAT_PATH, CHAT, [BEARER])
    gateway.process.send_signal(number)
    gateway.wait(20)


def test_a_second_sigterm_ends_the_streams_at_once(start: Start, upstream: Upstream) -> None:
    """T89."""
    gateway = start(600.0)
    gates: list[Gate] = [upstream.gate()]
    upstream.answer(event_stream(CHAT_DIALECT.events[0], gates[0], chunk(b"")))
    with begin(gateway, CHAT_PATH) as stream:
        stream.read_head()
        stream.read_text_until(CHAT_DIALECT.events[0])
        gateway.terminate()
        wait_until_draining(upstream, gateway)
        gateway.terminate()
        event = stream.read_to_end()
        assert b"[DONE]" not in event
    gateway.wait()
    upstream.wait_for("the upstream was left", lambda: upstream.busy == 0)
