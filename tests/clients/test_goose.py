"""goose, by its provider for OpenAI's API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.catalogue import Format
from tests.clients.conftest import TARGETS, StartModel, by_both_doors, start_breaking
from tests.clients.errand import PROMPT, SIZE, Errand, check
from tests.clients.matrix import only_in_a_run_of_everything
from tests.clients.models.turns import Turn
from tests.clients.packages import npm_environment
from tests.clients.sandbox import Run, Sandbox
from tests.conftest import GATEWAY_KEY
from tests.gateway_process import GatewayProcess
from tests.upstream import Upstream, json_answer

pytestmark = only_in_a_run_of_everything

FORMATS: list[Format] = ["openai_chat", "anthropic_messages", "gemini"]


class Goose:
    """goose in a sandbox, with the gateway as its host."""

    def __init__(self, sandbox: Sandbox, gateway: GatewayProcess) -> None:
        self._sandbox = sandbox
        self._url = gateway.url
        self.work = sandbox.work

    def __call__(self, prompt: str, model: str, key: str = GATEWAY_KEY) -> Run:
        variables = {
            "GOOSE_PROVIDER": "openai",
            "GOOSE_MODEL": model,
            "GOOSE_MODE": "auto",
            "GOOSE_DISABLE_KEYRING": "1",
            "GOOSE_TELEMETRY_ENABLED": "false",
            "OPENAI_HOST": self._url,
            "OPENAI_API_KEY": key,
        }
        options = ("--no-session", "--quiet", "--no-profile", "--with-builtin", "developer")
        return self._sandbox.run("goose", "run", *options, "--text", prompt, **variables)


@pytest.fixture(scope="session")
def programs(cache: Callable[[str], Path]) -> Path:
    return npm_environment(cache("environments") / "agents", "agents")


@pytest.fixture
def goose(sandbox: Sandbox, gateway: GatewayProcess) -> Goose:
    return Goose(sandbox, gateway)


@pytest.mark.shows("goose", "session")
@by_both_doors("format", FORMATS)
def test_a_session_with_tools(goose: Goose, start_model: StartModel, format: Format) -> None:
    model = start_model(format, Errand(goose.work))
    run = goose(PROMPT, TARGETS[format])
    assert run.code == 0, run
    check(model, goose.work, carries=False)
    assert SIZE in run.output
    assert "two figs" in run.output


@pytest.mark.shows("goose", "prompt")
@by_both_doors("format", FORMATS[1:])
def test_its_prompt_arrives(goose: Goose, start_model: StartModel, format: Format) -> None:
    model = start_model(format, lambda seen: Turn(text="Hello."))
    assert "Hello." in goose("What is all this?", TARGETS[format]).output
    seen = model.last
    assert "What is all this?" in "".join(seen.prompts)
    assert "goose" in seen.instructions
    assert {"shell", "write", "edit"} <= set(seen.tools)
    assert seen.streams


@pytest.mark.shows("goose", "broken")
@by_both_doors("format", FORMATS[1:])
def test_a_stream_that_breaks(goose: Goose, start_model: StartModel, format: Format) -> None:
    start_breaking(start_model, format, is_once=False)
    run = goose("Hello", TARGETS[format])
    assert "nothing else." not in run.output
    assert "error" in (run.output + run.errors).lower()


@pytest.mark.shows("goose", "wrong_key")
@by_both_doors("format", FORMATS[1:])
def test_a_wrong_key(goose: Goose, upstream: Upstream, format: Format) -> None:
    run = goose("Hello", TARGETS[format], key="gw_wrong")
    assert "gateway key" in run.output + run.errors
    assert upstream.requests == []


@pytest.mark.shows("goose", "failure")
@by_both_doors("format", FORMATS[1:])
def test_a_provider_without_capacity(goose: Goose, upstream: Upstream, format: Format) -> None:
    error = {"message": "The fruit is sold out.", "type": "overloaded_error", "code": 503, "status": "UNAVAILABLE"}
    upstream.answer(json_answer({"type": "error", "error": error}, 503))
    run = goose("Hello", TARGETS[format])
    assert "The fruit is sold out." in run.output + run.errors
