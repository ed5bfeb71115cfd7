"""Instructor, which is about structured output."""

from __future__ import annotations

from typing import Any

import instructor
from anthropic import Anthropic
from driver import Job, serve
from fruit import Fruit
from openai import OpenAI


class Extractor:
    client: Any
    more: dict[str, Any]

    def __init__(self, job: Job) -> None:
        self.job = job
        self.more = {}

    def structured(self) -> Any:
        said = self.client.create(
            model=self.job.model,
            response_model=Fruit,
            messages=[{"role": "user", "content": self.job.prompt}],
            **self.more,
        )
        return {"parsed": said.model_dump()}

    answer = structured

    def image(self) -> Any:
        said = self.client.create(
            model=self.job.model,
            response_model=Fruit,
            messages=[{"role": "user", "content": [self.job.prompt, instructor.Image.from_base64(self.job.data_url)]}],
            **self.more,
        )
        return {"parsed": said.model_dump()}


class OnChat(Extractor):
    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.client = instructor.from_openai(OpenAI(base_url=f"{job.url}/v1", api_key=job.key))


class OnMessages(Extractor):
    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.client = instructor.from_anthropic(Anthropic(base_url=job.url, api_key=job.key))
        self.more = {"max_tokens": 4096}


serve({"chat": OnChat, "messages": OnMessages}, "instructor")
