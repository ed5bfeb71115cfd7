"""Secrets are exchanged on the disk, and a signal has a process read its configuration again at once."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_gateway import lifespan
from tests.conftest import default_settings
from tests.gateway_process import GatewayProcess
from tests.raw_client import RawClient, RawConnection
from tests.upstream import Upstream, event_stream, json_answer
from tests.wire.samples import BEARER, CHAT, CHAT_DIALECT, CHAT_PATH, JSON


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "openai_key"
    path.write_text("sk-old")
    return path


@pytest.fixture
def gateway(secret: Path, upstream: Upstream, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway that would look for changes once in an hour."""
    settings = {**default_settings(upstream), "POLL": 3600.0}
    options = {"base_url": f"http://127.0.0.1:{upstream.port}/v1", "allow_private": True, "api_key": f"file:{secret}"}
    settings["PROVIDERS"]["openai"] = {"OPTIONS": options}
    process = GatewayProcess("direct", settings, tmp_path / "log")
    yield process
    process.stop()
    process.assert_log_in_order()


def credential_of_a_call(gateway: GatewayProcess, upstream: Upstream) -> str | None:
    assert RawClient(gateway.port).post(CHAT_PATH, CHAT, [BEARER]).status == 200
    return upstream.requests[-1].header("authorization")


def test_sighup_has_an_exchanged_secret_in_force_and_cuts_no_stream(
    gateway: GatewayProcess, secret: Path, upstream: Upstream
) -> None:
    first, *rest = CHAT_DIALECT.events
    gate = upstream.gate()
    upstream.answer(event_stream(first, gate, *rest), json_answer({"ok": True}))
    with RawConnection(gateway.port) as stream:
        stream.request("POST", CHAT_PATH, [BEARER, JSON], b'{"model": "m", "stream": true}')
        stream.read_head()
        assert stream.read_text_until(first) == first
        assert credential_of_a_call(gateway, upstream) == "Bearer sk-old"
        secret.write_text("sk-new")
        gateway.process.send_signal(signal.SIGHUP)
        upstream.wait_for("it is in force", lambda: credential_of_a_call(gateway, upstream) == "Bearer sk-new")
        gate.open()
        assert b"".join(stream.chunks()) == b"".join(rest)
    assert f"The configuration is read again, because of {secret}" in gateway.log()
    assert "sk-new" not in gateway.log()


class Terminal:
    def isatty(self) -> bool:
        return True


def test_a_terminal_that_is_closed_still_ends_what_was_started_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_DFL)
    monkeypatch.setattr(sys, "stdin", None)
    assert lifespan._hangup_is_free()
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert not lifespan._hangup_is_free()


def test_a_server_that_has_its_own_use_for_sighup_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda number: print)
    monkeypatch.setattr(sys, "stdin", None)
    assert not lifespan._hangup_is_free()
