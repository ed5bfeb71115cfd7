"""Code that the playground gives to copy works: it is run against a gateway, and asks what the page asked."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from ai_gateway import prompts, registry, sample_code
from ai_gateway.prompts import FORMATS, Prompt, Turn
from tests.conftest import GATEWAY_KEY
from tests.gateway_process import GatewayProcess

pytestmark = pytest.mark.parametrize("door", ["direct"], indirect=True)

ODD = 'It\'s "quoted", $HOME, `ls`,\nJSON\n\\n 日本'
TOOLS = '[{"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}]'
EXTRA = {
    "openai_chat": '{"metadata": {"a": "b"}}',
    "openai_responses": '{"metadata": {"a": "b"}}',
    "anthropic_messages": '{"metadata": {"user_id": "b"}}',
    "gemini": '{"cachedContent": ""}',
}


def code(gateway: GatewayProcess, name: str, format: Any, **fields: Any) -> str:
    turns = [Turn(role="user", text="Hello"), Turn(role="assistant", text="Yes?"), Turn(role="user", text=ODD)]
    prompt = Prompt(
        model="echo/echo-1",
        format=format,
        messages=turns,
        system="Be brief.",
        **fields,
    )
    written = prompts.write(prompt, registry.snapshot())
    return next(each.text for each in sample_code.for_request(gateway.url, written) if each.name == name)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("format", FORMATS)
def test_python__says_what_the_model_said(
    gateway: GatewayProcess,
    format: str,
    stream: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GATEWAY_KEY", GATEWAY_KEY)
    text = code(
        gateway, "python", format, stream=stream, max_tokens=500, temperature=0.5, tools="", extra=EXTRA[format]
    )
    exec(compile(text, "sample", "exec"), {})
    assert capsys.readouterr().out.strip() == ODD
    assert GATEWAY_KEY not in text


@pytest.mark.parametrize("format", FORMATS)
def test_curl__gets_the_answer_of_the_format(gateway: GatewayProcess, format: str) -> None:
    text = code(gateway, "curl", format, stream=False, tools=TOOLS)
    environment = {**os.environ, "GATEWAY_KEY": GATEWAY_KEY}
    done = subprocess.run(["sh", "-c", text], env=environment, capture_output=True, text=True, check=True)
    assert json.dumps(ODD, ensure_ascii=False)[1:-1] in done.stdout
    assert GATEWAY_KEY not in text


def test_curl__streams(gateway: GatewayProcess) -> None:
    text = code(gateway, "curl", "gemini", stream=True)
    environment = {**os.environ, "GATEWAY_KEY": GATEWAY_KEY}
    done = subprocess.run(["sh", "-c", text], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("data: {")


def test_javascript__has_the_request_in_it(gateway: GatewayProcess) -> None:
    text = code(gateway, "javascript", "openai_chat", stream=True)
    assert f'fetch("{gateway.url}/v1/chat/completions"' in text
    assert "`Bearer ${process.env.GATEWAY_KEY}`" in text
    assert json.dumps(ODD, ensure_ascii=False) in text
