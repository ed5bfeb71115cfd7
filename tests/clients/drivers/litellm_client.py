"""LiteLLM's SDK, by the three APIs that it speaks."""

from __future__ import annotations

import json
import os
from typing import Any

os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True"}

import litellm
from driver import Job, price_of, serve
from fruit import Fruit


class Completion:
    prefix = ""
    path = ""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.asked: dict[str, Any] = {
            "model": f"{self.prefix}/{job.model}",
            "api_base": f"{job.url}{self.path}",
            "api_key": job.key,
            "messages": [{"role": "user", "content": job.prompt}],
            "num_retries": 2,
        }

    def ask(self, **more: Any) -> Any:
        return litellm.completion(**{**self.asked, **more})

    def of(self, said: Any) -> Any:
        usage = said.usage
        return {"text": said.choices[0].message.content, "usage": [usage.prompt_tokens, usage.completion_tokens]}

    def answer(self) -> Any:
        return self.of(self.ask())

    def stream(self) -> Any:
        chunks = list(self.ask(stream=True, stream_options={"include_usage": True}))
        pieces = [text for chunk in chunks for choice in chunk.choices if (text := choice.delta.content)]
        usage = chunks[-1].usage
        return {"text": "".join(pieces), "pieces": pieces, "usage": [usage.prompt_tokens, usage.completion_tokens]}

    def tools(self) -> Any:
        messages = [*self.asked["messages"]]
        while True:
            said = self.ask(messages=messages, tools=[{"type": "function", "function": self.job.tool}])
            message = said.choices[0].message
            if not message.tool_calls:
                return self.of(said)
            messages.append(message.model_dump(exclude_none=True))
            messages += (
                {"role": "tool", "tool_call_id": call.id, "content": price_of(**json.loads(call.function.arguments))}
                for call in message.tool_calls
            )

    def structured(self) -> Any:
        said = self.ask(response_format=Fruit)
        return {"parsed": json.loads(said.choices[0].message.content)}

    def image(self) -> Any:
        parts = [
            {"type": "text", "text": self.job.prompt},
            {"type": "image_url", "image_url": {"url": self.job.data_url}},
        ]
        return self.of(self.ask(messages=[{"role": "user", "content": parts}]))

    def embeddings(self) -> Any:
        said = litellm.embedding(
            model=self.asked["model"],
            api_base=self.asked["api_base"],
            api_key=self.job.key,
            input=self.job.texts,
        )
        return {"vectors": [entry["embedding"] for entry in said.data]}

    def cancel(self) -> Any:
        stream = self.ask(stream=True)
        text = next(text for chunk in stream for choice in chunk.choices if (text := choice.delta.content))
        stream.completion_stream.close()
        return {"text": text}


class OnChat(Completion):
    prefix = "openai"
    path = "/v1"


class OnMessages(Completion):
    prefix = "anthropic"


class OnGemini(Completion):
    prefix = "gemini"
    path = "/v1beta"


serve({"chat": OnChat, "messages": OnMessages, "gemini": OnGemini}, "litellm")
