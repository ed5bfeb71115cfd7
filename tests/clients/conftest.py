"""Gateways in front of scripted models of every format, and the clients' programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.clients.models.anthropic_messages import AnthropicMessages
from tests.clients.models.gemini import Gemini
from tests.clients.models.model import Format, Model
from tests.clients.models.openai_chat import OpenAIChat
from tests.clients.models.openai_responses import OpenAIResponses
from tests.clients.models.turns import Brain, Turn
from tests.clients.packages import installed
from tests.clients.sandbox import Sandbox
from tests.conftest import StartGateway, default_settings
from tests.effort import EFFORT
from tests.gateway_process import GatewayProcess
from tests.upstream import Upstream, json_answer

TARGETS = {
    "openai_chat": "together/moonshotai/Kimi-K2",
    "openai_responses": "openai/gpt-5.5",
    "anthropic_messages": "anthropic/claude-sonnet-4-5",
    "gemini": "gemini/gemini-3-pro-preview",
}
"""A model for each format of a provider."""

ROUTES = {
    # What the agents know under these names, they give other tools, prompts and parameters.
    "claude-sonnet-4-5": [TARGETS["openai_chat"]],
    "claude-sonnet-5-5": [TARGETS["openai_responses"]],
    "claude-opus-4-5": [TARGETS["gemini"]],
    "gpt-5.5": [TARGETS["anthropic_messages"]],
    "gpt-5": [TARGETS["openai_chat"]],
    "gpt-4.1": [TARGETS["gemini"]],
    "gpt-5.6-sol": [TARGETS["anthropic_messages"]],
    "gpt-5.6-terra": [TARGETS["openai_chat"]],
    "gpt-6-sol": [TARGETS["gemini"]],
    "gemini-2.5-flash": [TARGETS["anthropic_messages"]],
    "gemini-2.5-pro": [TARGETS["openai_responses"]],
    "gemini-3-flash-preview": [TARGETS["openai_chat"]],
}
CAPABILITIES = {
    "together/*": {
        "reasoning": "effort",
        "efforts": ["low", "medium", "high"],
        "reasoning_history": "reasoning_content",
        "hosted_tools": "drop",
    },
    "gemini/*": {"hosted_tools": "drop"},
}
"""A model of chat completions that wants its reasoning back; and a web search, which Codex always offers, is left out
where there is none."""

SPENT_KEY = "gw_test-key-whose-budget-is-used-up"
LIMITS = [
    {"name": "the month", "scope": "key", "subject": "spent", "measure": "cost", "window": "month", "amount": 1e-6}
]
PRICES = [{"provider": "*", "model": "*", "input": 3, "output": 15}]

FORMATS: dict[str, Callable[[], Format]] = {
    "openai_chat": OpenAIChat,
    "openai_responses": OpenAIResponses,
    "anthropic_messages": AnthropicMessages,
    "gemini": Gemini,
}


@pytest.fixture
def gateway(start_gateway: StartGateway, upstream: Upstream) -> GatewayProcess:
    """A gateway in front of four providers, each of which speaks one format."""
    configured = default_settings(upstream)
    options = {"base_url": f"http://127.0.0.1:{upstream.port}/v1", "allow_private": True, "api_key": "stored-together"}
    return start_gateway(
        PROVIDERS={**configured["PROVIDERS"], "together": {"OPTIONS": options}},
        ROUTES=ROUTES,
        CAPABILITIES=CAPABILITIES,
        KEYS={**configured["KEYS"], "spent": SPENT_KEY},
        LIMITS=LIMITS,
        PRICES=PRICES,
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the reports of tests tell what they show of clients, for whoever writes the tables."""
    for item in items:
        item.user_properties += (("shows", "|".join(mark.args)) for mark in item.iter_markers("shows"))


def by_both_doors(names: str, cases: Iterable[Any], *, is_quick: bool = False) -> pytest.MarkDecorator:
    """Parametrize a test, and let the doors take turns: all cases by both would take twice as long for little.

    A program that takes a second and more to start is tried with every other case in an ordinary run: of four, with the
    first by one door and the last by the other. `GATEWAY_EFFORT=2` tries all.
    """
    doors = cycle(("direct", "django"))
    values = [(door, *(case if isinstance(case, tuple) else (case,))) for door, case in zip(doors, cases, strict=False)]
    if not is_quick and EFFORT <= 1:
        values = [value for place, value in enumerate(values) if place // 2 % 2 == place % 2]
    return pytest.mark.parametrize(("door", *names.split(",")), values)


class StartModel(Protocol):
    """Puts a scripted model of this format behind the gateway."""

    def __call__(self, format: str, brain: Brain) -> Model: ...


@pytest.fixture
def start_model(upstream: Upstream) -> Iterator[StartModel]:
    """Put scripted models behind the gateway, and see to it that they had nothing to complain of."""
    models: list[Model] = []

    def start(format: str, brain: Brain) -> Model:
        model = Model(FORMATS[format](), brain)
        models.append(model)
        upstream.answer(model)
        return model

    yield start
    assert [complaint for model in models for complaint in model.complaints] == []


SAID = "Pears and figs and nothing else."


def start_breaking(start_model: StartModel, format: str, *, is_once: bool) -> Model:
    """Put a model behind the gateway that says what is in SAID, and whose stream breaks in the middle of it: the first
    one, or each."""
    model = start_model(format, lambda seen: Turn(text=SAID))
    model.breaks_after, model.breaks_once = 4, is_once
    return model


@pytest.fixture(scope="session")
def cache(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give folders that stay for later runs."""
    kept = pytestconfig.cache
    return kept.mkdir if kept is not None else tmp_path_factory.mktemp


@pytest.fixture(scope="session")
def programs(cache: Callable[[str], Path]) -> Path:
    """The folder with the clients' programs: those of npm, unless a module has others."""
    return installed(cache("clients")) / ".bin"


@pytest.fixture(scope="session")
def _outside() -> Iterator[Upstream]:
    outside = Upstream()
    yield outside
    outside.stop()


@pytest.fixture
def outside(_outside: Upstream) -> Upstream:
    """The way out of a sandbox, which is closed."""
    _outside.forget()
    _outside.answer(json_answer({"error": "There is no way out of here."}, 403))
    return _outside


@pytest.fixture
def sandbox(programs: Path, tmp_path: Path, outside: Upstream) -> Iterator[Sandbox]:
    """A place where clients run, which they must not try to leave."""
    sandbox = Sandbox(programs, tmp_path, outside)
    yield sandbox
    sandbox.assert_it_stayed_inside()
