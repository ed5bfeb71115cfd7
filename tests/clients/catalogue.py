"""Which clients there are, by which of their APIs, and what each is shown to do.

The tests of this folder take their cases from here, and the page docs/clients.md its tables. What a client does not
have, or does not do with a gateway in between, stands here with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

Format = Literal["openai_chat", "openai_responses", "anthropic_messages", "gemini"]

FORMATS: dict[str, Format] = {
    "chat": "openai_chat",
    "responses": "openai_responses",
    "messages": "anthropic_messages",
    "gemini": "gemini",
}
"""The formats that the APIs are in."""

TITLES: dict[Format, str] = {
    "openai_chat": "Chat Completions",
    "openai_responses": "Responses",
    "anthropic_messages": "Messages",
    "gemini": "Gemini",
}

FEATURES = {
    "answer": "Answer",
    "stream": "Stream",
    "tools": "Tools",
    "structured": "Structured",
    "image": "Image",
    "embeddings": "Embeddings",
    "broken": "Cut stream",
    "cancel": "Cancel",
    "wrong_key": "401",
    "rate_limit": "429",
    "budget": "Budget",
    "failure": "500",
}
"""What is tried with each client of a library, and the headings of its columns."""

MEANINGS = {
    "Answer": "a plain answer, with its usage",
    "Stream": "an answer in pieces as they come, with its usage",
    "Tools": "two calls of a tool at once, and the answer to what it said",
    "Structured": "an answer that follows a schema, by the means that the client has for it",
    "Image": "a picture in the prompt",
    "Embeddings": "vectors of two texts",
    "Cut stream": "the provider's connection breaks in mid-stream: an error, and not half an answer",
    "Cancel": "the caller leaves a stream, and the provider is hung up on",
    "401": "a wrong key: the client's error for that, asked once, and no provider hears of it",
    "429": "a provider without capacity for a moment: the client waits and asks again by itself",
    "Budget": "a budget that is used up: the client's error, and no storm of retries",
    "500": "a provider that fails: the client's error with the provider's words, after few retries",
}

AGENT_FEATURES = {
    "session": "Session",
    "prompt": "Prompt",
    "structured": "Structured",
    "image": "Image",
    "broken": "Cut stream",
    "wrong_key": "401",
    "failure": "503",
}
"""What is tried with each coding agent."""

AGENT_MEANINGS = {
    "Session": "the agent writes a file, runs a command and reads by its own tools, and tells what it saw",
    "Prompt": "its instructions, its environment and its tools reach the model",
    "Structured": "its answer follows a schema",
    "Image": "it looks at a picture",
    "Cut stream": "the provider's connection breaks in mid-stream: it asks again",
    "401": "a wrong key: it says so and ends",
    "503": "a provider without capacity: its retries end, and it says what the provider said",
}


@dataclass(frozen=True, kw_only=True)
class Client:
    """A client by one of its APIs."""

    name: str
    language: Literal["Python", "JavaScript"]
    api: str
    via: str
    """What the API is called in this client."""
    driver: str
    """The program in `drivers/` that runs it."""
    environment: str
    """Where it is installed: a list of packages in `environments/`."""
    package: str
    """The package whose version is told."""
    other: Format
    """The format of the provider for which it is translated."""
    lacks: Mapping[str, str] = field(default_factory=dict)
    """What the client does not have, and why it is not tried."""
    fails: Mapping[str, str] = field(default_factory=dict)
    """What the client does not do, and why."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What is to be said of a feature that works."""
    names: Mapping[Format, str] = field(default_factory=dict)
    """What it asks for to reach a model of this format, where it takes only names that it knows."""
    tells_usage: bool = True
    counts_streams: bool = True
    """Whether it tells the usage of a stream as the provider did."""
    carries: bool = False
    """Whether it is one of those that send the state of a model's reasoning back."""
    keeps_ids: bool = True
    """Whether a tool's call comes back with the id that it had."""
    heeds: bool = True
    """Whether it heeds that asking again is of no use."""
    tries: int = 4
    """How often it may ask for what fails."""

    @property
    def format(self) -> Format:
        return FORMATS[self.api]

    def asks_for(self, format: Format, name: str) -> str:
        """What it asks for to reach this model, of this format."""
        return self.names.get(format, name)

    @cached_property
    def title(self) -> str:
        return f"{self.name} ({self.language}), {self.via}"


