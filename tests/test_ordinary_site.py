"""A site made by `startproject` gets the gateway in three lines, and both work beside each other in one process."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "tests" / "ordinary_site"
ECHO = {"model": "echo/echo-1", "messages": [{"role": "user", "content": "one two three four five"}]}
JSON = {"content-type": "application/json"}

PATIENCE = 120.0
"""Seconds for a server to start, which on a busy machine takes longer than it should."""

CREATE_USER = f"""
import django
django.setup()
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
user = User.objects.create_user("ada", password="a-long-password")
session = SessionStore()
session[{SESSION_KEY!r}] = str(user.pk)
session[{BACKEND_SESSION_KEY!r}] = "django.contrib.auth.backends.ModelBackend"
session[{HASH_SESSION_KEY!r}] = user.get_session_auth_hash()
session.create()
print(session.session_key)
"""


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Site(NamedTuple):
    port: int
    session: str
    has_direct_door: bool

    def ask(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Answer:
        """Send one request, and read the whole answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        data = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, data, {**(JSON if data is not None else {}), **(headers or {})})
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()


def run_python(*arguments: str, environment: dict[str, str]) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def wait_for_port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", log.read_text()):
            return int(found[1])
        time.sleep(0.05)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The site's environment, and its database with tables."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.ordinary_site.settings",
        "ORDINARY_SITE_DATABASE": str(tmp_path_factory.mktemp("site") / "db.sqlite3"),
        "PYTHONPATH": str(ROOT),
    }
    run_python("-m", "django", "migrate", "--verbosity", "0", environment=environment)
    return environment


@pytest.fixture(scope="module")
def session(environment: dict[str, str]) -> str:
    """The session of somebody who is logged in."""
    return run_python("-c", CREATE_USER, environment=environment)


