"""Vercel's AI SDK, each of its providers on a model of another format."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.conftest import TARGETS, StartModel, by_both_doors
from tests.clients.fruit import ANSWER, PROMPT, TOOL, ask_first, check_tools
from tests.clients.sandbox import Sandbox
from tests.conftest import GATEWAY_KEY
from tests.gateway_process import GatewayProcess
from tests.upstream import Upstream, json_answer

PAIRS = [
    ("compatible", "gemini"),
    ("compatible", "anthropic_messages"),
    ("responses", "anthropic_messages"),
    ("responses", "openai_chat"),
    ("messages", "openai_responses"),
    ("messages", "gemini"),
    ("google", "anthropic_messages"),
    ("google", "openai_chat"),
]
"""One of its providers, and the format of the model behind the gateway."""

FORGETFUL = [("compatible", "anthropic_messages")]
"""Where the state of the model's reasoning is not sent back."""

ON_A_MODEL = by_both_doors("api,format", PAIRS)
STREAMED = pytest.mark.parametrize("is_streamed", [False, True], ids=["plain", "streamed"])


class Vercel:
    """Runs `vercel.mjs`."""

    def __init__(self, sandbox: Sandbox, gateway: GatewayProcess) -> None:
        self._sandbox = sandbox
        self._url = gateway.url

    def __call__(self, api: str, format: str, *, is_streamed: bool) -> Any:
        # Its provider for Google takes a name with a slash for the whole path.
        asked = f"models/{TARGETS[format]}" if api == "google" else TARGETS[format]
        job: dict[str, Any] = {"api": api, "model": asked, "url": self._url, "key": GATEWAY_KEY}
        job |= {"prompt": PROMPT, "tool": TOOL, "isStreamed": is_streamed}
        script = self._sandbox.scripts / "vercel.mjs"
        return self._sandbox.run("node", str(script), text=json.dumps(job)).json()


@pytest.fixture
def vercel(sandbox: Sandbox, gateway: GatewayProcess) -> Vercel:
    return Vercel(sandbox, gateway)


@ON_A_MODEL
@STREAMED
def test_a_tool_loop(vercel: Vercel, start_model: StartModel, api: str, format: str, is_streamed: bool) -> None:
    model = start_model(format, ask_first)
    said = vercel(api, format, is_streamed=is_streamed)
    assert said == {"text": ANSWER, "stop": "stop", "usage": [2000, 100]}
    check_tools(model, carries=(api, format) not in FORGETFUL)


@ON_A_MODEL
@STREAMED
def test_an_error_of_the_provider(vercel: Vercel, upstream: Upstream, api: str, format: str, is_streamed: bool) -> None:
    error = {"type": "rate_limit_error", "message": "Slower, please.", "code": 429, "status": "RESOURCE_EXHAUSTED"}
    upstream.answer(json_answer({"type": "error", "error": error}, 429))
    said = vercel(api, format, is_streamed=is_streamed)
    assert said["error"] == "AI_APICallError"
    assert said["status"] == 429
    assert said["isRetryable"]
    assert "Slower, please." in said["message"]
