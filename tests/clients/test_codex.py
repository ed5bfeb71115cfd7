"""Codex, which speaks OpenAI's Responses, on models of other formats."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.conftest import SAID, StartModel, by_both_doors, start_breaking
from tests.clients.errand import ANNOUNCEMENT, DOT, FOLLOW_UP, PROMPT, SIZE, Errand, check
from tests.clients.models.turns import Turn
from tests.clients.sandbox import Run, Sandbox
from tests.conftest import GATEWAY_KEY
from tests.gateway_process import GatewayProcess
from tests.upstream import Upstream, json_answer

MODELS = {"anthropic_messages": "gpt-5.5", "openai_chat": "gpt-5", "gemini": "gpt-4.1"}
"""What Codex asks for, to reach a model of this format. To the first it offers a tool of free text for patches."""

CODE_MODELS = {"anthropic_messages": "gpt-5.6-sol", "openai_chat": "gpt-5.6-terra", "gemini": "gpt-6-sol"}
"""What it lets write programs that call its tools: the one tool for that takes free text that follows a grammar."""

SCHEMA_MEMBERS = ("response_format", "output_config", "generationConfig")
"""Where the formats have a schema that the answer must follow."""

CONFIG = """
model_provider = "gateway"
check_for_update_on_startup = false

[model_providers.gateway]
name = "Gateway"
base_url = "{url}/v1"
env_key = "GATEWAY_KEY"
wire_api = "responses"
{more}
[analytics]
enabled = false

