"""Calls to providers that answer by a script, without the rest of the gateway."""

from __future__ import annotations

import json
from typing import Any

from django.test import override_settings

from ai_gateway import registry
from ai_gateway.attempts import ask
from ai_gateway.calls import Call, Caller, Reply, Target
from tests.factories import JSON, Answer, Scripted, make_call, make_meter, run

HOLDER = Caller(key_name="team")
STRANGER = Caller(credential=(b"authorization", b"Bearer sk-own"))
SSE = (b"content-type", b"text/event-stream")
LIMITED = [{"name": "all", "scope": "everyone", "measure": "tokens", "window": "minute", "amount": 10**6}]
OPTIONS = {"PROVIDERS": {name: {"OPTIONS": {"api_key": f"stored-{name}"}} for name in ("openai", "groq", "anthropic")}}


def attempt(
    *outcomes: Answer | Exception,
    call: Call | None = None,
    caller: Caller = HOLDER,
    targets: tuple[str, ...] = ("openai",),
    **settings: Any,
) -> tuple[Reply, Scripted]:
    """Ask these providers, which answer by this script."""
    transport = Scripted(*outcomes)
    asked = call or make_call(body=b'{"model": "m"}', model="m")
    with override_settings(AI_GATEWAY={**OPTIONS, **settings}):
        snapshot = registry.snapshot()
        reply = run(ask(make_meter(asked, caller), [Target(name, "m") for name in targets], snapshot, transport))
    return reply, transport


BOTH = ("openai", "groq")


def good() -> Answer:
    return Answer(b"{}", headers=[JSON, (b"content-length", b"2")])


def refusal(status: int, body: object = None, *headers: tuple[bytes, bytes]) -> Answer:
    content = json.dumps(body or {"error": {"message": "no"}}).encode()
    return Answer(content, status=status, headers=[JSON, (b"content-length", b"%d" % len(content)), *headers])


class Unfinished(Answer):
    """A refusal whose body does not end."""

    async def read(self, patience: float | None = None) -> bytes | None:
        assert patience is not None
        return self.steps.pop(0) if self.steps else None  # type: ignore[return-value]