@dataclass(frozen=True, kw_only=True)
class Agent:
    """A coding agent."""

    name: str
    environment: str
    package: str
    shows: tuple[str, ...]
    """What its tests show."""
    formats: tuple[Format, ...]
    """Its own, and those of the models that it is put before."""
    note: str = ""


NO_EMBEDDINGS = {"embeddings": "Anthropic's API has no embeddings."}
ONCE = {"embeddings": "They are the same as by Chat Completions."}

OF_NO_AGENT = {"embeddings": "It is about agents and has no embeddings."}
ONLY_STRUCTURED = "It is about structured output, and nothing else."
OF_INSTRUCTOR = dict.fromkeys(("stream", "tools", "embeddings", "broken", "cancel"), ONLY_STRUCTURED)
ELSEWHERE = {"embeddings": "They are in packages of their own, which are not tried."}

ASKS_AGAIN = {"budget": "It asks two or three times more: it does not know the header by which it is told not to."}
KNOWN_TO_LLAMA_INDEX: dict[Format, str] = {
    "anthropic_messages": "claude-haiku-4-5",
    "openai_responses": "claude-sonnet-5-5",
}
TWELVE = {"failure": "It asks up to twelve times: it repeats what the SDK below it has repeated."}
FIVE = {"failure": "It asks up to five times: it repeats what the SDK below it has repeated."}
IN_WORDS = {"structured": "For a model whose name it does not know it writes the schema into the prompt."}
OLD_SDK = {
    "answer": "With Anthropic's SDK before 1.0, which pip has to be told: with most models it gives a temperature, for "
    "which later ones have no argument."
}
ASKS_ONCE = {
    "rate_limit": "It asks once: Google's SDK repeats only what it is told to, and this client does not tell it."
}

NO_SLASHES: dict[Format, str] = {"gemini": "gemini-2.5-flash-lite", "openai_responses": "gemini-2.5-pro"}
READS_NO_ERRORS = (
    "It does not read the event that says that a stream has failed, and takes half an answer for a whole one."
)
ADDS_UP = {
    "stream": "It adds up what the first event and the last say of usage: a token too many, and no input where the "
    "provider tells of it at the end."
}

