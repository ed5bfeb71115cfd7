"""Claude Code, which speaks Anthropic's Messages, on models of other formats."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.conftest import SAID, StartModel, by_both_doors, start_breaking
from tests.clients.errand import DOT, FOLLOW_UP, PROMPT, SIZE, Errand, check
from tests.clients.models.turns import Call, Seen, Turn
from tests.clients.sandbox import Run, Sandbox
from tests.conftest import GATEWAY_KEY
from tests.gateway_process import GatewayProcess
from tests.upstream import Upstream, json_answer

MODELS = {"openai_chat": "claude-sonnet-4-5", "openai_responses": "claude-sonnet-5-5", "gemini": "claude-opus-4-5"}
"""What Claude Code asks for, to reach a model of this format. To the first it thinks with a budget of tokens, to the
second adaptively and with instructions in the middle of the conversation."""


class Claude:
    """Claude Code in a sandbox, with the gateway as its base URL."""

    def __init__(self, sandbox: Sandbox, gateway: GatewayProcess) -> None:
        self._sandbox = sandbox
        self._variables = {
            "ANTHROPIC_BASE_URL": gateway.url,
            "ANTHROPIC_AUTH_TOKEN": GATEWAY_KEY,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            # It may run commands without asking, even where the tests run as root.
            "IS_SANDBOX": "1",
        }
        self.work = sandbox.work

    def __call__(self, prompt: str, model: str, *arguments: str, **variables: str) -> Run:
        options = ("--output-format", "json", "--model", model, "--dangerously-skip-permissions")
        return self._sandbox.run("claude", "-p", prompt, *options, *arguments, **{**self._variables, **variables})


@pytest.fixture
def claude(sandbox: Sandbox, gateway: GatewayProcess) -> Claude:
    return Claude(sandbox, gateway)


def result(run: Run) -> Any:
    answer = run.json()
    assert not answer["is_error"], answer
    return answer


@pytest.mark.shows("Claude Code", "session")
@by_both_doors("format,asked", [*MODELS.items(), ("anthropic_messages", "claude-haiku-4-5")])
def test_a_session_with_tools(claude: Claude, start_model: StartModel, format: str, asked: str) -> None:
    model = start_model(format, Errand(claude.work))
    answer = result(claude(PROMPT, asked))
    check(model, claude.work)
    assert SIZE in answer["result"]
    assert "two figs" in answer["result"]
    assert answer["usage"]["input_tokens"] == 3000
    assert answer["usage"]["output_tokens"] == 150

    answer = result(claude(FOLLOW_UP, asked, "--continue"))
    assert answer["result"] == "It was a pear."
    check(model, claude.work, is_over=True)


@pytest.mark.shows("Claude Code", "prompt")
@by_both_doors("format", MODELS)
def test_its_prompt_arrives(claude: Claude, start_model: StartModel, format: str) -> None:
    """What Claude Code says to every model is there: its instructions, the environment, and the prompt."""
    model = start_model(format, lambda seen: Turn(text="Hello."))
    assert result(claude("What is all this?", MODELS[format]))["result"] == "Hello."
    seen = model.last
    assert "What is all this?" in "".join(seen.prompts)
    assert str(claude.work) in seen.instructions + "".join(seen.prompts)
    assert {"Bash", "Read", "Write", "Edit"} <= set(seen.tools)
    assert seen.tools["Write"]["required"] == ["file_path", "content"]
    assert seen.streams


@pytest.mark.shows("Claude Code", "failure")
@by_both_doors("format", MODELS)
def test_a_provider_without_capacity(claude: Claude, upstream: Upstream, format: str) -> None:
    """Its retries end, and the user is told what the provider said."""
    error = {"message": "The fruit is sold out.", "type": "server_error", "code": 503, "status": "UNAVAILABLE"}
    upstream.answer(json_answer({"error": error}, 503))
    run = claude("Hello", MODELS[format], CLAUDE_CODE_MAX_RETRIES="1")
    assert run.code == 1
    assert "The fruit is sold out." in run.output


@pytest.mark.shows("Claude Code", "broken")
@by_both_doors("format", MODELS)
def test_a_stream_that_breaks(claude: Claude, start_model: StartModel, format: str) -> None:
    """What came so far is not taken for the answer: Claude Code asks again."""
    model = start_breaking(start_model, format, is_once=True)
    assert result(claude("Hello", MODELS[format]))["result"] == SAID
    assert len(model.seen) == 2


@pytest.mark.shows("Claude Code", "wrong_key")
@by_both_doors("format", ["openai_chat"])
def test_a_wrong_key(claude: Claude, upstream: Upstream, format: str) -> None:
    run = claude("Hello", MODELS[format], ANTHROPIC_AUTH_TOKEN="gw_wrong")
    assert run.code == 1
    assert "401" in run.output
    assert upstream.requests == []


@by_both_doors("format", MODELS)
def test_it_counts_its_context(claude: Claude, start_model: StartModel, format: str) -> None:
    """`/context` asks for the tokens of each part of it. The provider counts, or the gateway estimates."""
    model = start_model(format, lambda seen: Turn(text="Hello."))
    answer = result(claude("/context", MODELS[format]))
    assert "Context Usage" in answer["result"]
    assert bool(model.counted) == (format != "openai_chat")
    assert not model.seen


@pytest.mark.shows("Claude Code", "image")
@by_both_doors("format", MODELS)
def test_an_image_that_it_reads(claude: Claude, start_model: StartModel, format: str) -> None:
    """The image is part of a tool's result, which not every format has."""
    (claude.work / "dot.png").write_bytes(DOT)

    def brain(seen: Seen) -> Turn:
        if seen.results:
            return Turn(text="A dot.")
        return Turn(calls=(Call(name="Read", arguments={"file_path": str(claude.work / "dot.png")}),))

    model = start_model(format, brain)
    assert result(claude("What is in dot.png?", MODELS[format]))["result"] == "A dot."
    assert "image/png" in json.dumps(model.last.body)


@by_both_doors("format", MODELS)
def test_a_tool_that_it_looks_up(claude: Claude, start_model: StartModel, format: str) -> None:
    """Most tools are offered only when the model has asked for them, by references of Anthropic's own."""

    def brain(seen: Seen) -> Turn:
        if seen.results:
            return Turn(text=f"It said: {seen.results[0].text}")
        return Turn(calls=(Call(name="ToolSearch", arguments={"query": "select:WebFetch"}),))

    model = start_model(format, brain)
    assert "WebFetch" in result(claude("Read the news", MODELS[format]))["result"]
    first, last = model.seen
    assert set(last.tools) - set(first.tools) == {"WebFetch"}
    assert "url" in last.tools["WebFetch"]["required"]


@by_both_doors("format", ["openai_responses", "openai_chat"])
def test_a_command_that_fails(claude: Claude, start_model: StartModel, format: str) -> None:
    """The result of a tool that failed says so to the model."""

    def brain(seen: Seen) -> Turn:
        if seen.results:
            return Turn(text=f"It said: {seen.results[0].text}")
        return Turn(calls=(Call(name="Bash", arguments={"command": "echo rotten >&2; exit 3"}),))

    start_model(format, brain)
    assert "rotten" in result(claude("Try it", MODELS[format]))["result"]
