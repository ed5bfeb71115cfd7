"""Pydantic AI, by its models for three vendors."""

from __future__ import annotations

from typing import Any

from driver import Job, price_of, serve
from fruit import Fruit
from pydantic_ai import Agent, BinaryContent, Embedder
from pydantic_ai.embeddings.google import GoogleEmbeddingModel
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.openai import OpenAIProvider


class OnAnyModel:
    model: Any

    def __init__(self, job: Job) -> None:
        self.job = job

    def of(self, said: Any) -> Any:
        usage = said.usage
        return {"text": said.output, "usage": [usage.input_tokens, usage.output_tokens]}

    async def answer(self) -> Any:
        return self.of(await Agent(self.model).run(self.job.prompt))

    async def stream(self) -> Any:
        async with Agent(self.model).run_stream(self.job.prompt) as result:
            pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
            usage = result.usage
            return {
                "text": "".join(pieces),
                "pieces": pieces,
                "usage": [usage.input_tokens, usage.output_tokens],
            }

    async def tools(self) -> Any:
        said = await Agent(self.model, tools=[price_of]).run(self.job.prompt)
        return {"text": said.output}

    async def structured(self) -> Any:
        said = await Agent(self.model, output_type=Fruit).run(self.job.prompt)
        return {"parsed": said.output.model_dump()}

    async def image(self) -> Any:
        picture = BinaryContent(data=self.job.png, media_type="image/png")
        return self.of(await Agent(self.model).run([self.job.prompt, picture]))

    async def cancel(self) -> Any:
        async with Agent(self.model).run_stream(self.job.prompt) as result:
            async for piece in result.stream_text(delta=True, debounce_by=None):
                return {"text": piece}


async def vectors(model: Any, texts: list[str]) -> Any:
    said = await Embedder(model).embed_documents(texts)
    return {"vectors": [list(vector) for vector in said.embeddings]}


class OnChat(OnAnyModel):
    def __init__(self, job: Job) -> None:
        super().__init__(job)
        provider = OpenAIProvider(base_url=f"{job.url}/v1", api_key=job.key)
        self.model = OpenAIChatModel(job.model, provider=provider)

    async def embeddings(self) -> Any:
        provider = OpenAIProvider(base_url=f"{self.job.url}/v1", api_key=self.job.key)
        return await vectors(OpenAIEmbeddingModel(self.job.model, provider=provider), self.job.texts)


class OnResponses(OnAnyModel):
    def __init__(self, job: Job) -> None:
        super().__init__(job)
        provider = OpenAIProvider(base_url=f"{job.url}/v1", api_key=job.key)
        self.model = OpenAIResponsesModel(job.model, provider=provider, settings={"openai_store": False})


class OnMessages(OnAnyModel):
    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.model = AnthropicModel(job.model, provider=AnthropicProvider(base_url=job.url, api_key=job.key))


class OnGemini(OnAnyModel):
    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.model = GoogleModel(job.model, provider=GoogleProvider(base_url=job.url, api_key=job.key))

    async def embeddings(self) -> Any:
        provider = GoogleProvider(base_url=self.job.url, api_key=self.job.key)
        return await vectors(GoogleEmbeddingModel(self.job.model, provider=provider), self.job.texts)


serve(
    {"chat": OnChat, "responses": OnResponses, "messages": OnMessages, "gemini": OnGemini},
    "pydantic-ai-slim",
)
