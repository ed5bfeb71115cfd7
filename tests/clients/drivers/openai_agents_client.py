"""OpenAI's Agents SDK, by both of OpenAI's APIs."""

from __future__ import annotations

from typing import Any

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from driver import Job, price_of, serve
from fruit import Fruit
from openai import AsyncOpenAI

set_tracing_disabled(True)


class OnAnyModel:
    model: type
    settings = ModelSettings()

    def __init__(self, job: Job) -> None:
        self.job = job
        self.client = AsyncOpenAI(base_url=f"{job.url}/v1", api_key=job.key)

    def agent(self, **more: Any) -> Any:
        model = self.model(model=self.job.model, openai_client=self.client)
        return Agent(name="fruiterer", model=model, model_settings=self.settings, **more)

    def of(self, said: Any) -> Any:
        return {"text": said.final_output, "usage": self.usage(said)}

    def usage(self, said: Any) -> list[int]:
        usage = said.context_wrapper.usage
        return [usage.input_tokens, usage.output_tokens]

    async def answer(self) -> Any:
        return self.of(await Runner.run(self.agent(), self.job.prompt))

    async def stream(self) -> Any:
        said = Runner.run_streamed(self.agent(), self.job.prompt)
        pieces = [
            event.data.delta
            async for event in said.stream_events()
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
        ]
        return {**self.of(said), "pieces": pieces}

    async def tools(self) -> Any:
        """The SDK runs the tool by itself."""
        said = await Runner.run(self.agent(tools=[function_tool(price_of)]), self.job.prompt)
        return {"text": said.final_output}

    async def structured(self) -> Any:
        said = await Runner.run(self.agent(output_type=Fruit), self.job.prompt)
        return {"parsed": said.final_output.model_dump()}

    async def image(self) -> Any:
        parts = [
            {"type": "input_text", "text": self.job.prompt},
            {"type": "input_image", "image_url": self.job.data_url, "detail": "auto"},
        ]
        return self.of(await Runner.run(self.agent(), [{"role": "user", "content": parts}]))

    async def cancel(self) -> Any:
        said = Runner.run_streamed(self.agent(), self.job.prompt)
        async for event in said.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                text = event.data.delta
                said.cancel()
                await self.client.close()
                return {"text": text}


class OnChat(OnAnyModel):
    model = OpenAIChatCompletionsModel
    settings = ModelSettings(include_usage=True)


class OnResponses(OnAnyModel):
    model = OpenAIResponsesModel
    settings = ModelSettings(store=False, response_include=["reasoning.encrypted_content"])


serve({"chat": OnChat, "responses": OnResponses}, "openai-agents")
