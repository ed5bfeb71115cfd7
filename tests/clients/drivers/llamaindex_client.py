"""LlamaIndex, by its models for three vendors."""

from __future__ import annotations

from typing import Any

from driver import Job, price_of, serve
from fruit import Fruit
from google.genai import types
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.anthropic import Anthropic
from llama_index.llms.google_genai import GoogleGenAI
from llama_index.llms.openai_like import OpenAILike


class OnAnyModel:
    model: Any

    def __init__(self, job: Job) -> None:
        self.job = job

    @property
    def messages(self) -> list[ChatMessage]:
        return [ChatMessage(role="user", content=self.job.prompt)]

    def answer(self) -> Any:
        return {"text": self.model.chat(self.messages).message.content}

    def stream(self) -> Any:
        pieces = [said.delta for said in self.model.stream_chat(self.messages) if said.delta]
        return {"text": "".join(pieces), "pieces": pieces}

    def tools(self) -> Any:
        price = FunctionTool.from_defaults(price_of)
        messages = self.messages
        while True:
            said = self.model.chat_with_tools([price], chat_history=messages, allow_parallel_tool_calls=True)
            calls = self.model.get_tool_calls_from_response(said, error_on_no_tool_call=False)
            if not calls:
                return {"text": said.message.content}
            messages.append(said.message)
            for call in calls:
                text = str(price(**call.tool_kwargs))
                more = {"tool_call_id": call.tool_id, "name": call.tool_name}
                messages.append(ChatMessage(role="tool", content=text, additional_kwargs=more))

    def structured(self) -> Any:
        said = self.model.as_structured_llm(Fruit).chat(self.messages)
        return {"parsed": said.raw.model_dump()}

    def image(self) -> Any:
        blocks = [TextBlock(text=self.job.prompt), ImageBlock(image=self.job.png, image_mimetype="image/png")]
        return {"text": self.model.chat([ChatMessage(role="user", blocks=blocks)]).message.content}

    def cancel(self) -> Any:
        stream = self.model.stream_chat(self.messages)
        text = next(said.delta for said in stream if said.delta)
        stream.close()
        return {"text": text}


class OnChat(OnAnyModel):
    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.model = OpenAILike(
            model=job.model,
            api_base=f"{job.url}/v1",
            api_key=job.key,
            is_chat_model=True,
            is_function_calling_model=True,
            context_window=100_000,
        )

    def embeddings(self) -> Any:
        embeddings = OpenAILikeEmbedding(model_name=self.job.model, api_base=f"{self.job.url}/v1", api_key=self.job.key)
        return {"vectors": embeddings.get_text_embedding_batch(self.job.texts)}


class OnMessages(OnAnyModel):
    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.model = Anthropic(model=job.model, base_url=job.url, api_key=job.key, max_tokens=4096)


class OnGemini(OnAnyModel):
    def __init__(self, job: Job) -> None:
        super().__init__(job)
        options = types.HttpOptions(base_url=job.url)
        # Without these two it asks for what the model is, and the scripted providers list none.
        sizes = {"context_window": 100_000, "max_tokens": 4096}
        self.model = GoogleGenAI(model=job.model, api_key=job.key, http_options=options, **sizes)


serve(
    {"chat": OnChat, "messages": OnMessages, "gemini": OnGemini},
    "llama-index-core",
    "llama-index-llms-openai-like",
    "llama-index-llms-anthropic",
    "llama-index-llms-google-genai",
)
