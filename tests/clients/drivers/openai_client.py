"""OpenAI's Python SDK."""

from __future__ import annotations

import json
from typing import Any

import openai
from driver import Job, price_of, serve
from fruit import Fruit


class Client:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.client = openai.OpenAI(base_url=f"{job.url}/v1", api_key=job.key)

    def embeddings(self) -> Any:
        said = self.client.embeddings.create(model=self.job.model, input=self.job.texts)
        return {"vectors": [entry.embedding for entry in said.data]}


class Chat(Client):
    @property
    def messages(self) -> list[Any]:
        return [{"role": "user", "content": self.job.prompt}]

    def of(self, said: Any) -> Any:
        usage = said.usage
        return {"text": said.choices[0].message.content, "usage": [usage.prompt_tokens, usage.completion_tokens]}

    def answer(self) -> Any:
        return self.of(self.client.chat.completions.create(model=self.job.model, messages=self.messages))

    def stream(self) -> Any:
        options = {"include_usage": True}
        with self.client.chat.completions.stream(
            model=self.job.model, messages=self.messages, stream_options=options
        ) as stream:
            pieces = [event.delta for event in stream if event.type == "content.delta"]
            return {**self.of(stream.get_final_completion()), "pieces": pieces}

    def tools(self) -> Any:
        messages = self.messages
        while True:
            said = self.client.chat.completions.create(
                model=self.job.model, messages=messages, tools=[{"type": "function", "function": self.job.tool}]
            )
            message = said.choices[0].message
            if not message.tool_calls:
                return self.of(said)
            messages.append(message.model_dump(exclude_none=True))
            messages += (
                {
                    "role": "tool",
                    "tool_call_id": call.id,
                    "content": price_of(**json.loads(call.function.arguments)),
                }
                for call in message.tool_calls
            )

    def structured(self) -> Any:
        said = self.client.chat.completions.parse(model=self.job.model, messages=self.messages, response_format=Fruit)
        return {"parsed": said.choices[0].message.parsed.model_dump()}

    def image(self) -> Any:
        parts = [
            {"type": "text", "text": self.job.prompt},
            {"type": "image_url", "image_url": {"url": self.job.data_url}},
        ]
        messages: Any = [{"role": "user", "content": parts}]
        return self.of(self.client.chat.completions.create(model=self.job.model, messages=messages))

    def cancel(self) -> Any:
        with self.client.chat.completions.create(model=self.job.model, messages=self.messages, stream=True) as stream:
            return {"text": next(text for chunk in stream if (text := chunk.choices[0].delta.content))}


class Responses(Client):
    def of(self, said: Any) -> Any:
        return {"text": said.output_text, "usage": [said.usage.input_tokens, said.usage.output_tokens]}

    def answer(self) -> Any:
        return self.of(self.client.responses.create(model=self.job.model, input=self.job.prompt))

    def stream(self) -> Any:
        with self.client.responses.stream(model=self.job.model, input=self.job.prompt) as stream:
            pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
            return {**self.of(stream.get_final_response()), "pieces": pieces}

    def tools(self) -> Any:
        items: list[Any] = [{"role": "user", "content": self.job.prompt}]
        while True:
            said = self.client.responses.create(
                model=self.job.model,
                input=items,
                tools=[{"type": "function", "strict": False, **self.job.tool}],
                store=False,
                include=["reasoning.encrypted_content"],
            )
            calls = [item for item in said.output if item.type == "function_call"]
            if not calls:
                return self.of(said)
            items += (item.to_dict() for item in said.output)
            items += (
                {
                    "type": "function_call_output",
                    "call_id": call.call_id,
                    "output": price_of(**json.loads(call.arguments)),
                }
                for call in calls
            )

    def structured(self) -> Any:
        said = self.client.responses.parse(model=self.job.model, input=self.job.prompt, text_format=Fruit)
        return {"parsed": said.output_parsed.model_dump()}

    def image(self) -> Any:
        parts = [
            {"type": "input_text", "text": self.job.prompt},
            {"type": "input_image", "image_url": self.job.data_url, "detail": "auto"},
        ]
        said = self.client.responses.create(model=self.job.model, input=[{"role": "user", "content": parts}])
        return self.of(said)

    def cancel(self) -> Any:
        with self.client.responses.create(model=self.job.model, input=self.job.prompt, stream=True) as stream:
            return {"text": next(event.delta for event in stream if event.type == "response.output_text.delta")}


serve({"chat": Chat, "responses": Responses}, "openai", "httpx2")
