"""A gateway with one provider for each format, all of them the fake upstream, and callers of each dialect."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from tests.gateway_process import Door, GatewayProcess
from tests.translation.callers import Caller, callers
from tests.upstream import Upstream

MODELS = {
    "openai_chat": "chat/some-model",
    "openai_responses": "responses/some-model",
    "anthropic_messages": "messages/claude-sonnet-4-5",
    "gemini": "google/gemini-3-flash-preview",
    "bedrock_converse": "converse/amazon.nova-pro-v1:0",
}
"""A model at a provider of each format."""


def settings(upstream: Upstream) -> dict[str, Any]:
    """Configure a provider of each format."""
    at_root = f"http://127.0.0.1:{upstream.port}"
    usual = {"allow_private": True, "api_key": "sk-stored"}
    responses = {**usual, "base_url": f"{at_root}/v1", "dialects": ["openai_responses"]}
    return {
        "PROVIDERS": {
            "chat": {"BACKEND": "custom", "OPTIONS": {**usual, "base_url": f"{at_root}/v1"}},
            "responses": {"BACKEND": "custom", "OPTIONS": responses},
            "messages": {"BACKEND": "anthropic", "OPTIONS": {**usual, "base_url": at_root}},
            "google": {"BACKEND": "gemini", "OPTIONS": {**usual, "base_url": at_root}},
            "converse": {"BACKEND": "bedrock", "OPTIONS": {**usual, "base_url": at_root}},
            "openai": {"OPTIONS": {**usual, "base_url": f"{at_root}/v1"}},
        },
        "CAPABILITIES": {
            "responses/thinker*": {"reasoning": "effort", "efforts": ["low", "high"], "custom_tools": True}
        },
    }


class Side:
    """One door of the gateway, and the callers that enter by it."""

    def __init__(self, gateway: GatewayProcess, resources: ExitStack) -> None:
        self.gateway = gateway
        self.callers: Mapping[str, Caller] = callers(gateway.url, resources)


@pytest.fixture(scope="session")
def sides(_upstream: Upstream, gateway_processes: Callable[..., GatewayProcess]) -> Iterator[Callable[[Door], Side]]:
    """Give a door. A gateway's callers and their connections serve all tests; at the end the logs must be in order."""
    opened: dict[GatewayProcess, Side] = {}
    with ExitStack() as resources:

        def side(door: Door) -> Side:
            gateway = gateway_processes(door, settings(_upstream), {})
            if gateway not in opened:
                opened[gateway] = Side(gateway, resources)
            return opened[gateway]

        yield side
    for gateway in opened:
        gateway.assert_log_in_order()


@pytest.fixture
def direct(sides: Callable[[Door], Side], upstream: Upstream) -> Side:
    """The direct door."""
    return sides("direct")


@pytest.fixture
def django(sides: Callable[[Door], Side], upstream: Upstream) -> Side:
    """Django's own door."""
    return sides("django")
