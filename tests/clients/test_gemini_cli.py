"""Gemini CLI, which speaks Google's Gemini API, on models of other formats."""

from __future__ import annotations

import json

import pytest

from tests.clients.conftest import SAID, StartModel, by_both_doors, start_breaking
from tests.clients.errand import PROMPT, SIZE, Errand, check
from tests.clients.matrix import only_in_a_run_of_everything
from tests.clients.models.turns import Turn
from tests.clients.sandbox import Run, Sandbox
from tests.conftest import GATEWAY_KEY
from tests.gateway_process import GatewayProcess
from tests.upstream import Upstream

MODELS = {
    "anthropic_messages": "gemini-2.5-flash",
    "openai_responses": "gemini-2.5-pro",
    "openai_chat": "gemini-3-flash-preview",
}
"""What Gemini CLI asks for, to reach a model of this format."""

SETTINGS = {
    "security": {"auth": {"selectedType": "gemini-api-key"}},
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    "general": {"enableAutoUpdate": False},
}


class GeminiCLI:
    """Gemini CLI in a sandbox, with the gateway as its base URL."""

    def __init__(self, sandbox: Sandbox, gateway: GatewayProcess) -> None:
        self._sandbox = sandbox
        self._variables = {"GOOGLE_GEMINI_BASE_URL": gateway.url, "GEMINI_API_KEY": GATEWAY_KEY}
        self.work = sandbox.work
        sandbox.settings(".gemini/settings.json", json.dumps(SETTINGS))

    def __call__(self, prompt: str, model: str, **variables: str) -> Run:
        options = ("-m", model, "--skip-trust", "--yolo", "--output-format", "json")
        return self._sandbox.run("gemini", "-p", prompt, *options, **{**self._variables, **variables})


@pytest.fixture
def gemini_cli(sandbox: Sandbox, gateway: GatewayProcess) -> GeminiCLI:
    return GeminiCLI(sandbox, gateway)


@pytest.mark.shows("Gemini CLI", "session")
@by_both_doors("format,asked", [*MODELS.items(), ("gemini", "gemini-2.5-flash-lite")])
def test_a_session_with_tools(gemini_cli: GeminiCLI, start_model: StartModel, format: str, asked: str) -> None:
    model = start_model(format, Errand(gemini_cli.work))
    answer = gemini_cli(PROMPT, asked).json()
    check(model, gemini_cli.work, carries=False)
    assert SIZE in answer["response"]
    assert "two figs" in answer["response"]
    assert answer["stats"]["tools"]["totalSuccess"] == 3
    (usage,) = [model["tokens"] for model in answer["stats"]["models"].values()]
    assert usage["prompt"] == 3000
    assert usage["candidates"] + usage["thoughts"] == 150


@pytest.mark.shows("Gemini CLI", "prompt")
@by_both_doors("format", MODELS)
def test_its_prompt_arrives(gemini_cli: GeminiCLI, start_model: StartModel, format: str) -> None:
    model = start_model(format, lambda seen: Turn(text="Hello."))
    assert gemini_cli("What is all this?", MODELS[format]).json()["response"] == "Hello."
    seen = model.last
    assert "What is all this?" in "".join(seen.prompts)
    assert "Gemini CLI" in seen.instructions
    assert {"write_file", "read_file", "run_shell_command"} <= set(seen.tools)
    assert set(seen.tools["write_file"]["required"]) == {"file_path", "content"}


@by_both_doors("format", ["anthropic_messages", "openai_responses"])
def test_the_models_reasoning_comes_back(gemini_cli: GeminiCLI, start_model: StartModel, format: str) -> None:
    """It keeps no thoughts, but the signatures that come with calls."""
    model = start_model(format, Errand(gemini_cli.work))
    gemini_cli(PROMPT, MODELS[format]).json()
    check(model, gemini_cli.work)


@only_in_a_run_of_everything
@pytest.mark.shows("Gemini CLI", "broken")
@by_both_doors("format", MODELS)
def test_a_stream_that_breaks(gemini_cli: GeminiCLI, start_model: StartModel, format: str) -> None:
    """What came so far is not taken for the answer: it asks again. But it prints what it had besides."""
    model = start_breaking(start_model, format, is_once=True)
    assert gemini_cli("Hello", MODELS[format]).json()["response"].endswith(SAID)
    assert len(model.seen) == 2


@only_in_a_run_of_everything
@pytest.mark.shows("Gemini CLI", "wrong_key")
@by_both_doors("format", ["openai_chat"])
def test_a_wrong_key(gemini_cli: GeminiCLI, upstream: Upstream, format: str) -> None:
    run = gemini_cli("Hello", MODELS[format], GEMINI_API_KEY="gw_wrong")
    assert run.code != 0
    assert "gateway key" in run.output + run.errors, run
    assert upstream.requests == []
