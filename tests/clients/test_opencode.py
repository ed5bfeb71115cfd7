"""opencode, by each of the Vercel AI SDK's providers that people give it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients.catalogue import Format
from tests.clients.conftest import TARGETS, StartModel, by_both_doors, start_breaking
from tests.clients.errand import DOT, FOLLOW_UP, PROMPT, SIZE, Errand, check
from tests.clients.matrix import only_in_a_run_of_everything
from tests.clients.models.turns import Turn
from tests.clients.packages import npm_environment
from tests.clients.sandbox import Run, Sandbox
from tests.conftest import GATEWAY_KEY
from tests.gateway_process import GatewayProcess
from tests.upstream import Upstream

pytestmark = only_in_a_run_of_everything

PROVIDERS: dict[Format, str] = {
    "openai_chat": "@ai-sdk/openai-compatible",
    "openai_responses": "@ai-sdk/openai",
    "anthropic_messages": "@ai-sdk/anthropic",
}
"""The package that opencode speaks a format by."""

MODALITIES = {"input": ["text", "image"], "output": ["text"]}


class OpenCode:
    """opencode in a sandbox, with the gateway as a provider of its configuration."""

    def __init__(self, sandbox: Sandbox, gateway: GatewayProcess) -> None:
        self._sandbox = sandbox
        self._url = gateway.url
        self.work = sandbox.work
        # It looks for packages of plugins.
        sandbox.looks_around = True

    def __call__(self, prompt: str, format: Format, model: str, *arguments: str, key: str = GATEWAY_KEY) -> Run:
        limit = {"context": 200_000, "output": 8_000}
        provider = {
            "npm": PROVIDERS[format],
            "name": "Gateway",
            "options": {"baseURL": f"{self._url}/v1", "apiKey": "{env:GATEWAY_KEY}"},
            "models": {model: {"name": model, "limit": limit, "attachment": True, "modalities": MODALITIES}},
        }
        config = {"autoupdate": False, "share": "disabled", "provider": {"gateway": provider}}
        self._sandbox.settings(".config/opencode/opencode.json", json.dumps(config))
        options = ("--format", "json", "--model", f"gateway/{model}", "--title", "Fruit", "--auto", *arguments)
        variables = {"GATEWAY_KEY": key, "OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_LSP_DOWNLOAD": "1"}
        return self._sandbox.run("opencode", "run", *options, "--", prompt, **variables)


@pytest.fixture(scope="session")
def programs(cache: Callable[[str], Path]) -> Path:
    return npm_environment(cache("environments") / "agents", "agents")


@pytest.fixture
def opencode(sandbox: Sandbox, gateway: GatewayProcess) -> OpenCode:
    return OpenCode(sandbox, gateway)


def text_of(run: Run) -> str:
    events: list[Any] = run.json_lines()
    return "".join(event["part"]["text"] for event in events if event["type"] == "text")


PAIRS: list[tuple[Format, Format]] = [
    ("openai_chat", "openai_chat"),
    ("openai_chat", "anthropic_messages"),
    ("openai_responses", "gemini"),
    ("anthropic_messages", "openai_responses"),
]


@pytest.mark.shows("opencode", "session")
@by_both_doors("spoken,format", PAIRS)
def test_a_session_with_tools(opencode: OpenCode, start_model: StartModel, spoken: Format, format: Format) -> None:
    model = start_model(format, Errand(opencode.work))
    text = text_of(opencode(PROMPT, spoken, TARGETS[format]))
    check(model, opencode.work, carries=spoken != "openai_chat")
    assert SIZE in text
    assert "two figs" in text

    assert text_of(opencode(FOLLOW_UP, spoken, TARGETS[format], "--continue")) == "It was a pear."
    check(model, opencode.work, carries=spoken != "openai_chat", is_over=True)


@pytest.mark.shows("opencode", "prompt")
@by_both_doors("spoken,format", PAIRS[1:])
def test_its_prompt_arrives(opencode: OpenCode, start_model: StartModel, spoken: Format, format: Format) -> None:
    model = start_model(format, lambda seen: Turn(text="Hello."))
    assert text_of(opencode("What is all this?", spoken, TARGETS[format])) == "Hello."
    seen = model.last
    assert "What is all this?" in "".join(seen.prompts)
    assert str(opencode.work) in seen.instructions + "".join(seen.prompts)
    assert {"bash", "read"} <= set(seen.tools)
    assert seen.streams


@pytest.mark.shows("opencode", "image")
@by_both_doors("spoken,format", PAIRS[1:])
def test_an_image(opencode: OpenCode, start_model: StartModel, spoken: Format, format: Format) -> None:
    (opencode.work / "dot.png").write_bytes(DOT)
    model = start_model(format, lambda seen: Turn(text="A dot."))
    assert text_of(opencode("What is it?", spoken, TARGETS[format], "--file", "dot.png")) == "A dot."
    assert base64.b64encode(DOT).decode() in json.dumps(model.last.body)


@pytest.mark.shows("opencode", "broken")
@by_both_doors("spoken,format", PAIRS[1:])
def test_a_stream_that_breaks(opencode: OpenCode, start_model: StartModel, spoken: Format, format: Format) -> None:
    """What came so far is not taken for the answer."""
    start_breaking(start_model, format, is_once=False)
    run = opencode("Hello", spoken, TARGETS[format])
    assert "error" in {event["type"] for event in map(json.loads, run.output.splitlines())}, run


@pytest.mark.shows("opencode", "wrong_key")
@by_both_doors("spoken,format", PAIRS[1:])
def test_a_wrong_key(opencode: OpenCode, upstream: Upstream, spoken: Format, format: Format) -> None:
    run = opencode("Hello", spoken, TARGETS[format], key="gw_wrong")
    assert "gateway key" in run.output, run
    assert upstream.requests == []
