"""`manage.py rungateway`: what it prints, what it starts, and what it refuses."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from ai_gateway import crypto, registry
from ai_gateway.credentials import Secret
from ai_gateway.management.commands import rungateway
from ai_gateway.server import GatheringProtocol
from tests.control.rows import make_key, make_user
from tests.docs.gateway import LISTENING
from tests.raw_client import RawConnection
from tests.test_server import HANDSHAKE
from tests.upstream import Upstream, event_stream
from tests.wire.samples import CHAT_DIALECT, CHAT_PATH, JSON

ROOT = Path(__file__).resolve().parent.parent
DEVELOPMENT_KEY = re.compile(r"gw_dev_[A-Za-z0-9_-]{32}")
ECHO = {"model": "echo/echo-1", "messages": [{"role": "user", "content": "Hello"}]}


class Gateway:
    """A `rungateway` process of the example project, in a folder of its own and with no environment but the given, and
    what measures its coverage."""

    def __init__(self, folder: Path, environ: Mapping[str, str], *arguments: str) -> None:
        self.folder = folder
        self.output = folder / "output"
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONUNBUFFERED": "1",
            "SECRET_KEY": "x" * 50,
            "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
            **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")},
            **environ,
        }
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "rungateway", "--port", "0", *arguments],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.port = 0

    def printed(self) -> str:
        """Everything that it has written so far, errors and log included."""
        return self.output.read_text()

    def wait_until_it_answers(self) -> None:
        """Wait until /health does."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := LISTENING.search(self.printed()):
                self.port = int(found[1])
                try:
                    assert self.ask("GET", "/health")[0] == 200
                except OSError:
                    pass
                else:
                    return
            time.sleep(0.1)
        raise AssertionError(self.printed())

    def ask(self, method: str, path: str, body: object = None, key: str | None = None) -> tuple[int, Any]:
        """Send one request; give the status and the JSON of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def metrics(self) -> str:
        """What a Prometheus reads."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", "/metrics")
            response = connection.getresponse()
            assert response.status == 200
            return response.read().decode()
        finally:
            connection.close()

    def wait_until_it_says(self, text: str, times: int) -> None:
        """Wait until a text stands so often in what it has written."""
        deadline = time.monotonic() + 40
        while self.printed().count(text) < times:
            assert time.monotonic() < deadline, self.printed()
            time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal to it as a supervisor would, and wait for its end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(40)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """Start gateways; they are stopped at the end."""
    started: list[Gateway] = []

    def start(environ: Mapping[str, str], *arguments: str) -> Gateway:
        gateway = Gateway(tmp_path, environ, *arguments)
        started.append(gateway)
        gateway.wait_until_it_answers()
        return gateway

    yield start
    for gateway in started:
        gateway.stop()


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The first run of a newcomer, with nothing set but the level of the log: for all tests that do not end it."""
    gateway = Gateway(tmp_path_factory.mktemp("first"), {"LOG_LEVEL": "info"})
    try:
        gateway.wait_until_it_answers()
        yield gateway
    finally:
        gateway.stop()


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave neither a development key nor a snapshot of the test behind, and do without a database."""
    monkeypatch.setattr(rungateway, "has_database", lambda: False)
    monkeypatch.setattr(registry, "SOURCES", [*registry.SOURCES])
    monkeypatch.delenv(rungateway.DEVELOPMENT_KEY, raising=False)
    yield
    os.environ.pop(rungateway.DEVELOPMENT_KEY, None)
    registry.forget(setting="AI_GATEWAY")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What uvicorn would be started with."""
    found: dict[str, Any] = {}

    def remember(application: str, **options: Any) -> Any:
        found.update(options, application=application)
        return types.SimpleNamespace(bind_socket=lambda: None)

    for name in ("Server", "Supervisor"):
        server = types.SimpleNamespace(run=lambda: None, started=True)
        monkeypatch.setattr(f"ai_gateway.server.{name}", lambda *_, server=server, **__: server)
    monkeypatch.setattr("uvicorn.Config", remember)
    return found


def print_of(*arguments: str) -> tuple[str, str]:
    """Run the command in this process; give what it printed and its errors."""
    out, err = io.StringIO(), io.StringIO()
    call_command("rungateway", "--port", "0", "--no-migrate", *arguments, stdout=out, stderr=err, no_color=True)
    return out.getvalue(), err.getvalue()


# Real processes


def test_first_run__shows_a_key_that_opens_the_gateway(first: Gateway) -> None:
    printed = first.printed()
    assert len(DEVELOPMENT_KEY.findall(printed)) == 1
    assert "GATEWAY_API_KEYS=me=gw_$(openssl" in printed  # One that never goes to a provider, however mistyped.
    status, answer = first.ask("POST", "/v1/chat/completions", ECHO, DEVELOPMENT_KEY.findall(printed)[0])
    assert status == 200
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert first.ask("POST", "/v1/chat/completions", ECHO, "gw_dev_something-else")[0] == 401


def test_first_run__a_websocket_to_the_site_is_refused_without_a_traceback(first: Gateway) -> None:
    before = len(first.printed())
    with RawConnection(first.port) as caller:
        caller.send(HANDSHAKE.replace(b"GET /", b"GET /admin/") + b"\r\n")
        assert caller.read_answer().status == 403
        assert caller.read_to_end() == b""
    assert "Traceback" not in first.printed()[before:]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_first_run__the_curl_line_works(first: Gateway) -> None:
    printed = first.printed()
    key = DEVELOPMENT_KEY.findall(printed)[0]
    line = next(line for line in printed.splitlines() if line.strip().startswith("curl "))
    shell = {"GATEWAY_KEY": key, "PATH": os.environ["PATH"]}
    done = subprocess.run(
        line.replace("curl", "curl -sS --fail", 1), shell=True, env=shell, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["object"] == "chat.completion"


def test_first_run__migrates_and_shows_the_admin(first: Gateway) -> None:
    assert (first.folder / "db.sqlite3").stat().st_size > 0
    connection = http.client.HTTPConnection("127.0.0.1", first.port, timeout=20)
    connection.request("GET", "/admin/login/")
    page = connection.getresponse().read().decode()
    stylesheet = re.search(r'href="(/static/admin/css/base[^"]*\.css)"', page)
    assert stylesheet is not None
    connection.request("GET", stylesheet[1])
    response = connection.getresponse()
    assert (response.status, response.headers["content-type"].split(";")[0]) == (200, "text/css")
    assert len(response.read()) > 1000
    connection.close()
    assert "Warning" not in first.printed()


def test_configured__names_providers_and_keys_but_shows_no_secret(run: Callable[..., Gateway]) -> None:
    environ = {"OPENAI_API_KEY": "sk-very-secret", "GATEWAY_API_KEYS": "team-a=gw_very-secret"}
    gateway = run(environ)
    printed = gateway.printed()
    assert re.search(r"^  openai +OpenAI$", printed, re.MULTILINE)
    assert "Gateway keys: team-a" in printed
    assert "secret" not in printed
    assert not DEVELOPMENT_KEY.search(printed)
    assert gateway.ask("POST", "/v1/chat/completions", ECHO, "gw_very-secret")[0] == 200


def test_workers__share_the_development_key_and_add_up_their_metrics(run: Callable[..., Gateway]) -> None:
    gateway = run({"METRICS": "127.0.0.0/8", "GATEWAY_LOG_FORMAT": "json"}, "--workers", "2")
    gateway.wait_until_it_says("Application startup complete", 2)
    key = DEVELOPMENT_KEY.findall(gateway.printed())[0]
    assert {gateway.ask("POST", "/v1/chat/completions", ECHO, key)[0] for _ in range(20)} == {200}
    gateway.wait_until_it_says('"outcome":"answered"', 20)
    told = gateway.metrics()
    assert re.findall(r"^ai_gateway_requests_total{.*} (.*)$", told, re.M) == ["20.0"]
    lines = [line for line in gateway.printed().splitlines() if line.startswith("{")]
    assert sum(json.loads(line).get("provider") == "echo" for line in lines) == 20
    assert gateway.stop() in (0, -signal.SIGTERM)


def test_workers__stop_when_their_supervisor_was_killed(run: Callable[..., Gateway]) -> None:
    gateway = run({"LOG_LEVEL": "info"}, "--workers", "2")
    gateway.wait_until_it_says("Application startup complete", 2)
    gateway.process.kill()
    try:
        gateway.wait_until_it_says("Application shutdown complete", 2)
        with pytest.raises(ConnectionRefusedError):
            gateway.ask("GET", "/health")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(gateway.process.pid, signal.SIGKILL)


def test_workers__leave_no_metrics_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(rungateway.METRICS_DIRECTORY, raising=False)
    with rungateway.metrics_directory():
        assert rungateway.METRICS_DIRECTORY not in os.environ  # Nobody wants any.
    with override_settings(AI_GATEWAY={"METRICS": True}):
        with rungateway.metrics_directory():
            directory = Path(os.environ[rungateway.METRICS_DIRECTORY])
            (directory / "counter_1.db").write_bytes(b"")
            with rungateway.metrics_directory():
                assert os.environ[rungateway.METRICS_DIRECTORY] == str(directory)  # The site's own choice stays.
        assert rungateway.METRICS_DIRECTORY not in os.environ
        assert not directory.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals__end_it_in_order(run: Callable[..., Gateway], number: signal.Signals) -> None:
    gateway = run({})
    assert gateway.stop(number) in (0, -number)
    assert "Traceback" not in gateway.printed()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals__to_all_processes_at_once_let_streams_finish(
    run: Callable[..., Gateway], upstream: Upstream, number: signal.Signals
) -> None:
    """As systemd and Ctrl-C do it. The workers then get a second one, from the process that supervises them."""
    provider = f"http://127.0.0.1:{upstream.port}/v1"
    gateway = run({"OPENAI_BASE_URL": provider, "ALLOW_PRIVATE_UPSTREAMS": "true"}, "--workers", "2")
    gateway.wait_until_it_says("Application startup complete", 2)
    first, *rest = CHAT_DIALECT.events
    gate = upstream.gate()
    upstream.answer(event_stream(first, gate, *rest))
    with RawConnection(gateway.port) as caller:
        caller.request("POST", CHAT_PATH, [("authorization", "Bearer sk-own"), JSON], b'{"stream": true}')
        caller.read_head()
        assert caller.read_text_until(first) == first
        os.killpg(gateway.process.pid, number)
        gateway.wait_until_it_says("Waiting for child process", 1)
        gate.open()
        assert b"".join(caller.chunks()) == b"".join(rest)
    gateway.process.wait(40)


def test_log__is_one_line_per_record_and_has_no_access_log(first: Gateway) -> None:
    first.ask("GET", "/health")
    lines = [line for line in first.printed().splitlines() if re.match(r"\d{4}-", line)]
    assert lines
    assert not any("GET /health" in line for line in lines)


# What uvicorn is started with


def test_uvicorn__is_set_up_for_streams(served: dict[str, Any], settings: Any) -> None:
    settings.AI_GATEWAY = {"DRAIN_TIMEOUT": 7.5}
    print_of("--workers", "3", "--log-level", "warning")
    assert served["application"] == "ai_gateway.management.commands.rungateway:application"
    assert served["factory"] is True
    assert (served["http"], served["loop"], served["lifespan"]) == (GatheringProtocol, "uvloop", "on")
    assert (served["workers"], served["log_level"]) == (3, "warning")
    assert (served["access_log"], served["server_header"]) == (False, False)
    assert (served["timeout_keep_alive"], served["timeout_graceful_shutdown"]) == (75, 9)


def test_application__is_that_of_the_settings(settings: Any) -> None:
    settings.ASGI_APPLICATION = "tests.ordinary_site.asgi.application"
    assert rungateway.named_application() is __import__("tests.ordinary_site.asgi", fromlist=["x"]).application


def test_application__is_made_where_the_settings_name_none() -> None:
    assert rungateway.named_application() is None
    assert callable(rungateway.application())


# What it prints


def test_no_key__is_made_when_a_provider_is_configured(served: dict[str, Any], settings: Any) -> None:
    """A key that opens a stored credential is for the operator to give out, not for a log file."""
    settings.AI_GATEWAY = {"PROVIDERS": {"openai": {"OPTIONS": {"api_key": "sk-stored"}}}}
    out, _ = print_of()
    assert not DEVELOPMENT_KEY.search(out)
    assert "Gateway keys: none" in out
    assert "sk-stored" not in out


def test_prefix__is_part_of_the_address(served: dict[str, Any], settings: Any) -> None:
    settings.AI_GATEWAY = {"PREFIX": "/ai"}
    out, _ = print_of()
    assert re.search(r"curl http://127\.0\.0\.1:\d+/ai/v1/chat/completions", out)


def test_broken_provider__is_named_with_the_reason(served: dict[str, Any], settings: Any) -> None:
    settings.AI_GATEWAY = {"PROVIDERS": {"openai": {"OPTIONS": {"base_url": "not a url"}}}}
    _, err = print_of("--skip-checks")
    assert "'openai' is misconfigured" in err


# What it refuses


def test_port_in_use__is_said_clearly() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"Cannot listen on 127.0.0.1 port {port}: .*in use"):
            call_command("rungateway", "--port", str(port))


def test_unknown_host__is_said_clearly() -> None:
    with pytest.raises(CommandError, match=r"Cannot listen on no-such-host\.invalid"):
        call_command("rungateway", "--host", "no-such-host.invalid", "--port", "0")


@pytest.mark.parametrize("arguments", [("--port", "http"), ("--port", "70000"), ("--workers", "0"), ("--workers", "x")])
def test_nonsense__is_refused(arguments: tuple[str, str]) -> None:
    with pytest.raises(CommandError, match=f"'{arguments[1]}' is not a "):
        call_command("rungateway", *arguments)


@pytest.mark.parametrize("arguments", [["--port", "70000"], ["--workers", "0"]])
def test_nonsense__is_told_in_a_line_and_no_traceback(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        rungateway.Command().run_from_argv(["manage.py", "rungateway", *arguments])
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("manage.py rungateway: error: ")
    assert f"'{arguments[1]}' is not a " in told


def test_reload__excludes_workers() -> None:
    with pytest.raises(CommandError, match="one worker"):
        call_command("rungateway", "--reload", "--workers", "2", "--port", "0")


def test_missing_server__names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    with pytest.raises(CommandError, match=r"django-ai-gateway\[server\]"):
        call_command("rungateway", "--port", "0")


# The key that encrypts what the database holds.


def test_encryption_key__is_made_beside_the_database_and_kept(run: Callable[..., Gateway], tmp_path: Path) -> None:
    gateway = run({})
    path = tmp_path / ".encryption_key"
    key = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert crypto.Keyring([Secret(key)]).current
    assert key.strip() not in gateway.printed()
    gateway.stop()
    run({})
    assert path.read_text() == key


def test_encryption_key__is_not_made_where_one_is_set(run: Callable[..., Gateway], tmp_path: Path) -> None:
    run({"AI_GATEWAY_ENCRYPTION_KEYS": crypto.generate_key()})
    assert not (tmp_path / ".encryption_key").exists()


@pytest.mark.django_db
@pytest.mark.usefixtures("encryption_key")
def test_encryption_key__that_is_lost_is_not_replaced(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one would hide that what is encrypted cannot be read."""
    monkeypatch.setattr(rungateway, "has_database", lambda: True)
    path = tmp_path / "key"
    make_key(make_user())
    settings.AI_GATEWAY = {"ENCRYPTION_KEYS": [f"file:{path}"]}
    rungateway.Command().prepare_encryption_key()
    assert not path.exists()
