"""Anthropic's Python SDK."""

from __future__ import annotations

from typing import Any

import anthropic
from driver import Job, price_of, serve
from fruit import Fruit


class Messages:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.client = anthropic.Anthropic(base_url=job.url, api_key=job.key)
        self.asked: Any = {
            "model": job.model,
            "max_tokens": 4096,
            "messages": [{"role": "user", "content": job.prompt}],
        }

    def of(self, said: Any) -> Any:
        text = "".join(block.text for block in said.content if block.type == "text")
        return {"text": text, "usage": [said.usage.input_tokens, said.usage.output_tokens]}

    def answer(self) -> Any:
        return self.of(self.client.messages.create(**self.asked))

    def stream(self) -> Any:
        with self.client.messages.stream(**self.asked) as stream:
            pieces = list(stream.text_stream)
            return {**self.of(stream.get_final_message()), "pieces": pieces}

    def tools(self) -> Any:
        """The SDK runs the tool by itself. It does not ask the provider to keep the conversation."""
        runner = self.client.beta.messages.tool_runner(
            **self.asked,
            thinking={"type": "enabled", "budget_tokens": 1024},
            tools=[anthropic.beta_tool(price_of)],
            thread=False,
        )
        *_, last = runner
        return self.of(last)

    def structured(self) -> Any:
        said = self.client.messages.parse(**self.asked, output_format=Fruit)
        return {"parsed": said.parsed_output.model_dump()}

    def image(self) -> Any:
        source = {"type": "base64", "media_type": "image/png", "data": self.job.image}
        parts = [{"type": "text", "text": self.job.prompt}, {"type": "image", "source": source}]
        return self.of(self.client.messages.create(**{**self.asked, "messages": [{"role": "user", "content": parts}]}))

    def cancel(self) -> Any:
        with self.client.messages.stream(**self.asked) as stream:
            return {"text": next(iter(stream.text_stream))}


serve({"messages": Messages}, "anthropic", "httpx2")