# What these find on the network is no concern of a gateway.
[features]
apps = false
plugins = false
"""


class Codex:
    """Codex in a sandbox, with the gateway as its model provider."""

    def __init__(self, sandbox: Sandbox, gateway: GatewayProcess) -> None:
        self._sandbox = sandbox
        self._url = gateway.url
        self.work = sandbox.work

    def __call__(self, *arguments: str, model: str, more: str = "", key: str = GATEWAY_KEY) -> Run:
        self._sandbox.settings(".codex/config.toml", CONFIG.format(url=self._url, more=more))
        options = ("--skip-git-repo-check", "--json", "--dangerously-bypass-approvals-and-sandbox", "--model", model)
        return self._sandbox.run("codex", "exec", *options, *arguments, GATEWAY_KEY=key)


@pytest.fixture
def codex(sandbox: Sandbox, gateway: GatewayProcess) -> Codex:
    return Codex(sandbox, gateway)


def items(run: Run, kind: str) -> list[Any]:
    """What Codex told of its turn."""
    events = [event for event in run.json_lines() if event["type"] == "item.completed"]
    return [event["item"] for event in events if event["item"]["type"] == kind]


@pytest.mark.shows("Codex", "session")
@by_both_doors("format,asked", [*MODELS.items(), *CODE_MODELS.items(), ("openai_responses", "openai/gpt-5.5")])
def test_a_session_with_tools(codex: Codex, start_model: StartModel, format: str, asked: str) -> None:
    model = start_model(format, Errand(codex.work))
    run = codex(PROMPT, model=asked)
    assert run.code == 0, run
    check(model, codex.work)
    announcement, answer = items(run, "agent_message")
    assert announcement["text"] == ANNOUNCEMENT
    assert SIZE in answer["text"]
    assert "two figs" in answer["text"]
    (usage,) = [event["usage"] for event in run.json_lines() if event["type"] == "turn.completed"]
    assert usage["input_tokens"] == 3000
    assert usage["output_tokens"] == 150

    run = codex("resume", "--last", FOLLOW_UP, model=asked)
    assert [item["text"] for item in items(run, "agent_message")] == ["It was a pear."]
    check(model, codex.work, is_over=True)


@pytest.mark.shows("Codex", "prompt")
@by_both_doors("format", MODELS)
def test_its_prompt_arrives(codex: Codex, start_model: StartModel, format: str) -> None:
    """What Codex says to every model is there: its instructions, the environment, and the prompt."""
    model = start_model(format, lambda seen: Turn(text="Hello."))
    (answer,) = items(codex("What is all this?", model=MODELS[format]), "agent_message")
    assert answer["text"] == "Hello."
    seen = model.last
    assert "What is all this?" in "".join(seen.prompts)
    assert str(codex.work) in seen.instructions + "".join(seen.prompts)
    assert "Codex" in seen.instructions
    assert "cmd" in seen.tools["exec_command"]["required"]
    assert seen.streams


@pytest.mark.shows("Codex", "structured")
@by_both_doors("format", MODELS)
def test_an_answer_that_follows_a_schema(codex: Codex, start_model: StartModel, format: str) -> None:
    schema = {
        "type": "object",
        "properties": {"fruit": {"type": "string"}},
        "required": ["fruit"],
        "additionalProperties": False,
    }
    (codex.work / "schema.json").write_text(json.dumps(schema))
    model = start_model(format, lambda seen: Turn(text='{"fruit": "pear"}'))
    run = codex("Which fruit?", "--output-schema", "schema.json", model=MODELS[format])
    (answer,) = items(run, "agent_message")
    assert json.loads(answer["text"]) == {"fruit": "pear"}
    assert '"fruit"' in json.dumps({key: value for key, value in model.last.body.items() if key in SCHEMA_MEMBERS})


@pytest.mark.shows("Codex", "image")
@by_both_doors("format", MODELS)
def test_an_image(codex: Codex, start_model: StartModel, format: str) -> None:
    (codex.work / "dot.png").write_bytes(DOT)
    model = start_model(format, lambda seen: Turn(text="A dot."))
    (answer,) = items(codex("--image", "dot.png", "--", "What is it?", model=MODELS[format]), "agent_message")
    assert answer["text"] == "A dot."
    assert "image/png" in json.dumps(model.last.body)


@pytest.mark.shows("Codex", "broken")
@by_both_doors("format", MODELS)
def test_a_stream_that_breaks(codex: Codex, start_model: StartModel, format: str) -> None:
    """What came so far is not taken for the answer: Codex asks again."""
    model = start_breaking(start_model, format, is_once=True)
    *_, answer = items(codex("Hello", model=MODELS[format]), "agent_message")
    assert answer["text"] == SAID
    assert len(model.seen) == 2


@pytest.mark.shows("Codex", "failure")
@by_both_doors("format", MODELS)
def test_a_provider_without_capacity(codex: Codex, upstream: Upstream, format: str) -> None:
    error = {"message": "The fruit is sold out.", "type": "overloaded_error", "code": 503, "status": "UNAVAILABLE"}
    upstream.answer(json_answer({"type": "error", "error": error}, 503))
    run = codex("Hello", model=MODELS[format], more="request_max_retries = 1\nstream_max_retries = 1\n")
    assert run.code == 1
    assert '"turn.failed"' in run.output


@by_both_doors("format", ["anthropic_messages"])
def test_a_model_that_the_provider_does_not_know(codex: Codex, upstream: Upstream, format: str) -> None:
    """Codex asks no second time, and shows the message."""
    error = {"type": "not_found_error", "message": "model: claude-sonnet-4-5"}
    upstream.answer(json_answer({"type": "error", "error": error}, 404))
    run = codex("Hello", model=MODELS[format])
    assert run.code == 1
    assert "claude-sonnet-4-5" in run.output
    assert len(upstream.requests) == 1


@pytest.mark.shows("Codex", "wrong_key")
@by_both_doors("format", ["openai_chat"])
def test_a_wrong_key(codex: Codex, upstream: Upstream, format: str) -> None:
    run = codex(
        "Hello",
        model=MODELS[format],
        more="request_max_retries = 0\nstream_max_retries = 0\n",
        key="gw_wrong",
    )
    assert run.code == 1
    assert "401" in run.output
    assert upstream.requests == []
