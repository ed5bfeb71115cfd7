"""Is the gateway alive, is it ready, and how did the providers do last? None of it asks a provider anything.

Outcomes are remembered passively, one per provider, by this process: a check that spends tokens is a cost, and one that
does not tells little.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import msgspec
from asgiref.sync import sync_to_async
from django.db import Error, connection

from ai_gateway import __version__, breakers, cooldowns, registry
from ai_gateway.calls import Headers, Reply

JSON: Headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]

ALIVE = msgspec.json.encode({"status": "healthy", "version": __version__})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a provider's last answer was: its status, the gateway's error code if it failed, and when (Unix time)."""

    ok: bool
    status: int
    error: str | None
    at: float


_outcomes: dict[str, Outcome] = {}
_is_draining = False


def note(provider: str, status: int, error: str | None = None) -> None:
    """Remember how a provider answered. A caller's mistake (4xx) still shows that the provider works; a 429 does
    not."""
    ok = error is None and (status < 500 and status != 429)
    last = _outcomes.get(provider)
    now = time.time()
    if last is None or last.ok != ok or not ok or now - last.at >= 1.0:
        _outcomes[provider] = Outcome(ok, status, error, round(now, 3))


def start_draining() -> None:
    """Say from now on that no new work should come."""
    global _is_draining
    _is_draining = True


def is_draining() -> bool:
    """Whether the process is about to stop."""
    return _is_draining


def hello(request_id: str) -> Reply:
    """Answer `/api/hello`, what Claude Code asks for (HEAD) to see whether there is anybody."""
    return Reply(status=200, headers=[(b"content-length", b"0"), *_ids(request_id)], body=b"")


def alive(request_id: str) -> Reply:
    """Answer `/health`: the process runs. Constant, and reveals nothing but the version."""
    return _json(200, ALIVE, request_id)


async def ready(request_id: str) -> Reply:
    """Answer `/health/ready`: 200 if calls can be served, 503 with the names of what is not well.

    What is wrong with the configuration in the database is a warning only: what was known last is served, and there may
    be no other process that knows more.
    """
    problems = ["draining"] if _is_draining else []
    try:
        registry.snapshot()
    except Exception:
        # Whatever is wrong with the configuration, the answer here is "not ready"; the log and the checks say why.
        registry.logger.exception("The configuration cannot be loaded")
        problems.append("configuration")
    if not await sync_to_async(_database_answers)():
        problems.append("database")
    body: dict[str, object] = {"status": "unavailable", "problems": problems} if problems else {"status": "ready"}
    if registry.problems():
        body["warnings"] = ["configuration"]
    return _json(503 if problems else 200, msgspec.json.encode(body), request_id)


def _database_answers() -> bool:
    """Whether the default database answers a query; a site without one has nothing to wait for."""
    if connection.vendor == "unknown":
        return True
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        registry.logger.warning("The database does not answer: %s", error)
        connection.close()
        return False
    connection.close_if_unusable_or_obsolete()
    return True


def providers(request_id: str) -> Reply:
    """Answer `/health/providers`: the providers that are configured or were called, with their last outcome."""
    snapshot = registry.snapshot()
    names = sorted({*snapshot.configured, *snapshot.broken, *_outcomes})
    states = breakers.states()
    body = {
        name: {
            "configured": name in snapshot.configured,
            "broken": snapshot.broken.get(name),
            "last": asdict(_outcomes[name]) if name in _outcomes else None,
            "breakers": {target: state for target, state in states.items() if target.startswith(f"{name}/")},
            "resting_credentials": cooldowns.resting(name),
        }
        for name in names
    }
    return _json(200, msgspec.json.encode({"providers": body}), request_id)


def _json(status: int, body: bytes, request_id: str) -> Reply:
    headers = [*JSON, (b"content-length", b"%d" % len(body)), *_ids(request_id)]
    return Reply(status=status, headers=headers, body=body)


def _ids(request_id: str) -> Headers:
    value = request_id.encode()
    return [(b"x-request-id", value), (b"request-id", value)]