@pytest.fixture(scope="module", params=["asgi", "stock_asgi"])
def site(
    request: pytest.FixtureRequest, environment: dict[str, str], session: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The site in a uvicorn process, with the direct door and without it."""
    log = tmp_path_factory.mktemp(request.param) / "log"
    command = ["-m", "uvicorn", f"tests.ordinary_site.{request.param}:application", "--port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield Site(wait_for_port(process, log), session, request.param == "asgi")
    finally:
        process.terminate()
        process.wait(30)
    assert "Traceback" not in log.read_text()


def is_error_in_json(answer: Answer) -> bool:
    """Whether an answer is an error in a dialect's JSON, with a message for people."""
    return (
        answer.headers["content-type"].startswith("application/json")
        and len(json.loads(answer.body)["error"]["message"]) > 10
    )


def test_the_gateway_takes_three_lines() -> None:
    """What `startproject` writes and the site differ by three lines, beside the site's own pages."""
    files = [SITE / name for name in ("settings.py", "urls.py", "asgi.py")]
    marked = [line for file in files for line in file.read_text().splitlines() if "# the gateway:" in line]
    assert len(marked) == 3
    assert not any(
        "ai_gateway" in line for file in files for line in file.read_text().splitlines() if line not in marked
    )


def test_pages__work_as_before(site: Site) -> None:
    answer = site.ask("GET", "/")
    assert answer.status == 200
    assert answer.body == b"<h1>An ordinary page</h1>"
    # The site's middleware was there.
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_login__is_asked_for(site: Site) -> None:
    answer = site.ask("GET", "/pages/private/")
    assert answer.status == 302
    assert answer.headers["location"] == "/admin/login/?next=/pages/private/"


def test_login__is_recognised(site: Site) -> None:
    answer = site.ask("GET", "/pages/private/", headers={"cookie": f"sessionid={site.session}"})
    assert (answer.status, answer.body) == (200, b"<h1>Hello ada</h1>")


def test_pages__keep_their_slash_redirect_and_html_errors(site: Site) -> None:
    assert site.ask("GET", "/pages/private").headers["location"] == "/pages/private/"
    missing = site.ask("GET", "/pages/none/")
    assert missing.status == 404
    assert missing.headers["content-type"].startswith("text/html")


def test_pages__keep_their_csrf_protection(site: Site) -> None:
    answer = site.ask("POST", "/", {})
    assert answer.status == 403
    assert answer.headers["content-type"].startswith("text/html")


def test_admin__is_there(site: Site) -> None:
    assert site.ask("GET", "/admin/login/").status == 200


def test_echo__answers(site: Site) -> None:
    answer = site.ask("POST", "/v1/chat/completions", ECHO)
    assert answer.status == 200
    assert json.loads(answer.body)["choices"][0]["message"]["content"]
    assert answer.headers["x-gateway-provider"] == "echo"
    assert "set-cookie" not in answer.headers


def test_echo__answers_with_a_session_as_without(site: Site) -> None:
    """A cookie changes nothing: neither is it a credential, nor is a CSRF token asked for."""
    headers = {"cookie": f"sessionid={site.session}", "origin": "https://elsewhere.example"}
    assert site.ask("POST", "/v1/chat/completions", ECHO, headers).status == 200


def test_echo__streams(site: Site) -> None:
    answer = site.ask("POST", "/v1/chat/completions", {**ECHO, "stream": True})
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [line for line in answer.body.split(b"\n\n") if line]
    assert events[-1] == b"data: [DONE]"
    assert len(events) > 3
    assert all("choices" in json.loads(event.removeprefix(b"data: ")) for event in events[:-1])


def test_echo__streams_event_by_event(site: Site) -> None:
    """Each event is there when the provider made it, and is not kept until there are more."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
    body = json.dumps({**ECHO, "model": "slow/echo-1", "stream": True})
    connection.request("POST", "/v1/chat/completions", body, JSON)
    response = connection.getresponse()
    pieces = list(iter(lambda: response.read1(65536), b""))
    connection.close()
    assert len(pieces) > 5
    assert all(piece.endswith(b"\n\n") for piece in pieces)
    assert b"[DONE]" not in b"".join(pieces[:-2])


def test_echo__speaks_anthropic_too(site: Site) -> None:
    body = {"model": "echo/echo-1", "max_tokens": 50, "messages": [{"role": "user", "content": "Hello"}]}
    answer = site.ask("POST", "/v1/messages", body, {"anthropic-version": "2023-06-01"})
    assert answer.status == 200
    assert json.loads(answer.body)["type"] == "message"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1"),
        ("GET", "/v1/"),
        ("GET", "/v1/no/such/thing"),
        ("POST", "/v1/no/such/thing/"),
        ("POST", "/v1/chat/completions/"),
        ("POST", "/v1/../admin/"),
        ("GET", "/v1/%2e%2e/admin/"),
        ("POST", "/v1//chat/completions"),
        ("DELETE", "/health"),
        ("POST", "/health/ready"),
        ("PUT", "/health/providers/"),
    ],
)
def test_errors__are_json_and_never_a_redirect(site: Site, method: str, path: str) -> None:
    """Neither Django's 404 page, nor its 405, CSRF failure or APPEND_SLASH is seen on a gateway path."""
    answer = site.ask(method, path, {} if method in ("POST", "PUT") else None)
    assert 400 <= answer.status < 500
    assert "location" not in answer.headers
    assert is_error_in_json(answer)
    assert answer.headers["x-request-id"]


def test_errors__a_foreign_host_gets_json(site: Site) -> None:
    """DisallowedHost is a page of HTML. Without the third line nobody is there to replace it."""
    answer = site.ask("GET", "/v1/models", headers={"host": "evil.example", "origin": "https://evil.example"})
    assert answer.status == 400
    assert is_error_in_json(answer) is site.has_direct_door


def test_health(site: Site) -> None:
    answer = site.ask("GET", "/health")
    assert answer.status == 200
    assert json.loads(answer.body)["status"] == "healthy"
    assert site.ask("GET", "/health/ready").status == 200


def test_health__providers_are_for_staff(site: Site) -> None:
    assert site.ask("GET", "/health/providers", headers={"cookie": f"sessionid={site.session}"}).status == 403


def test_claude_code_asks_whether_anybody_is_there(site: Site) -> None:
    answer = site.ask("HEAD", "/api/hello")
    assert (answer.status, answer.body) == (200, b"")
