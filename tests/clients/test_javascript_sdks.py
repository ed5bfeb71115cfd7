"""The vendors' JavaScript SDKs, each on providers of other formats."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.conftest import TARGETS, StartModel, by_both_doors
from tests.clients.fruit import ANSWER, PROMPT, TOOL, answer, ask_first, check_question, check_tools
from tests.clients.sandbox import Sandbox
from tests.conftest import GATEWAY_KEY
from tests.gateway_process import GatewayProcess
from tests.upstream import Upstream, json_answer

STOPS = {"chat": "stop", "responses": "completed", "messages": "end_turn", "google": "STOP"}
PAIRS = [
    ("chat", "anthropic_messages"),
    ("chat", "gemini"),
    ("responses", "anthropic_messages"),
    ("responses", "openai_chat"),
    ("messages", "openai_responses"),
    ("messages", "gemini"),
    ("google", "openai_chat"),
    ("google", "anthropic_messages"),
]
"""An API of an SDK's, and the format of the provider behind the gateway."""

USAGE = [1000, 50]
TOO_MANY_OF_OPENAI = {
    "error": {"message": "Slower, please.", "type": "requests", "param": None, "code": "rate_limit_exceeded"}
}
TOO_MANY: dict[str, Any] = {
    "openai_chat": TOO_MANY_OF_OPENAI,
    "openai_responses": TOO_MANY_OF_OPENAI,
    "anthropic_messages": {"type": "error", "error": {"type": "rate_limit_error", "message": "Slower, please."}},
    "gemini": {"error": {"code": 429, "message": "Slower, please.", "status": "RESOURCE_EXHAUSTED"}},
}
"""What the providers answer to whoever asks too often."""

ON_A_PROVIDER = by_both_doors("api,format", PAIRS)


class JavaScript:
    """Runs scenarios of `sdks.mjs`."""

    def __init__(self, sandbox: Sandbox, gateway: GatewayProcess) -> None:
        self._sandbox = sandbox
        self._url = gateway.url

    def __call__(self, api: str, scenario: str, format: str, *, key: str = GATEWAY_KEY, **more: str) -> Any:
        job: dict[str, Any] = {"api": api, "scenario": scenario, "url": self._url, "key": key, "model": TARGETS[format]}
        job |= {"prompt": PROMPT, "tool": TOOL, **more}
        script = self._sandbox.scripts / "sdks.mjs"
        return self._sandbox.run("node", str(script), text=json.dumps(job)).json()


@pytest.fixture
def javascript(sandbox: Sandbox, gateway: GatewayProcess) -> JavaScript:
    return JavaScript(sandbox, gateway)


@ON_A_PROVIDER
@pytest.mark.parametrize("scenario", ["plain", "streamed"])
def test_an_answer(javascript: JavaScript, start_model: StartModel, api: str, format: str, scenario: str) -> None:
    model = start_model(format, answer)
    said = javascript(api, scenario, format)
    pieces = said.pop("pieces", None)
    assert said == {"text": ANSWER, "stop": STOPS[api], "usage": USAGE, "model": said.get("model")}
    assert said["model"] in TARGETS[format]
    if scenario == "streamed":
        assert len(pieces) > 1
        assert "".join(pieces) == ANSWER
    check_question(model)


@ON_A_PROVIDER
@pytest.mark.parametrize("scenario", ["tools", "streamed tools"])
def test_a_tool_loop(javascript: JavaScript, start_model: StartModel, api: str, format: str, scenario: str) -> None:
    model = start_model(format, ask_first)
    said = javascript(api, scenario, format)
    assert said == {"text": ANSWER, "stop": STOPS[api], "usage": USAGE, "model": said.get("model")}
    check_tools(model)


@by_both_doors("format", ["anthropic_messages", "gemini"])
def test_the_tool_loop_of_openais_sdk(javascript: JavaScript, start_model: StartModel, format: str) -> None:
    """It sends the state of the model's reasoning not back, and the models have to do without."""
    model = start_model(format, ask_first)
    assert javascript("chat", "runner", format)["text"] == ANSWER
    check_tools(model, carries=False)


@by_both_doors("format", ["openai_responses", "gemini"])
def test_the_tool_loop_of_anthropics_sdk(javascript: JavaScript, start_model: StartModel, format: str) -> None:
    """It wants the provider to keep the conversation, and goes on without if the error says that this cannot be."""
    model = start_model(format, ask_first)
    assert javascript("messages", "threads", format).get("text") == ANSWER
    check_tools(model)


@ON_A_PROVIDER
@pytest.mark.parametrize("scenario", ["plain", "streamed"])
def test_an_error_of_the_provider(
    javascript: JavaScript, upstream: Upstream, api: str, format: str, scenario: str
) -> None:
    """It has the class and the status that this API has for such a thing, and the provider's words."""
    upstream.answer(json_answer(TOO_MANY[format], 429))
    said = javascript(api, scenario, format)
    assert said["error"] == ("ApiError" if api == "google" else "RateLimitError")
    assert said["status"] == 429
    assert "Slower, please." in said["message"]
    assert said["type"] == ("rate_limit_error" if api == "messages" else said["type"])
    assert said["id"] or api == "google"


@by_both_doors("api,format", [("chat", "anthropic_messages"), ("messages", "openai_responses"), ("google", "gemini")])
def test_a_wrong_key(javascript: JavaScript, upstream: Upstream, api: str, format: str) -> None:
    said = javascript(api, "plain", format, key="gw_wrong")
    assert said["error"] == ("ApiError" if api == "google" else "AuthenticationError")
    assert said["status"] == 401
    assert upstream.requests == []


BREAKS = [
    ("chat", "anthropic_messages"),
    ("responses", "openai_chat"),
    ("messages", "gemini"),
    ("google", "openai_chat"),
]


@by_both_doors("api,format", BREAKS)
def test_a_stream_that_breaks(javascript: JavaScript, start_model: StartModel, api: str, format: str) -> None:
    """No SDK takes what came so far for the whole answer."""
    model = start_model(format, answer)
    model.breaks_after = 6
    assert "error" in javascript(api, "streamed", format)
