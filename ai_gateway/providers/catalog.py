"""The providers that are known by name: facts, each with the page of the provider's documentation that states it.

`CATALOG` maps a name to a provider without a credential. A row here says how a provider differs by facts; where it
behaves differently, the row is made of a class with a file of its own. Base URLs are those that the documentation gives
for OpenAI's clients, so that what an operator copies from there fits as a `base_url`.

Rows of programs that run on the operator's own machines are not set up until the settings name them: nobody who holds a
gateway key shall reach a port of the gateway's own host by chance.
"""

from __future__ import annotations

from ai_gateway.providers.azure import AzureProvider
from ai_gateway.providers.base import Auth, Provider
from ai_gateway.providers.bedrock import BedrockProvider
from ai_gateway.providers.echo import EchoProvider
from ai_gateway.providers.gemini import GeminiProvider

CHAT = frozenset(("openai_chat",))
CHAT_AND_RESPONSES = CHAT | {"openai_responses"}
CHAT_AND_MESSAGES = CHAT | {"anthropic_messages"}
ALL_BUT_GEMINI = CHAT_AND_RESPONSES | {"anthropic_messages"}

AS_IT_IS = (("/v1", "/v1"),)
"""Path rules for a base URL that does not end in `/v1`, of an API whose own paths begin with it."""

OPENAI = Provider(
    # API reference, "Introduction" and the list of endpoints.
    name="openai",
    label="OpenAI",
    base_url="https://api.openai.com/v1",
    dialects=CHAT_AND_RESPONSES,
    endpoints=(
        "chat/completions",
        "responses",
        "responses/input_tokens",
        "completions",
        "embeddings",
        "models",
        "moderations",
        "images/generations",
        "images/edits",
        "images/variations",
        "audio/speech",
        "audio/transcriptions",
        "audio/translations",
        "files",
        "uploads",
        "batches",
        "fine_tuning/jobs",
        "vector_stores",
        "conversations",
        "realtime",
    ),
)

ANTHROPIC = Provider(
    # API reference, "Versions" (the header that a request must have) and "Getting started" (x-api-key). A bearer token
    # is what its newer SDKs send, and what an OAuth token must be sent as.
    name="anthropic",
    label="Anthropic",
    base_url="https://api.anthropic.com",
    paths=AS_IT_IS,
    auth=Auth.X_API_KEY,
    accepts=frozenset((Auth.X_API_KEY, Auth.BEARER)),
    dialects=frozenset(("anthropic_messages",)),
    endpoints=("messages", "messages/count_tokens", "messages/batches", "complete", "models", "files"),
    headers=(("anthropic-version", "2023-06-01"),),
    models_path="/v1/models?limit=1000",  # "List Models": pages of 20, unless it is said otherwise.
)

GROQ = Provider(
    # "OpenAI Compatibility" and "Responses API"; the API reference for the rest.
    name="groq",
    label="Groq",
    base_url="https://api.groq.com/openai/v1",
    dialects=CHAT_AND_RESPONSES,
    endpoints=(
        "chat/completions",
        "responses",
        "models",
        "audio/speech",
        "audio/transcriptions",
        "audio/translations",
        "files",
        "batches",
    ),
)

FIREWORKS = Provider(
    # "OpenAI compatibility", "Responses API" and "Anthropic compatibility", which are all below one base URL.
    name="fireworks",
    label="Fireworks AI",
    base_url="https://api.fireworks.ai/inference/v1",
    dialects=ALL_BUT_GEMINI,
    endpoints=("chat/completions", "responses", "messages", "completions", "embeddings", "rerank", "models"),
)

TOGETHER = Provider(
    # "OpenAI compatibility", with a matrix of the endpoints. The older host api.together.xyz is an alias.
    name="together",
    label="Together AI",
    base_url="https://api.together.ai/v1",
    endpoints=(
        "chat/completions",
        "completions",
        "embeddings",
        "images/generations",
        "audio/speech",
        "audio/transcriptions",
        "audio/translations",
        "rerank",
        "models",
    ),
)

