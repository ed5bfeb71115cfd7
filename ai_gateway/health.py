"""Is the gateway alive, is it ready, and how did the providers do last? None of it asks a provider anything.

Outcomes are remembered, one per provider, by this process: of the calls, and where somebody asks providers on purpose
(`prober.py`), of that, too.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass

import msgspec
from asgiref.sync import sync_to_async
from django.db import Error, connection

from ai_gateway import __version__, breakers, cooldowns, overload, peers, registry
from ai_gateway.bulkheads import Bulkhead
from ai_gateway.calls import Reply
from ai_gateway.replies import UNSTORED, own_reply, request_ids

ALIVE = msgspec.json.encode({"status": "healthy", "version": __version__})

PATIENCE = 1.0
"""Seconds for which the database may take to answer: less than what asks for the health waits."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a provider's last answer was: its status, the gateway's error code if it failed, when (Unix time), and
    whether it was asked on purpose and not by a call."""

    ok: bool
    status: int
    error: str | None
    at: float
    probed: bool = False


_outcomes: dict[str, Outcome] = {}
_asking: asyncio.Future[bool] | None = None
_is_draining = False
_has_stopped = False


def note(provider: str, status: int, error: str | None = None, *, probed: bool = False) -> None:
    """Remember how a provider answered. A caller's mistake (4xx) still shows that the provider works; a 429 does
    not."""
    ok = error is None and (status < 500 and status != 429)
    last = _outcomes.get(provider)
    now = time.time()
    if last is None or last.ok != ok or not ok or now - last.at >= 1.0:
        _outcomes[provider] = Outcome(ok, status, error, round(now, 3), probed)


def start_draining() -> None:
    """Say from now on that no new work should come. What comes all the same is served."""
    global _is_draining
    _is_draining = True


def is_draining() -> bool:
    """Whether the process is about to stop."""
    return _is_draining


def stop() -> None:
    """Have no call taken any more: those under way are being ended."""
    global _has_stopped
    _has_stopped = True


def has_stopped() -> bool:
    """Whether no call is taken any more."""
    return _has_stopped


def hello(request_id: str) -> Reply:
    """Answer `/api/hello`, what Claude Code asks for (HEAD) to see whether there is anybody."""
    return Reply(status=200, headers=[(b"content-length", b"0"), *request_ids(request_id)], body=b"")


def alive(request_id: str) -> Reply:
    """Answer `/health`: the process runs. Constant, and reveals nothing but the version."""
    return own_reply(ALIVE, request_id, headers=UNSTORED)


async def ready(request_id: str) -> Reply:
    """Answer `/health/ready`: 200 if calls can be served, 503 with the names of what is not well.

    A database that fails, or what is wrong with the configuration in it, is a warning only: what was known last is
    served. If all processes said that they cannot serve because of a database that they share, a balancer would have
    nobody left to ask. A process that has not read the database yet knows too little, and says so. That all places are
    taken is a warning, too: who takes away a process that has much to do gives the others more.
    """
    problems = ["draining"] if _is_draining else []
    warnings = ["configuration"] if registry.problems() else []
    try:
        if overload.calls.taken >= registry.snapshot().max_calls:
            warnings.append("overloaded")
    except Exception:
        # Whatever is wrong with the configuration, the answer here is "not ready"; the log and the checks say why.
        registry.logger.exception("The configuration cannot be loaded")
        problems.append("configuration")
    if not await _database_answers_soon():
        (warnings if registry.has_read_all() else problems).append("database")
    body: dict[str, object] = {"status": "unavailable", "problems": problems} if problems else {"status": "ready"}
    if warnings:
        body["warnings"] = warnings
    return own_reply(msgspec.json.encode(body), request_id, status=503 if problems else 200, headers=UNSTORED)


async def _database_answers_soon() -> bool:
    """Whether the database answers before whoever asks for the health gives up. Asks it once at a time."""
    global _asking
    if _asking is None or _asking.done() or _asking.get_loop() is not asyncio.get_running_loop():
        _asking = asyncio.ensure_future(sync_to_async(_database_answers)())
    done, _ = await asyncio.wait((_asking,), timeout=PATIENCE)
    return bool(done) and _asking.result()


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
    """Answer `/health/providers`: the providers that are configured or were called, with their last outcome, how many
    calls are under way, and which other processes were heard. What these found out says so by `heard_from`."""
    snapshot = registry.snapshot()
    names = sorted({*snapshot.configured, *snapshot.broken, *_outcomes})
    findings = breakers.findings()
    body = {
        name: {
            "configured": name in snapshot.configured,
            "broken": snapshot.broken.get(name),
            "last": asdict(_outcomes[name]) if name in _outcomes else None,
            "breakers": {target: found for target, found in findings.items() if target.startswith(f"{name}/")},
            "resting_credentials": cooldowns.resting(name),
        }
        for name in names
    }
    for name, bulkhead in overload.at_providers.items():
        if name in body:
            body[name]["calls"] = _counts(bulkhead)
    found = {"calls": _counts(overload.calls), "providers": body, "peers": _peers()}
    return own_reply(msgspec.json.encode(found), request_id, headers=UNSTORED)


def _peers() -> dict[str, object]:
    """Which other processes are known, with the seconds since they were heard; and why none, if that fails."""
    member = peers.running()
    if member is None:
        return {"connected": False, "process": None, "failure": None, "heard": {}}
    found = {"connected": member.is_connected, "process": member.name, "failure": member.failure or None}
    return {**found, "heard": member.peers}


def _counts(bulkhead: Bulkhead) -> dict[str, int]:
    return {"under_way": bulkhead.taken, "waiting": bulkhead.waiting, "refused": bulkhead.refused}
