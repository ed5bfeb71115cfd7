"""What is said of a client: the features that are tried, what each means, and the coding agents that were.

The tests of this folder take their cases from here and from `libraries.py`, and the page docs/clients.md its tables.
What a client does not have, or does not do with a gateway in between, stands here with the reason.
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