MISTRAL = Provider(
    # "Migration guides" (the base URL for OpenAI's clients) and the API specification.
    name="mistral",
    label="Mistral AI",
    base_url="https://api.mistral.ai/v1",
    endpoints=(
        "chat/completions",
        "fim/completions",
        "embeddings",
        "moderations",
        "ocr",
        "audio/transcriptions",
        "files",
        "models",
    ),
)

DEEPSEEK = Provider(
    # "Your First API Call" (two base URLs) and "Using the Anthropic API".
    name="deepseek",
    label="DeepSeek",
    base_url="https://api.deepseek.com",
    host_paths=(("/v1/messages", "/anthropic/v1/messages"),),
    dialects=CHAT_AND_MESSAGES,
    endpoints=("chat/completions", "messages", "models"),
)

XAI = Provider(
    # "REST API reference". Its Anthropic-compatible endpoint is documented as deprecated, so it does not count.
    name="xai",
    label="xAI",
    base_url="https://api.x.ai/v1",
    dialects=CHAT_AND_RESPONSES,
    endpoints=("chat/completions", "responses", "images/generations", "models", "files", "batches"),
)

OPENROUTER = Provider(
    # "Quickstart" (OpenAI's clients), "Claude Code" (the base URL https://openrouter.ai/api, a bearer token only).
    name="openrouter",
    label="OpenRouter",
    base_url="https://openrouter.ai/api/v1",
    dialects=ALL_BUT_GEMINI,
    endpoints=("chat/completions", "responses", "messages", "models"),
)

PERPLEXITY = Provider(
    # "OpenAI Compatibility" (Agent API: /v1/responses). Chat completions are at the root of the host, without /v1.
    name="perplexity",
    label="Perplexity",
    base_url="https://api.perplexity.ai/v1",
    host_paths=(("/v1/chat/completions", "/chat/completions"),),
    dialects=CHAT_AND_RESPONSES,
    endpoints=("chat/completions", "responses", "agent", "embeddings"),
    lists_models=False,
)

COHERE = Provider(
    # "Using Cohere via OpenAI SDK" (the compatibility API), and the API reference for its native endpoints.
    name="cohere",
    label="Cohere",
    base_url="https://api.cohere.ai/compatibility/v1",
    host_paths=(("/v1/rerank", "/v2/rerank"), ("/v1/embed", "/v2/embed"), ("/v1/models", "/v1/models")),
    endpoints=("chat/completions", "embeddings", "rerank", "embed", "models"),
    # Its own list has another shape than OpenAI's.
    lists_models=False,
)

CEREBRAS = Provider(
    # "OpenAI Compatibility".
    name="cerebras",
    label="Cerebras",
    base_url="https://api.cerebras.ai/v1",
    endpoints=("chat/completions", "completions", "models"),
)

NVIDIA = Provider(
    # "NVIDIA NIM" API reference, LLM APIs.
    name="nvidia",
    label="NVIDIA NIM",
    base_url="https://integrate.api.nvidia.com/v1",
    endpoints=("chat/completions", "completions", "embeddings", "models"),
)

HUGGINGFACE = Provider(
    # "Inference Providers" and its guide "Responses API (beta)".
    name="huggingface",
    label="Hugging Face",
    base_url="https://router.huggingface.co/v1",
    dialects=CHAT_AND_RESPONSES,
    endpoints=("chat/completions", "responses", "models"),
)

MOONSHOT = Provider(
    # Kimi API platform, "Overview": two base URLs. In mainland China the host is api.moonshot.cn, with the same paths.
    name="moonshot",
    label="Moonshot AI",
    base_url="https://api.moonshot.ai/v1",
    host_paths=(("/v1/messages", "/anthropic/v1/messages"),),
    dialects=ALL_BUT_GEMINI,
    endpoints=("chat/completions", "responses", "messages", "models", "files", "batches"),
)