CLIENTS: tuple[Client, ...] = (
    Client(
        name="OpenAI SDK",
        language="Python",
        api="chat",
        via="chat.completions",
        driver="openai_client.py",
        environment="openai",
        package="openai",
        other="anthropic_messages",
        carries=True,
    ),
    Client(
        name="OpenAI SDK",
        language="Python",
        api="responses",
        via="responses",
        driver="openai_client.py",
        environment="openai",
        package="openai",
        other="gemini",
        lacks=ONCE,
        carries=True,
    ),
    Client(
        name="Anthropic SDK",
        language="Python",
        api="messages",
        via="messages",
        driver="anthropic_client.py",
        environment="anthropic",
        package="anthropic",
        other="openai_responses",
        lacks=NO_EMBEDDINGS,
        carries=True,
    ),
    Client(
        name="Google Gen AI SDK",
        language="Python",
        api="gemini",
        via="models",
        driver="google_client.py",
        environment="google-genai",
        package="google-genai",
        other="openai_chat",
        carries=True,
        keeps_ids=False,
        heeds=False,
        notes=ASKS_AGAIN,
    ),
    Client(
        name="LangChain",
        language="Python",
        api="chat",
        via="ChatOpenAI",
        driver="langchain_client.py",
        environment="langchain",
        package="langchain-openai",
        other="anthropic_messages",
    ),
    Client(
        name="LangChain",
        language="Python",
        api="responses",
        via="ChatOpenAI with Responses",
        driver="langchain_client.py",
        environment="langchain",
        package="langchain-openai",
        other="gemini",
        lacks=ONCE,
        carries=True,
    ),
    Client(
        name="LangChain",
        language="Python",
        api="messages",
        via="ChatAnthropic",
        driver="langchain_client.py",
        environment="langchain",
        package="langchain-anthropic",
        other="openai_chat",
        lacks=NO_EMBEDDINGS,
        carries=True,
    ),
    Client(
        name="LangChain",
        language="Python",
        api="gemini",
        via="ChatGoogleGenerativeAI",
        driver="langchain_client.py",
        environment="langchain",
        package="langchain-google-genai",
        other="openai_responses",
        keeps_ids=False,
        heeds=False,
        notes=ASKS_AGAIN,
    ),
    Client(
        name="LlamaIndex",
        language="Python",
        api="chat",
        via="OpenAILike",
        driver="llamaindex_client.py",
        tells_usage=False,
        environment="llamaindex",
        package="llama-index-llms-openai-like",
        other="gemini",
        heeds=False,
        tries=12,
        notes={**ASKS_AGAIN, **TWELVE},
    ),
    Client(
        name="LlamaIndex",
        language="Python",
        api="messages",
        via="Anthropic",
        driver="llamaindex_client.py",
        tells_usage=False,
        environment="llamaindex",
        package="llama-index-llms-anthropic",
        other="openai_responses",
        lacks=NO_EMBEDDINGS,
        heeds=False,
        tries=12,
        names=KNOWN_TO_LLAMA_INDEX,
        notes={**ASKS_AGAIN, **OLD_SDK},
    ),
    Client(
        name="LlamaIndex",
        language="Python",
        api="gemini",
        via="GoogleGenAI",
        driver="llamaindex_client.py",
        tells_usage=False,
        environment="llamaindex",
        package="llama-index-llms-google-genai",
        other="anthropic_messages",
        lacks=ELSEWHERE,
        heeds=False,
        tries=12,
        fails=ASKS_ONCE,
        keeps_ids=False,
    ),
    Client(
        name="Pydantic AI",
        language="Python",
        api="chat",
        via="OpenAIChatModel",
        driver="pydantic_ai_client.py",
        environment="pydantic-ai",
        package="pydantic-ai-slim",
        other="anthropic_messages",
    ),
    Client(
        name="Pydantic AI",
        language="Python",
        api="responses",
        via="OpenAIResponsesModel",
        driver="pydantic_ai_client.py",
        environment="pydantic-ai",
        package="pydantic-ai-slim",
        other="openai_chat",
        lacks=ONCE,
    ),
    Client(
        name="Pydantic AI",
        language="Python",
        api="messages",
        via="AnthropicModel",
        driver="pydantic_ai_client.py",
        environment="pydantic-ai",
        package="pydantic-ai-slim",
        other="gemini",
        lacks=NO_EMBEDDINGS,
        carries=True,
    ),
    Client(
        name="Pydantic AI",
        language="Python",
        api="gemini",
        via="GoogleModel",
        driver="pydantic_ai_client.py",
        environment="pydantic-ai",
        package="pydantic-ai-slim",
        other="openai_responses",
        heeds=False,
        fails=ASKS_ONCE,
    ),
    Client(
        name="LiteLLM SDK",
        language="Python",
        api="chat",
        via="openai/…",
        driver="litellm_client.py",
        environment="litellm",
        package="litellm",
        other="anthropic_messages",
        heeds=False,
        tries=5,
        notes={**ASKS_AGAIN, **FIVE},
    ),
    Client(
        name="LiteLLM SDK",
        language="Python",
        api="messages",
        via="anthropic/…",
        driver="litellm_client.py",
        environment="litellm",
        package="litellm",
        other="openai_chat",
        lacks=NO_EMBEDDINGS,
        carries=True,
        heeds=False,
        notes=ASKS_AGAIN,
    ),
    Client(
        name="LiteLLM SDK",
        language="Python",
        api="gemini",
        via="gemini/…",
        driver="litellm_client.py",
        environment="litellm",
        package="litellm",
        other="openai_responses",
        heeds=False,
        keeps_ids=False,
        notes={**ASKS_AGAIN, **IN_WORDS},
    ),
    Client(
        name="Instructor",
        language="Python",
        api="chat",
        via="from_openai",
        driver="instructor_client.py",
        environment="instructor",
        package="instructor",
        other="anthropic_messages",
        lacks=OF_INSTRUCTOR,
    ),
    Client(
        name="Instructor",
        language="Python",
        api="messages",
        via="from_anthropic",
        driver="instructor_client.py",
        environment="instructor",
        package="instructor",
        other="openai_responses",
        lacks=OF_INSTRUCTOR,
    ),
    Client(
        name="OpenAI Agents SDK",
        language="Python",
        api="chat",
        via="Chat Completions",
        driver="openai_agents_client.py",
        environment="openai-agents",
        package="openai-agents",
        other="gemini",
        lacks=OF_NO_AGENT,
    ),
    Client(
        name="OpenAI Agents SDK",
        language="Python",
        api="responses",
        via="Responses",
        driver="openai_agents_client.py",
        environment="openai-agents",
        package="openai-agents",
        other="anthropic_messages",
        lacks=OF_NO_AGENT,
        carries=True,
    ),
    Client(
        name="llm",
        language="Python",
        api="chat",
        via="extra-openai-models",
        driver="llm_client.py",
        environment="llm",
        package="llm",
        other="anthropic_messages",
        lacks=ELSEWHERE,
    ),
    Client(
        name="OpenAI SDK",
        language="JavaScript",
        api="chat",
        via="chat.completions",
        driver="openai_client.mjs",
        environment="javascript",
        package="openai",
        other="gemini",
        carries=True,
    ),
    Client(
        name="OpenAI SDK",
        language="JavaScript",
        api="responses",
        via="responses",
        driver="openai_client.mjs",
        environment="javascript",
        package="openai",
        other="anthropic_messages",
        lacks=ONCE,
        carries=True,
    ),
    Client(
        name="Anthropic SDK",
        language="JavaScript",
        api="messages",
        via="messages",
        driver="anthropic_client.mjs",
        environment="javascript",
        package="@anthropic-ai/sdk",
        other="openai_chat",
        lacks=NO_EMBEDDINGS,
        carries=True,
    ),
    Client(
        name="Google Gen AI SDK",
        language="JavaScript",
        api="gemini",
        via="models",
        driver="google_client.mjs",
        environment="javascript",
        package="@google/genai",
        other="anthropic_messages",
        carries=True,
        heeds=False,
        notes=ASKS_AGAIN,
    ),
    Client(
        name="Vercel AI SDK",
        language="JavaScript",
        api="chat",
        via="openai-compatible",
        driver="vercel_client.mjs",
        environment="javascript",
        package="@ai-sdk/openai-compatible",
        other="anthropic_messages",
        heeds=False,
        notes=ASKS_AGAIN,
    ),
    Client(
        name="Vercel AI SDK",
        language="JavaScript",
        api="responses",
        via="openai",
        driver="vercel_client.mjs",
        environment="javascript",
        package="@ai-sdk/openai",
        other="gemini",
        lacks=ONCE,
        heeds=False,
        notes=ASKS_AGAIN,
    ),
    Client(
        name="Vercel AI SDK",
        language="JavaScript",
        api="messages",
        via="anthropic",
        driver="vercel_client.mjs",
        environment="javascript",
        package="@ai-sdk/anthropic",
        other="openai_responses",
        lacks=NO_EMBEDDINGS,
        heeds=False,
        notes=ASKS_AGAIN,
    ),
    Client(
        name="Vercel AI SDK",
        language="JavaScript",
        api="gemini",
        via="google",
        driver="vercel_client.mjs",
        environment="javascript",
        package="@ai-sdk/google",
        other="openai_chat",
        heeds=False,
        notes=ASKS_AGAIN,
    ),
    Client(
        name="LangChain.js",
        language="JavaScript",
        api="chat",
        via="ChatOpenAI",
        driver="langchain_client.mjs",
        environment="javascript",
        package="@langchain/openai",
        other="anthropic_messages",
    ),
    Client(
        name="LangChain.js",
        language="JavaScript",
        api="responses",
        via="ChatOpenAI with Responses",
        driver="langchain_client.mjs",
        environment="javascript",
        package="@langchain/openai",
        other="gemini",
        lacks=ONCE,
    ),
    Client(
        name="LangChain.js",
        language="JavaScript",
        api="messages",
        via="ChatAnthropic",
        driver="langchain_client.mjs",
        environment="javascript",
        package="@langchain/anthropic",
        other="openai_chat",
        lacks=NO_EMBEDDINGS,
        counts_streams=False,
        notes=ADDS_UP,
    ),
    Client(
        name="LangChain.js",
        language="JavaScript",
        api="gemini",
        via="ChatGoogleGenerativeAI",
        driver="langchain_client.mjs",
        environment="javascript",
        package="@langchain/google-genai",
        other="openai_responses",
        names=NO_SLASHES,
        tells_usage=False,
        keeps_ids=False,
        notes={"answer": "It leaves the tokens of reasoning out of what it tells of usage."},
        fails={"rate_limit": "It asks once: it takes a 429 for final.", "broken": READS_NO_ERRORS},
    ),
)

