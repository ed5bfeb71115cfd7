"""Qwen Code, which speaks OpenAI's chat completions, on models of other formats.

Chat completions have no field for the state of a model's reasoning. It leaves the gateway in those that some providers
have added, which this agent does not send back.
"""

from __future__ import annotations

import json

import pytest

from tests.clients.conftest import SAID, TARGETS, StartModel, by_both_doors, start_breaking
from tests.clients.errand import FOLLOW_UP, PROMPT, SIZE, Errand, check
from tests.clients.matrix import only_in_a_run_of_everything
from tests.clients.models.turns import Turn
from tests.clients.sandbox import Run, Sandbox
from tests.conftest import GATEWAY_KEY
from tests.gateway_process import GatewayProcess
from tests.upstream import Upstream

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

    def __call__(self, prompt: str, model: str, *arguments: str, **variables: str) -> Run:
        options = ("--yolo", "--output-format", "json", *arguments)
        return self._sandbox.run("qwen", "-p", prompt, *options, OPENAI_MODEL=model, **{**self._variables, **variables})


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


@only_in_a_run_of_everything
@pytest.mark.shows("Qwen Code", "prompt")
@by_both_doors("format", FORMATS)
def test_its_prompt_arrives(qwen: QwenCode, start_model: StartModel, format: str) -> None:
    model = start_model(format, lambda seen: Turn(text="Hello."))
    *_, answer = qwen("What is all this?", TARGETS[format]).json()
    assert answer["result"] == "Hello."
    seen = model.seen[0]
    assert "What is all this?" in "".join(seen.prompts)
    assert "Qwen Code" in seen.instructions
    assert {"write_file", "read_file", "run_shell_command"} <= set(seen.tools)
    assert seen.streams


@only_in_a_run_of_everything
@pytest.mark.shows("Qwen Code", "broken")
@by_both_doors("format", FORMATS)
def test_a_stream_that_breaks(qwen: QwenCode, start_model: StartModel, format: str) -> None:
    """What came so far is not taken for the answer: it asks again. But it prints what it had besides."""
    model = start_breaking(start_model, format, is_once=True)
    *_, answer = qwen("Hello", TARGETS[format]).json()
    assert answer["result"].endswith(SAID)
    assert len(model.seen) >= 2


@only_in_a_run_of_everything
@pytest.mark.shows("Qwen Code", "wrong_key")
@by_both_doors("format", FORMATS[:1])
def test_a_wrong_key(qwen: QwenCode, upstream: Upstream, format: str) -> None:
    run = qwen("Hello", TARGETS[format], OPENAI_API_KEY="gw_wrong")
    assert "gateway key" in run.output + run.errors, run
    assert upstream.requests == []
