"""May a request that was sent be sent again?"""

from __future__ import annotations

from uuid import UUID

import pytest

from ai_gateway import idempotency
from ai_gateway.calls import Origin, Target, UpstreamRequest
from ai_gateway.credentials import Secret
from ai_gateway.ids import new_id
from ai_gateway.providers import CATALOG, Credential

KNOWING = CATALOG["groq"].with_options({"idempotency_header": "Idempotency-Key"})
TARGET = Target("groq", "llama-4")


def marked(call: str, target: Target = TARGET, method: str = "POST", given: bytes | None = None) -> list[bytes]:
    """Mark a request; give its keys."""
    headers = [] if given is None else [(b"idempotency-key", given)]
    request = UpstreamRequest(method=method, origin=Origin("https", "x", 443), target=b"/", headers=headers)
    idempotency.mark(request, KNOWING, call, target)
    return [value for name, value in request.headers if name == b"idempotency-key"]


def test_the_repetitions_of_a_call_have_one_key_at_a_target_and_another_elsewhere() -> None:
    call = new_id()
    (key,) = marked(call)
    assert UUID(key.decode())
    assert marked(call) == [key]
    assert marked(call, Target("groq", "qwen-4")) != [key]
    assert marked(new_id()) != [key]


def test_a_callers_own_key_stays() -> None:
    assert marked(new_id(), given=b"mine") == [b"mine"]


def test_what_asks_for_no_work_has_none() -> None:
    assert marked(new_id(), method="GET") == []


@pytest.mark.parametrize("alias", sorted(CATALOG))
def test_no_large_provider_promises_to_do_the_work_once(alias: str) -> None:
    assert not idempotency.is_kept(CATALOG[alias])


def test_keys_hold_for_one_credential() -> None:
    assert idempotency.is_kept(KNOWING)
    credentials = tuple(Credential(name, Secret(name)) for name in ("a", "b"))
    assert not idempotency.is_kept(KNOWING.with_options({"credentials": credentials}))
