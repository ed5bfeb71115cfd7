"""How many gateways a call has come through: who is told, and from when on that is too many."""

from __future__ import annotations

import msgspec
import pytest

from ai_gateway import failures, loops
from ai_gateway.calls import Caller
from ai_gateway.errors import LoopDetected
from ai_gateway.failures import Phase
from ai_gateway.providers import CATALOG, build_provider
from tests.providers.samples import GENERATION, header, make_call

TEAM = Caller(key_name="team")


def told(alias: str, hops: int = 0, **options: object) -> str | None:
    """What a provider is told with a call that came through so many gateways."""
    provider = build_provider(alias, {"OPTIONS": {"api_key": "sk-stored", **options}})
    call = msgspec.structs.replace(make_call(GENERATION[min(provider.dialects)], {"model": "m"}), hops=hops)
    return header(provider.build(call, TEAM, None), "x-gateway-hops")


@pytest.mark.parametrize("alias", [name for name, row in CATALOG.items() if row.is_set_up and name != "echo"])
def test_vendors_at_their_own_addresses_are_told_nothing(alias: str) -> None:
    assert told(alias) is None


def test_azure_and_amazon_are_told_nothing_where_the_address_follows_from_a_name() -> None:
    assert told("azure", resource="ours") is None
    assert told("bedrock", region="eu-west-1") is None


@pytest.mark.parametrize("alias", ["custom", "openai", "anthropic", "ollama", "azure", "bedrock"])
def test_what_is_at_an_address_of_the_operator_s_may_be_a_gateway(alias: str) -> None:
    assert told(alias, base_url="https://gateway.example.com/v1") == "1"
    assert told(alias, hops=loops.MOST, base_url="https://gateway.example.com/v1") == "6"


def test_a_call_has_come_through_as_many_as_it_says() -> None:
    assert loops.hops_of({}) == 0
    assert [loops.hops_of({loops.HEADER: b"%d" % number}) for number in range(1, 6)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("value", [b"6", b"0", b"05", b"1, 1", b"one", b""])
def test_too_many_and_what_is_no_number_are_refused(value: bytes) -> None:
    with pytest.raises(LoopDetected):
        loops.hops_of({loops.HEADER: value})


def test_a_loop_is_the_end_of_a_call_for_every_gateway_in_it() -> None:
    assert failures.of_status(LoopDetected.status).phase is Phase.FINAL
    assert not LoopDetected.retryable
