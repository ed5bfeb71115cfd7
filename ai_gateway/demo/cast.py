"""Who there is in the demo, what they use, and how much of it.

The shape is that of a company of some dozen people: two teams of engineers whose coding agents use the most, a product
that is used around the clock, a pipeline at night, and many who ask now and then.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

MARK = "gateway_demo"
"""What stands in the metadata of the demo's keys, among the tags of its routes, and in the notes of its prices."""

PREFIX = "demo-"

DOMAIN = "demo.invalid"
"""Where the demo's people get their mail: nowhere, by RFC 2606."""


class Model(NamedTuple):
    """A model: how long it takes, and how much it says. Times are medians, in milliseconds."""

    provider: str
    name: str
    price: Mapping[str, Any] | None
    """As `AI_GATEWAY["PRICES"]` writes it; None: nobody knows."""
    first_token_ms: int
    spread: float
    """The sigma of the log-normal distribution of times."""
    tokens_per_second: int
    is_cached: bool = True
    """Whether the provider keeps beginnings of prompts."""
    is_thinking: bool = False


class Provider(NamedTuple):
    """A provider: the built-in echo under another name."""

    alias: str
    label: str
    dialect: str
    delay: float
    """Seconds between two words of an answer, for streams to be seen."""


class Route(NamedTuple):
    """A route, with its targets in order."""

    name: str
    description: str
    targets: tuple[str, ...]


class Person(NamedTuple):
    """Somebody, with the team that they are a member of."""

    name: str
    team: str


class Habit(Enum):
    """When something is used: the hours of a working day and the weekend, each as a share of the busiest hour."""

    OFFICE = "office"
    PRODUCT = "product"
    NIGHTLY = "nightly"


class Use(Enum):
    """What something is used for."""

    CHAT = "chat"
    AGENT = "agent"
    EXTRACTION = "extraction"
    EMBEDDING = "embedding"


class Key(NamedTuple):
    """A key, and what is done with it."""

    name: str
    owner: str
    team: str
    share: float
    habit: Habit
    use: Use
    asks_for: Mapping[str, float]
    """What is asked for, routes or `provider/model`, by how often."""
    tags: tuple[str, ...] = ()
    project: str = ""
    is_stream: float = 0.8
    """Which part of the calls are streams."""
    is_revoked: bool = False
    expires_in_days: int | None = None
    is_used_up: bool = False
    """Whether its budget is used up by now: its last calls are refused."""


class Budget(NamedTuple):
    """A limit, and how much of it is used by now."""

    name: str
    scope: str
    subject: str
    measure: str
    window: str
    used: float
    soft_percent: int | None = None


OPENAI, ANTHROPIC, GOOGLE, BEDROCK, LAB = (f"{PREFIX}{n}" for n in ("openai", "anthropic", "google", "bedrock", "lab"))

PROVIDERS = (
    Provider(OPENAI, "OpenAI (demo)", "openai_chat", 0.03),
    Provider(ANTHROPIC, "Anthropic (demo)", "anthropic_messages", 0.04),
    Provider(GOOGLE, "Google (demo)", "gemini", 0.02),
    Provider(BEDROCK, "Bedrock (demo)", "anthropic_messages", 0.05),
    Provider(LAB, "Our own GPUs (demo)", "openai_chat", 0.06),
)

SONNET = {"input": 3, "cache_read": "0.30", "cache_write": "3.75", "output": 15}
HAIKU = {"input": 1, "cache_read": "0.10", "cache_write": "1.25", "output": 5}

MODELS = {
    f"{model.provider}/{model.name}": model
    for model in (
        Model(ANTHROPIC, "claude-sonnet-4-5", SONNET, 1150, 0.38, 72),
        Model(
            ANTHROPIC,
            "claude-opus-4-5",
            {"input": 5, "cache_read": "0.50", "cache_write": "6.25", "output": 25},
            1900,
            0.42,
            48,
            is_thinking=True,
        ),
        Model(ANTHROPIC, "claude-haiku-4-5", HAIKU, 520, 0.33, 140),
        Model(BEDROCK, "anthropic.claude-sonnet-4-5-v1:0", SONNET, 1500, 0.45, 61),
        Model(OPENAI, "gpt-5", {"input": "1.25", "cache_read": "0.125", "output": 10}, 2400, 0.5, 85, is_thinking=True),
        Model(OPENAI, "gpt-5-mini", {"input": "0.25", "cache_read": "0.025", "output": 2}, 700, 0.4, 130),
        Model(OPENAI, "text-embedding-3-small", {"input": "0.02"}, 90, 0.3, 0, is_cached=False),
        Model(GOOGLE, "gemini-2.5-flash", {"input": "0.30", "cache_read": "0.03", "output": "2.50"}, 430, 0.35, 190),
        Model(
            GOOGLE,
            "gemini-2.5-pro",
            {"input": "1.25", "cache_read": "0.125", "output": 10},
            2100,
            0.4,
            95,
            is_thinking=True,
        ),
        Model(LAB, "qwen3-coder-30b", None, 310, 0.6, 55, is_cached=False),
    )
}

ROUTES = (
    Route(
        f"{PREFIX}smart",
        "The best answer that there is",
        (f"{ANTHROPIC}/claude-sonnet-4-5", f"{BEDROCK}/anthropic.claude-sonnet-4-5-v1:0", f"{OPENAI}/gpt-5"),
    ),
    Route(f"{PREFIX}fast", "Quick and cheap", (f"{OPENAI}/gpt-5-mini", f"{GOOGLE}/gemini-2.5-flash")),
    Route(
        f"{PREFIX}code",
        "For coding agents",
        (f"{ANTHROPIC}/claude-opus-4-5", f"{ANTHROPIC}/claude-sonnet-4-5", f"{OPENAI}/gpt-5"),
    ),
    Route(f"{PREFIX}embed", "Embeddings for search", (f"{OPENAI}/text-embedding-3-small",)),
)

