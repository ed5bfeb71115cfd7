"""aider, which stands on LiteLLM, by OpenAI's and Anthropic's APIs. It has no tools: files are changed by what it reads
in the answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.catalogue import Format
from tests.clients.conftest import TARGETS, StartModel, by_both_doors
from tests.clients.matrix import only_in_a_run_of_everything
from tests.clients.models.turns import Turn
from tests.clients.packages import python_environment
from tests.clients.sandbox import Run, Sandbox
from tests.conftest import GATEWAY_KEY
from tests.gateway_process import GatewayProcess
from tests.upstream import Upstream

pytestmark = only_in_a_run_of_everything

PAIRS: list[tuple[Format, Format]] = [
    ("openai_chat", "openai_chat"),
    ("openai_chat", "anthropic_messages"),
    ("openai_chat", "gemini"),
    ("anthropic_messages", "openai_responses"),
]
CONTENT = 'A "pear", ünd\n  two figs\n'
EDIT = f"Here it is.\n\nfruit.txt\n```\n{CONTENT}```\n"


class Aider:
    """aider in a sandbox, with the gateway as its base URL."""

    def __init__(self, sandbox: Sandbox, gateway: GatewayProcess) -> None:
        self._sandbox = sandbox
        self._url = gateway.url
        self.work = sandbox.work
        # It fetches a list of what models can do.
        sandbox.looks_around = True

    def __call__(self, prompt: str, spoken: Format, model: str, *arguments: str, key: str = GATEWAY_KEY) -> Run:
        if spoken == "anthropic_messages":
            name, variables = f"anthropic/{model}", {"ANTHROPIC_API_BASE": self._url, "ANTHROPIC_API_KEY": key}
        else:
            name, variables = f"openai/{model}", {"OPENAI_API_BASE": f"{self._url}/v1", "OPENAI_API_KEY": key}
        options = (
            *("--model", name, "--weak-model", name, "--edit-format", "whole", "--yes-always", "--no-git"),
            *("--no-check-update", "--no-show-model-warnings", "--analytics-disable", "--no-pretty"),
            *("--no-show-release-notes", "--no-suggest-shell-commands", "--no-detect-urls"),
        )
        local = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        return self._sandbox.run("aider", *options, *arguments, "--message", prompt, **variables, **local)


@pytest.fixture(scope="session")
def programs(cache: Callable[[str], Path]) -> Path:
    return python_environment(cache("environments") / "aider", "aider")


@pytest.fixture
def aider(sandbox: Sandbox, gateway: GatewayProcess) -> Aider:
    return Aider(sandbox, gateway)


@pytest.mark.shows("aider", "session")
@pytest.mark.shows("aider", "prompt")
@by_both_doors("spoken,format", PAIRS)
def test_a_file_that_it_changes(aider: Aider, start_model: StartModel, spoken: Format, format: Format) -> None:
    model = start_model(format, lambda seen: Turn(text=EDIT))
    (aider.work / "fruit.txt").write_text("Nothing yet\n")
    run = aider("Write about fruit.", spoken, TARGETS[format], "fruit.txt")
    assert run.code == 0, run
    assert (aider.work / "fruit.txt").read_text() == CONTENT
    seen = model.seen[0]
    assert "Write about fruit." in "".join(seen.prompts)
    assert "Nothing yet" in "".join(seen.prompts)
    assert seen.streams


@pytest.mark.shows("aider", "broken")
@by_both_doors("spoken,format", PAIRS[1:])
def test_a_stream_that_breaks(aider: Aider, start_model: StartModel, spoken: Format, format: Format) -> None:
    """What came so far is not taken for the whole file: aider asks again."""
    model = start_model(format, lambda seen: Turn(text=EDIT))
    model.breaks_after, model.breaks_once = 5, True
    (aider.work / "fruit.txt").write_text("Nothing yet\n")
    run = aider("Write about fruit.", spoken, TARGETS[format], "fruit.txt")
    assert (aider.work / "fruit.txt").read_text() == CONTENT, run
    assert len(model.seen) >= 2


@pytest.mark.shows("aider", "wrong_key")
@by_both_doors("spoken,format", PAIRS[1:])
def test_a_wrong_key(aider: Aider, upstream: Upstream, spoken: Format, format: Format) -> None:
    run = aider("Hello", spoken, TARGETS[format], key="gw_wrong")
    assert "AuthenticationError" in run.output + run.errors, run
    assert upstream.requests == []
