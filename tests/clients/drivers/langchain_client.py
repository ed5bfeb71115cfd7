"""LangChain, by its models for three vendors."""

from __future__ import annotations

from typing import Any

from driver import Job, price_of, serve
from fruit import Fruit
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI, GoogleGenerativeAIEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings


class Chain:
    model: Any

    def __init__(self, job: Job) -> None:
        self.job = job

    def of(self, said: Any) -> Any:
        usage = said.usage_metadata
        return {"text": said.text, "usage": [usage["input_tokens"], usage["output_tokens"]]}

    def answer(self) -> Any:
        return self.of(self.model.invoke(self.job.prompt))

    def stream(self) -> Any:
        chunks = list(self.model.stream(self.job.prompt))
        whole = chunks[0]
        for chunk in chunks[1:]:
            whole += chunk
        return {**self.of(whole), "pieces": [chunk.text for chunk in chunks if chunk.text]}

    def tools(self) -> Any:
        price = tool(price_of)
        model = self.model.bind_tools([price])
        messages: list[Any] = [HumanMessage(self.job.prompt)]
        while True:
            said = model.invoke(messages)
            if not said.tool_calls:
                return self.of(said)
            messages += [said, *(price.invoke(call) for call in said.tool_calls)]

    def structured(self) -> Any:
        return {"parsed": self.model.with_structured_output(Fruit).invoke(self.job.prompt).model_dump()}

    def image(self) -> Any:
        parts = [
            {"type": "text", "text": self.job.prompt},
            {"type": "image", "base64": self.job.image, "mime_type": "image/png"},
        ]
        return self.of(self.model.invoke([HumanMessage(parts)]))

    def cancel(self) -> Any:
        stream = self.model.stream(self.job.prompt)
        text = next(chunk.text for chunk in stream if chunk.text)
        stream.close()
        return {"text": text}


class OnChat(Chain):
    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.model = ChatOpenAI(model=job.model, base_url=f"{job.url}/v1", api_key=job.key, stream_usage=True)

    def embeddings(self) -> Any:
        embeddings = OpenAIEmbeddings(
            model=self.job.model,
            base_url=f"{self.job.url}/v1",
            api_key=self.job.key,
            # Without, it sends the numbers of OpenAI's tokens in place of the text.
            check_embedding_ctx_length=False,
        )
        return {"vectors": embeddings.embed_documents(self.job.texts)}


class OnResponses(Chain):
    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.model = ChatOpenAI(
            model=job.model,
            base_url=f"{job.url}/v1",
            api_key=job.key,
            use_responses_api=True,
            store=False,
            include=["reasoning.encrypted_content"],
        )


class OnMessages(Chain):
    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.model = ChatAnthropic(model=job.model, base_url=job.url, api_key=job.key, max_tokens=4096)


class OnGemini(Chain):
    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.model = ChatGoogleGenerativeAI(model=job.model, base_url=job.url, api_key=job.key, max_retries=3)

    def embeddings(self) -> Any:
        embeddings = GoogleGenerativeAIEmbeddings(model=self.job.model, base_url=self.job.url, api_key=self.job.key)
        return {"vectors": embeddings.embed_documents(self.job.texts)}


serve(
    {"chat": OnChat, "responses": OnResponses, "messages": OnMessages, "gemini": OnGemini},
    "langchain-core",
    "langchain-openai",
    "langchain-anthropic",
    "langchain-google-genai",
)