PLATFORM, RESEARCH, SUPPORT, MARKETING = (f"{PREFIX}{n}" for n in ("platform", "research", "support", "marketing"))

TEAMS = (PLATFORM, RESEARCH, SUPPORT, MARKETING)

PEOPLE = tuple(
    Person(f"{PREFIX}{name}", team)
    for name, team in (
        ("ada", PLATFORM),
        ("grace", PLATFORM),
        ("linus", PLATFORM),
        ("margaret", PLATFORM),
        ("alan", RESEARCH),
        ("emmy", RESEARCH),
        ("katherine", RESEARCH),
        ("florence", SUPPORT),
        ("radia", SUPPORT),
        ("edith", MARKETING),
        ("marshall", MARKETING),
    )
)

AGENTS = {f"{PREFIX}smart": 0.55, f"{ANTHROPIC}/claude-haiku-4-5": 0.3, f"{PREFIX}code": 0.15}
ASSISTANT = {f"{PREFIX}fast": 0.5, f"{PREFIX}smart": 0.35, f"{GOOGLE}/gemini-2.5-pro": 0.15}

KEYS = (
    Key(
        "support-bot",
        f"{PREFIX}florence",
        SUPPORT,
        24.0,
        Habit.PRODUCT,
        Use.CHAT,
        {f"{PREFIX}fast": 0.85, f"{PREFIX}smart": 0.15},
        ("production", "customer-facing"),
        "help-center",
    ),
    Key(
        "site-search",
        f"{PREFIX}linus",
        PLATFORM,
        15.0,
        Habit.PRODUCT,
        Use.EMBEDDING,
        {f"{PREFIX}embed": 1.0},
        ("production",),
        "search",
        is_stream=0.0,
    ),
    Key("claude-code", f"{PREFIX}ada", PLATFORM, 14.0, Habit.OFFICE, Use.AGENT, AGENTS, ("agents",), "gateway"),
    Key("claude-code", f"{PREFIX}grace", PLATFORM, 10.0, Habit.OFFICE, Use.AGENT, AGENTS, ("agents",), "billing"),
    Key(
        "codex",
        f"{PREFIX}margaret",
        PLATFORM,
        6.0,
        Habit.OFFICE,
        Use.AGENT,
        {f"{OPENAI}/gpt-5": 0.7, f"{OPENAI}/gpt-5-mini": 0.3},
        ("agents",),
        "mobile-app",
    ),
    Key(
        "document-pipeline",
        f"{PREFIX}alan",
        RESEARCH,
        9.0,
        Habit.NIGHTLY,
        Use.EXTRACTION,
        {f"{GOOGLE}/gemini-2.5-flash": 0.8, f"{PREFIX}smart": 0.2},
        ("batch",),
        "archive",
        is_stream=0.0,
    ),
    Key(
        "nightly-evals",
        f"{PREFIX}emmy",
        RESEARCH,
        4.0,
        Habit.NIGHTLY,
        Use.EXTRACTION,
        {f"{PREFIX}smart": 0.5, f"{OPENAI}/gpt-5": 0.3, f"{GOOGLE}/gemini-2.5-pro": 0.2},
        ("batch", "evaluation"),
        "evals",
        is_stream=0.0,
        is_used_up=True,
    ),
    Key(
        "notebook",
        f"{PREFIX}katherine",
        RESEARCH,
        3.0,
        Habit.OFFICE,
        Use.CHAT,
        {f"{LAB}/qwen3-coder-30b": 0.5, f"{PREFIX}smart": 0.5},
        ("research",),
    ),
    Key("assistant", f"{PREFIX}radia", SUPPORT, 4.0, Habit.OFFICE, Use.CHAT, ASSISTANT),
    Key("assistant", f"{PREFIX}edith", MARKETING, 5.0, Habit.OFFICE, Use.CHAT, ASSISTANT, ("copy",), "campaigns"),
    Key(
        "translation",
        f"{PREFIX}marshall",
        MARKETING,
        2.5,
        Habit.OFFICE,
        Use.EXTRACTION,
        {f"{PREFIX}fast": 1.0},
        ("copy",),
        expires_in_days=5,
    ),
    Key("assistant", f"{PREFIX}alan", RESEARCH, 1.2, Habit.OFFICE, Use.CHAT, ASSISTANT),
    Key("experiment", f"{PREFIX}linus", PLATFORM, 0.3, Habit.OFFICE, Use.CHAT, ASSISTANT, is_revoked=True),
)

BUDGETS = (
    Budget(f"{PREFIX}marketing a month", "group", MARKETING, "cost", "month", 0.04, 80),
    Budget(f"{PREFIX}platform a month", "group", PLATFORM, "cost", "month", 0.61, 80),
    Budget(f"{PREFIX}support a month", "group", SUPPORT, "cost", "month", 0.87, 80),
    Budget(f"{PREFIX}evaluations", "key", "nightly-evals", "cost", "total", 1.0, 90),
    Budget(f"{PREFIX}claude-code a day", "user", f"{PREFIX}ada", "tokens", "day", 0.42, 75),
    Budget(f"{PREFIX}bedrock a month", "provider", BEDROCK, "cost", "month", 0.93, 90),
    Budget(f"{PREFIX}support-bot a minute", "key", "support-bot", "requests", "minute", 0.0),
    Budget(f"{PREFIX}lab at once", "provider", LAB, "concurrency", "", 0.0),
)