FORGETS = (
    "It does not send the state of a model's reasoning back, for which its format has no member of its own: the model "
    "does without."
)

PRINTS_BOTH = "Where a stream breaks, it prints what it had before the whole answer."

AGENTS: tuple[Agent, ...] = (
    Agent(
        name="Claude Code",
        environment="package.json",
        package="@anthropic-ai/claude-code",
        shows=("session", "prompt", "image", "broken", "wrong_key", "failure"),
        formats=("anthropic_messages", "openai_chat", "openai_responses", "gemini"),
    ),
    Agent(
        name="Codex",
        environment="package.json",
        package="@openai/codex",
        shows=("session", "prompt", "structured", "image", "broken", "wrong_key", "failure"),
        formats=("openai_responses", "anthropic_messages", "openai_chat", "gemini"),
    ),
    Agent(
        name="Gemini CLI",
        environment="package.json",
        package="@google/gemini-cli",
        shows=("session", "prompt", "broken", "wrong_key"),
        formats=("gemini", "anthropic_messages", "openai_responses", "openai_chat"),
        note=PRINTS_BOTH,
    ),
    Agent(
        name="Qwen Code",
        environment="package.json",
        package="@qwen-code/qwen-code",
        shows=("session", "prompt", "broken", "wrong_key"),
        formats=("openai_chat", "anthropic_messages", "openai_responses", "gemini"),
        note=f"{FORGETS} {PRINTS_BOTH}",
    ),
    Agent(
        name="opencode",
        environment="agents",
        package="opencode-ai",
        shows=("session", "prompt", "image", "broken", "wrong_key"),
        formats=("openai_chat", "openai_responses", "anthropic_messages", "gemini"),
    ),
    Agent(
        name="goose",
        environment="agents",
        package="@aaif/goose",
        shows=("session", "prompt", "broken", "wrong_key", "failure"),
        formats=("openai_chat", "anthropic_messages", "gemini"),
        note=FORGETS
        + " By Messages it does not read the event that says that a stream has failed, and takes half an answer for a "
        "whole one: better let it speak Chat Completions.",
    ),
    Agent(
        name="aider",
        environment="aider",
        package="aider-chat",
        shows=("session", "prompt", "broken", "wrong_key"),
        formats=("openai_chat", "anthropic_messages", "openai_responses", "gemini"),
        note="It has no tools: it reads the changes of files out of answers.",
    ),
)
