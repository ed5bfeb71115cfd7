"""Callers of every dialect: the official SDKs, pointed at a gateway.

Each caller asks the same question, as a whole and as a stream read with the SDK's own helper, and reduces the SDK's
final object to facts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import ExitStack, closing
from typing import Any

import anthropic
import httpx
import openai
from botocore.config import Config
from google import genai
from google.genai import types as genai_types
from openai.types.responses import Response

from tests.conftest import GATEWAY_KEY
from tests.protocols.bedrock_converse.botocore_client import session
from tests.translation import reductions
from tests.translation.facts import Facts, arguments_of

QUESTION = "What is the answer?"
Json = dict[str, Any]


class Caller(ABC):
    """Somebody who speaks one dialect."""

    dialect: str

    def ask(self, model: str, *, stream: bool) -> Facts:
        """Ask the question, and say what the answer says."""
        return self.ask_for_stream(model) if stream else self.ask_for_whole(model)

    @abstractmethod
    def ask_for_whole(self, model: str) -> Facts:
        """Ask for a whole answer."""

    @abstractmethod
    def ask_for_stream(self, model: str) -> Facts:
        """Ask for a stream, and read it to its end."""


class ChatCaller(Caller):
    """OpenAI's SDK, chat completions."""

    dialect = "openai_chat"

    def __init__(self, client: openai.OpenAI) -> None:
        self.client = client

    def ask_for_whole(self, model: str) -> Facts:
        return reductions.of_chat(
            self.client.chat.completions.create(model=model, messages=[{"role": "user", "content": QUESTION}])
        )

    def ask_for_stream(self, model: str) -> Facts:
        with self.client.chat.completions.stream(
            model=model, messages=[{"role": "user", "content": QUESTION}], stream_options={"include_usage": True}
        ) as stream:
            for _ in stream:
                pass
            # `get_final_completion` would raise for an answer that a limit has cut off.
            return reductions.of_chat(reductions.completion(stream.current_completion_snapshot))


class ResponsesCaller(Caller):
    """OpenAI's SDK, Responses."""

    dialect = "openai_responses"

    def __init__(self, client: openai.OpenAI) -> None:
        self.client = client

    def ask_for_whole(self, model: str) -> Facts:
        return reductions.of_responses(self.client.responses.create(model=model, input=QUESTION))

    def ask_for_stream(self, model: str) -> Facts:
        final: Response | None = None
        with self.client.responses.stream(model=model, input=QUESTION) as stream:
            for event in stream:
                # The SDK's `get_final_response` knows only the first of these.
                if event.type == "response.completed" or event.type == "response.incomplete":
                    final = event.response
        assert final is not None, "the stream has no end"
        return reductions.of_responses(final)


class MessagesCaller(Caller):
    """Anthropic's SDK."""

    dialect = "anthropic_messages"

    def __init__(self, client: anthropic.Anthropic) -> None:
        self.client = client

    def ask_for_whole(self, model: str) -> Facts:
        return reductions.of_messages(
            self.client.messages.create(model=model, max_tokens=64, messages=[{"role": "user", "content": QUESTION}])
        )

    def ask_for_stream(self, model: str) -> Facts:
        with self.client.messages.stream(
            model=model, max_tokens=64, messages=[{"role": "user", "content": QUESTION}]
        ) as stream:
            return reductions.of_messages(stream.get_final_message())


class GeminiCaller(Caller):
    """Google's SDK. It sees thoughts only if it asks for them."""

    dialect = "gemini"
    config = genai_types.GenerateContentConfig(thinking_config=genai_types.ThinkingConfig(include_thoughts=True))

    def __init__(self, client: genai.Client, responses: list[httpx.Response]) -> None:
        self.client = client
        self._responses = responses

    def ask_for_whole(self, model: str) -> Facts:
        answer = self.client.models.generate_content(model=model, contents=QUESTION, config=self.config)
        self._responses.clear()
        return reductions.of_gemini([answer])

    def ask_for_stream(self, model: str) -> Facts:
        try:
            return reductions.of_gemini(
                self.client.models.generate_content_stream(model=model, contents=QUESTION, config=self.config)
            )
        finally:
            # The SDK leaves a stream open that it has raised an error for.
            while self._responses:
                self._responses.pop().close()


class ConverseCaller(Caller):
    """AWS's SDK."""

    dialect = "bedrock_converse"

    def __init__(self, client: Any) -> None:
        self.client = client

    def ask_for_whole(self, model: str) -> Facts:
        return reductions.of_converse(
            self.client.converse(modelId=model, messages=[{"role": "user", "content": [{"text": QUESTION}]}])
        )

    def ask_for_stream(self, model: str) -> Facts:
        answer = self.client.converse_stream(
            modelId=model, messages=[{"role": "user", "content": [{"text": QUESTION}]}]
        )
        with closing(answer["stream"]) as stream:
            return reductions.of_converse(put_together(stream))


def put_together(events: Iterable[Json]) -> Json:
    """Put together the events of Converse, as its users do: AWS's SDK does not."""
    blocks: dict[int, Json] = {}
    answer: Json = {}
    for event in events:
        if "contentBlockStart" in event:
            start = event["contentBlockStart"]
            blocks[start["contentBlockIndex"]] = {"toolUse": {**start["start"]["toolUse"], "input": ""}}
        elif "contentBlockDelta" in event:
            delta = event["contentBlockDelta"]["delta"]
            block = blocks.setdefault(event["contentBlockDelta"]["contentBlockIndex"], {})
            if "text" in delta:
                block["text"] = block.get("text", "") + delta["text"]
            if "toolUse" in delta:
                block["toolUse"]["input"] += delta["toolUse"]["input"]
            if "reasoningContent" in delta:
                text = block.setdefault("reasoningContent", {}).setdefault("reasoningText", {"text": ""})
                text["text"] += delta["reasoningContent"].get("text", "")
        elif "messageStop" in event or "metadata" in event:
            answer |= event.get("messageStop", {}) | event.get("metadata", {})
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = arguments_of(block["toolUse"]["input"])
    return {**answer, "output": {"message": {"content": [blocks[index] for index in sorted(blocks)]}}}


def callers(url: str, resources: ExitStack) -> dict[str, Caller]:
    """Make a caller of each dialect. None of them repeats a failed call."""
    openai_client = resources.enter_context(openai.OpenAI(base_url=f"{url}/v1", api_key=GATEWAY_KEY, max_retries=0))
    anthropic_client = resources.enter_context(anthropic.Anthropic(base_url=url, api_key=GATEWAY_KEY, max_retries=0))
    responses: list[httpx.Response] = []
    http = resources.enter_context(httpx.Client(event_hooks={"response": [responses.append]}))
    options = genai_types.HttpOptions(base_url=url, httpx_client=http)
    aws = session().create_client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=f"{url}/v1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}),
    )
    aws.meta.events.register("before-send", _with_gateway_key)
    resources.callback(aws.close)
    made: list[Caller] = [
        ChatCaller(openai_client),
        ResponsesCaller(openai_client),
        MessagesCaller(anthropic_client),
        GeminiCaller(genai.Client(api_key=GATEWAY_KEY, http_options=options), responses),
        ConverseCaller(aws),
    ]
    return {caller.dialect: caller for caller in made}


def _with_gateway_key(request: Any, **_: Any) -> None:
    """A gateway key stands where AWS's API keys do, in place of the signature."""
    request.headers["Authorization"] = f"Bearer {GATEWAY_KEY}"
