"""Qwen Code, which speaks OpenAI's chat completions, on models of other formats.

Chat completions have no field for the state of a model's reasoning. It leaves the gateway in those that some providers
have added, which this agent does not send back.
"""

from __future__ import annotations

import json

import pytest

from tests.clients.conftest import TARGETS, StartModel, by_both_doors
from tests.clients.errand import FOLLOW_UP, PROMPT, SIZE, Errand, check
from tests.clients.sandbox import Run, Sandbox
from tests.conftest import GATEWAY_KEY
from tests.gateway_process import GatewayProcess

FORMATS = ["anthropic_messages", "openai_responses", "gemini"]
SETTINGS = {
    "security": {"auth": {"selectedType": "openai"}},
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    "general": {"enableAutoUpdate": False},
}


class QwenCode:
    """Qwen Code in a sandbox, with the gateway as its base URL."""

    def __init__(self, sandbox: Sandbox, gateway: GatewayProcess) -> None:
        self._sandbox = sandbox
        self._variables = {"OPENAI_BASE_URL": f"{gateway.url}/v1", "OPENAI_API_KEY": GATEWAY_KEY}
        self.work = sandbox.work
        sandbox.settings(".qwen/settings.json", json.dumps(SETTINGS))

    def __call__(self, prompt: str, model: str, *arguments: str) -> Run:
        options = ("--yolo", "--output-format", "json", *arguments)
        return self._sandbox.run("qwen", "-p", prompt, *options, OPENAI_MODEL=model, **self._variables)


@pytest.fixture
def qwen(sandbox: Sandbox, gateway: GatewayProcess) -> QwenCode:
    return QwenCode(sandbox, gateway)


@pytest.mark.shows("Qwen Code", "session")
@by_both_doors("format", FORMATS)
def test_a_session_with_tools(qwen: QwenCode, start_model: StartModel, format: str) -> None:
    model = start_model(format, Errand(qwen.work))
    *_, answer = qwen(PROMPT, TARGETS[format]).json()
    check(model, qwen.work, carries=False)
    assert SIZE in answer["result"]
    assert "two figs" in answer["result"]
    assert answer["usage"]["input_tokens"] == 3000
    assert answer["usage"]["output_tokens"] == 150

    *_, answer = qwen(FOLLOW_UP, TARGETS[format], "--continue").json()
    assert answer["result"] == "It was a pear."
    check(model, qwen.work, carries=False)
