"""`llm`, with the gateway's models as it finds them in its configuration."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import llm
from driver import Job, price_of, serve
from llm.default_plugins import openai_models

FOLDER = Path(os.environ["HOME"])


class Chat:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.model = openai_models.Chat(
            model_id="gateway",
            model_name=job.model,
            api_base=f"{job.url}/v1",
            supports_tools=True,
            supports_schema=True,
            vision=True,
        )
        self.model.key = job.key

    def of(self, response: Any) -> Any:
        text = response.text()
        usage = response.usage()
        return {"text": text, "usage": [usage.input, usage.output]}

    def answer(self) -> Any:
        return self.of(self.model.prompt(self.job.prompt, stream=False))

    def stream(self) -> Any:
        response = self.model.prompt(self.job.prompt)
        pieces = [str(piece) for piece in response]
        return {**self.of(response), "pieces": [piece for piece in pieces if piece]}

    def tools(self) -> Any:
        """The client runs the tool by itself."""
        chain = self.model.chain(self.job.prompt, tools=[price_of])
        *_, last = list(chain.responses())
        return self.of(last)

    def structured(self) -> Any:
        return {"parsed": json.loads(self.model.prompt(self.job.prompt, schema=self.job.schema).text())}

    def image(self) -> Any:
        picture = llm.Attachment(type="image/png", content=self.job.png)
        return self.of(self.model.prompt(self.job.prompt, attachments=[picture]))

    def cancel(self) -> Any:
        pieces = iter(self.model.prompt(self.job.prompt))
        text = next(str(piece) for piece in pieces if piece)
        pieces.close()
        return {"text": text}


serve({"chat": Chat}, "llm")
