"""Who is calling: gateway keys, own credentials, and what is neither."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.test import override_settings

from ai_gateway import registry
from ai_gateway.calls import Caller
from ai_gateway.errors import InvalidCredential
from ai_gateway.keys import check_access, identify
from ai_gateway.providers import CATALOG
from ai_gateway.registry import Snapshot
from tests.factories import make_arrival, run

KEY = b"gw_0123456789abcdefghij-one"
OTHER = b"gw_0123456789abcdefghij-two"
HEADERS = [b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key"]


@pytest.fixture
def snapshot() -> Snapshot:
    """A configuration with two keys that have their first 20 characters in common."""
    with override_settings(AI_GATEWAY={"KEYS": {"one": KEY.decode(), "two": OTHER.decode()}}):
        return registry.refresh()


def header(name: bytes, token: bytes) -> tuple[bytes, bytes]:
    return (name, b"Bearer " + token if name == b"authorization" else token)


@pytest.mark.parametrize("name", HEADERS)
def test_a_gateway_key_is_known_in_each_header(snapshot: Snapshot, name: bytes) -> None:
    assert run(identify(make_arrival("/v1/x", header(name, KEY)), snapshot)) == Caller(key_name="one")


@pytest.mark.parametrize("value", [b"bearer " + KEY, b"BEARER " + KEY, b"Bearer   " + KEY, KEY])
def test_the_scheme_may_be_written_in_any_way(snapshot: Snapshot, value: bytes) -> None:
    assert run(identify(make_arrival("/v1/x", (b"authorization", value)), snapshot)).key_name == "one"


def test_keys_that_begin_alike_are_different_callers(snapshot: Snapshot) -> None:
    assert run(identify(make_arrival("/v1/x", (b"x-api-key", OTHER)), snapshot)).key_name == "two"


def test_the_same_key_in_two_headers_is_one_key(snapshot: Snapshot) -> None:
    arrival = make_arrival("/v1/messages", (b"authorization", b"Bearer " + KEY), (b"x-api-key", KEY))
    assert run(identify(arrival, snapshot)).key_name == "one"


@pytest.mark.parametrize("other", [OTHER, b"sk-own"])
def test_two_credentials_that_disagree_are_refused(snapshot: Snapshot, other: bytes) -> None:
    arrival = make_arrival("/v1/messages", (b"authorization", b"Bearer " + KEY), (b"x-api-key", other))
    with pytest.raises(InvalidCredential, match="two different"):
        run(identify(arrival, snapshot))


@pytest.mark.parametrize("empty", [(b"authorization", b"Bearer "), (b"authorization", b"Bearer"), (b"x-api-key", b"")])
def test_an_empty_credential_is_none(snapshot: Snapshot, empty: tuple[bytes, bytes]) -> None:
    assert run(identify(make_arrival("/v1/x", empty), snapshot)) == Caller()
    arrival = make_arrival("/v1/x", empty, (b"api-key", KEY))
    assert run(identify(arrival, snapshot)).key_name == "one"


def test_a_credential_header_that_is_there_twice_is_refused(snapshot: Snapshot) -> None:
    with pytest.raises(InvalidCredential, match="twice"):
        run(identify(make_arrival("/v1/x", (b"x-api-key", KEY), (b"x-api-key", OTHER)), snapshot))


@pytest.mark.parametrize("token", [KEY[:-1], KEY + b"x", b"gw_", KEY.upper().replace(b"GW_", b"gw_")])
def test_what_looks_like_a_gateway_key_and_is_none_is_refused(snapshot: Snapshot, token: bytes) -> None:
    with pytest.raises(InvalidCredential) as caught:
        run(identify(make_arrival("/v1/x", (b"x-api-key", token)), snapshot))
    assert token.decode() not in caught.value.message.replace("gateway", "")


def test_an_own_credential_is_passed_through_in_its_header(snapshot: Snapshot) -> None:
    caller = run(identify(make_arrival("/v1/x", (b"authorization", b"Bearer sk-own")), snapshot))
    assert caller == Caller(credential=(b"authorization", b"Bearer sk-own"))
    assert "sk-own" not in repr(caller)


@pytest.mark.parametrize(
    ("path", "preferred"),
    [
        ("/v1/chat/completions", b"authorization"),
        ("/v1/messages", b"x-api-key"),
        ("/v1beta/models/m:generateContent", b"x-goog-api-key"),
    ],
)
def test_of_several_own_credentials_that_of_the_spoken_api_counts(
    snapshot: Snapshot, path: str, preferred: bytes
) -> None:
    arrival = make_arrival(path, *((name, b"own-" + name) for name in HEADERS))
    assert run(identify(arrival, snapshot)).credential == (preferred, b"own-" + preferred)


def test_nobody_is_nobody(snapshot: Snapshot) -> None:
    caller = run(identify(make_arrival("/v1/x"), snapshot))
    assert (caller.is_authenticated, caller.credential) == (False, None)


@pytest.mark.parametrize("headers", [[], [(b"authorization", b"Bearer sk-own")]])
def test_without_passthrough_only_gateway_keys_count(snapshot: Snapshot, headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(InvalidCredential):
        run(identify(make_arrival("/v1/x", *headers), replace(snapshot, passthrough=False)))


def test_the_operators_own_machines_are_for_holders_of_a_key() -> None:
    check_access(Caller(key_name="one"), CATALOG["ollama"])
    check_access(Caller(), CATALOG["echo"])
    check_access(Caller(credential=(b"authorization", b"Bearer sk-own")), CATALOG["openai"])
    with pytest.raises(InvalidCredential):
        check_access(Caller(credential=(b"authorization", b"Bearer sk-own")), CATALOG["ollama"])
