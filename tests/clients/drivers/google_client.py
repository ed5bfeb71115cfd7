"""Google's Python SDK."""

from __future__ import annotations

from typing import Any

from driver import Job, price_of, serve
from fruit import Fruit
from google import genai
from google.genai import types


class Gemini:
    def __init__(self, job: Job) -> None:
        self.job = job
        # This SDK asks once, unless it is told otherwise.
        retries = types.HttpRetryOptions(attempts=3, initial_delay=0.05)
        options = types.HttpOptions(base_url=job.url, retry_options=retries)
        self.client = genai.Client(api_key=job.key, vertexai=False, http_options=options)

    def of(self, said: Any) -> Any:
        usage = said.usage_metadata
        output = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
        return {"text": said.text, "usage": [usage.prompt_token_count, output]}

    def ask(self, contents: Any, **config: Any) -> Any:
        wanted = types.GenerateContentConfig(**config)
        return self.client.models.generate_content(model=self.job.model, contents=contents, config=wanted)

    def answer(self) -> Any:
        return self.of(self.ask(self.job.prompt))

    def stream(self) -> Any:
        chunks = list(self.client.models.generate_content_stream(model=self.job.model, contents=self.job.prompt))
        pieces = [chunk.text for chunk in chunks if chunk.text]
        return {**self.of(chunks[-1]), "text": "".join(pieces), "pieces": pieces}

    def tools(self) -> Any:
        """The SDK calls the function by itself."""
        thinking = types.ThinkingConfig(include_thoughts=True, thinking_budget=2048)
        config = types.GenerateContentConfig(tools=[price_of], max_output_tokens=9000, thinking_config=thinking)
        return self.of(self.client.chats.create(model=self.job.model, config=config).send_message(self.job.prompt))

    def structured(self) -> Any:
        said = self.ask(self.job.prompt, response_mime_type="application/json", response_schema=Fruit)
        return {"parsed": said.parsed.model_dump()}

    def image(self) -> Any:
        return self.of(self.ask([self.job.prompt, types.Part.from_bytes(data=self.job.png, mime_type="image/png")]))

    def embeddings(self) -> Any:
        said = self.client.models.embed_content(model=self.job.model, contents=self.job.texts)
        return {"vectors": [entry.values for entry in said.embeddings]}

    def cancel(self) -> Any:
        stream = self.client.models.generate_content_stream(model=self.job.model, contents=self.job.prompt)
        text = next(chunk.text for chunk in stream if chunk.text)
        stream.close()
        return {"text": text}


serve({"gemini": Gemini}, "google-genai")