ZAI = Provider(
    # "OpenAI Python SDK" and "Claude Code". The coding plan's base URL is https://api.z.ai/api/coding/paas/v4, and in
    # mainland China the host is open.bigmodel.cn, with the same paths.
    name="zai",
    label="Z.ai",
    base_url="https://api.z.ai/api/paas/v4",
    host_paths=(("/v1/messages", "/api/anthropic/v1/messages"),),
    dialects=CHAT_AND_MESSAGES,
    endpoints=("chat/completions", "messages"),
    lists_models=False,
)

QWEN = Provider(
    # Alibaba Cloud Model Studio, "OpenAI-compatible - Chat", "OpenAI-compatible - Responses" and "Anthropic API
    # compatibility". The host differs by region, and newer workspaces have one each, with the same paths.
    name="qwen",
    label="Qwen",
    base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
    host_paths=(("/v1/messages", "/apps/anthropic/v1/messages"),),
    dialects=ALL_BUT_GEMINI,
    endpoints=("chat/completions", "responses", "messages", "embeddings"),
    lists_models=False,
)


def _local(name: str, label: str, base_url: str, dialects: frozenset[str], endpoints: tuple[str, ...]) -> Provider:
    """Make the row of a program that serves models on the operator's own machine."""
    return Provider(
        name=name,
        label=label,
        base_url=base_url,
        auth=Auth.NONE,
        dialects=dialects,
        endpoints=endpoints,
        passthrough=False,
        allow_private=True,
        is_set_up=False,
    )


OLLAMA = _local(
    # "OpenAI compatibility" and "Anthropic compatibility".
    "ollama",
    "Ollama",
    "http://localhost:11434/v1",
    ALL_BUT_GEMINI,
    ("chat/completions", "responses", "messages", "completions", "embeddings", "models"),
)

VLLM = _local(
    # "Online Serving".
    "vllm",
    "vLLM",
    "http://localhost:8000/v1",
    ALL_BUT_GEMINI,
    (
        "chat/completions",
        "responses",
        "messages",
        "messages/count_tokens",
        "completions",
        "embeddings",
        "rerank",
        "audio/transcriptions",
        "audio/translations",
        "models",
    ),
)

LMSTUDIO = _local(
    # "OpenAI Compatible Endpoints" and "Anthropic Compatible Endpoints".
    "lmstudio",
    "LM Studio",
    "http://localhost:1234/v1",
    ALL_BUT_GEMINI,
    ("chat/completions", "responses", "messages", "completions", "embeddings", "models"),
)

LLAMACPP = _local(
    # README of tools/server.
    "llamacpp",
    "llama.cpp",
    "http://localhost:8080/v1",
    CHAT_AND_MESSAGES,
    ("chat/completions", "messages", "messages/count_tokens", "completions", "embeddings", "rerank", "models"),
)

CUSTOM = Provider(
    # Any API that OpenAI's clients can be pointed to. The option `dialects` says what else it speaks.
    name="custom",
    label="Any OpenAI-compatible API",
    base_url="",
    is_set_up=False,
)

AZURE = AzureProvider(name="azure", label="Azure OpenAI")
BEDROCK = BedrockProvider(name="bedrock", label="Amazon Bedrock")
GEMINI = GeminiProvider(name="gemini", label="Google Gemini")
ECHO = EchoProvider(name="echo", label="Echo (built in)")

CATALOG: dict[str, Provider] = {
    row.name: row.with_options({"row": row.name, "home": row.base_url if row.is_set_up else ""})
    for row in (
        OPENAI,
        ANTHROPIC,
        GEMINI,
        AZURE,
        BEDROCK,
        GROQ,
        FIREWORKS,
        TOGETHER,
        MISTRAL,
        DEEPSEEK,
        XAI,
        OPENROUTER,
        PERPLEXITY,
        COHERE,
        CEREBRAS,
        NVIDIA,
        HUGGINGFACE,
        MOONSHOT,
        ZAI,
        QWEN,
        OLLAMA,
        VLLM,
        LMSTUDIO,
        LLAMACPP,
        CUSTOM,
        ECHO,
    )
}
"""Every row by its name, which is the default `BACKEND` of an alias of the same name."""
