"""docs/http.md: paths, headers, statuses and codes, of the tables of the source."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from ai_gateway import cors, errors, urls
from ai_gateway.calls import Headers
from ai_gateway.errors import GatewayError, LimitReached, ProviderError
from ai_gateway.protocols import DIALECTS, dialect_of
from ai_gateway.protocols.bedrock_converse.errors import ERROR_TYPE_HEADER
from ai_gateway.refusals import refuse, status_of
from tests.docs.tables import code, paragraphs, table

HEAD = """# HTTP reference

What is the same at both doors: paths, headers, statuses and codes. What stands in bodies is up to the wire formats and
their owners; what becomes of each member between two of them is in [translation](translation.md).
"""

CALLS = """## Paths of calls

Below `PREFIX`, if it is set. Any method is taken, and the query is kept; that of `/v1/usage` is the gateway's own. A
body is read as JSON if its `content-type` says so. On the paths that generate text one without a type, with
`text/plain` or with curl's default will do, too; on all others such a body is an upload, of which no model is read.
"""

OWN_PATHS = "## The gateway's own paths\n"

REQUESTS = """## Headers of requests

These mean something to the gateway. What is not listed goes on to a provider of the same format, except for what
concerns one connection only, and what makes another method of a request (`x-http-method-override`). With a gateway key,
whose account a call is on is the operator's to say: `openai-organization`, `openai-project` and `x-goog-user-project`
do not go on.
"""

ANSWERS = """## Headers of answers

Beside those that the provider sends, and `x-ratelimit-*` or `anthropic-ratelimit-*` for the caller's own limits.
"""

ERRORS = """## Errors

Errors of the gateway itself, in the format of the path. The code stands in `error.code` (OpenAI) or
`error.details.error_code` (Anthropic); the formats of Google and Amazon have no place for it. The columns behind it are
`error.type` of the first two, `error.status`, and the header `x-amzn-errortype`. Codes are public: they stay. Where the
last column says no, the answer has `x-should-retry: false`. A provider's own error has the status and the code that it
gave.
"""

PATHS = {
    "/v1/chat/completions": "Chat completions",
    "/v1/responses": "Responses",
    "/v1/messages": "Messages",
    "/v1/messages/count_tokens": "The tokens of a prompt",
    "/v1beta/models/{model}:generateContent": "An answer as a whole",
    "/v1beta/models/{model}:streamGenerateContent": "A stream; of server-sent events with `?alt=sse`",
    "/v1beta/models/{model}:countTokens": "The tokens of a prompt",
    "/v1beta/models/{model}:embedContent": "Embeddings",
    "/v1/model/{model}/converse": "An answer as a whole",
    "/v1/model/{model}/converse-stream": "A stream in Amazon's encoding",
    "/v1/embeddings": "Embeddings",
    "/v1/models": "The models and routes that the caller may use, in the format of its errors; with `x-provider` those "
    "of the provider. One of them with its id behind",
    "/v1beta/models": "The same list for Google's clients, and what is known of the models' sizes",
    "/v1/usage": "What the key has used, and what is left of its limits: [usage](usage.md). `GET` only",
    "/v1/realtime": "A websocket, for a realtime session: [realtime](realtime.md)",
    "/v1/{anything else}": "Whatever the provider has there, carried through",
}
"""Paths of calls, and what they give. By the path the wire format is told, which `dialect_of` knows."""

FORMATS = {
    "openai_chat": "OpenAI's Chat Completions",
    "openai_responses": "OpenAI's Responses",
    "openai_realtime": "OpenAI's Realtime",
    "anthropic_messages": "Anthropic's Messages",
    "anthropic": "Anthropic's",
    "gemini": "Google's `generateContent`",
    "google": "Google's",
    "bedrock_converse": "Amazon's Converse",
    "openai": "OpenAI's; Anthropic's with `anthropic-version` or `x-api-key`",
}

REQUEST_HEADERS = {
    "authorization": "`Bearer` and a gateway key, or a provider's own credential that is passed on",
    "x-api-key": "The same, as Anthropic's clients send it",
    "api-key": "The same, as Azure's clients send it",
    "x-goog-api-key": "The same, as Google's clients send it",
    "x-provider": "The provider that is to be asked: [routing](../README.md#routing)",
    "x-gateway-fallbacks": "Targets or routes for when the first fails, separated by commas: [routing](routing.md)",
    "x-gateway-cache": "What the call wants of the cache: [cache](cache.md)",
    "x-gateway-timeout": "Seconds for the whole call: [routing](routing.md)",
    "x-gateway-hops": "How many gateways a call came through, which these write: "
    "[providers](providers.md#a-gateway-behind-a-gateway)",
    "x-server-timeout": "The same, as Google's SDK sends it",
    "x-request-id": "The id of the request, if it is to be the caller's. Best begin it with the time, as the gateway's "
    "own begin: records are indexed by it, and random ones cost the database more",
    "x-project-id": "What the call is accounted to; goes no further, like the three below: [usage](usage.md)",
    "x-organization-id": "The organization; `x-organisation-id` is the same",
    "x-user-id": "The user",
    "x-experiment-id": "The experiment",
    "x-session-id": "The session, in records and for routes that keep sessions with one target: [routing](routing.md). "
    "`x-claude-code-session-id`, `session-id` and `session_id` are the same",
    "x-agent-id": "The agent, in records: [usage](usage.md). `x-claude-code-agent-id` is the same",
    "traceparent": "The caller's trace, with `tracestate`: [telemetry](telemetry.md)",
    "idempotency-key": "Goes on to the provider. For one with `idempotency_header` the gateway makes one where there "
    "is none: [routing](routing.md#sending-again-what-was-sent)",
    "x-aws-access-key-id": "A caller's own credential for Amazon Bedrock, with `x-aws-secret-access-key`, "
    "`x-aws-session-token` and `x-aws-region`: [providers](providers.md#amazon-bedrock)",
}

RESPONSE_HEADERS = {
    "x-request-id": "The id of the request, in the log and in the usage record. Every answer of the gateway has it",
    "request-id": "The same, where Anthropic's clients look for it",
    "retry-after": "Whole seconds after which the same may work",
    "retry-after-ms": "The same in milliseconds, where seconds would be too coarse",
    "x-should-retry": "`false` with errors that a repetition cannot heal, or not soon",
    "server-timing": "Milliseconds of the gateway, of the provider, and in the queue: [telemetry](telemetry.md)",
    "x-gateway-provider": "Who has answered",
    "x-gateway-model": "The model that was asked for there",
    "x-gateway-attempts": "How often the call was tried, with the first",
    "x-gateway-cache": "What the cache had: [cache](cache.md)",
    "age": "How many seconds old an answer of the cache is",
    "x-gateway-cost": "What the call cost, in dollars, of answers that are not streamed",
    "x-gateway-dropped-params": "What was left out, as the provider has no word for it: [translation](translation.md)",
    "x-gateway-estimated": "What was counted by the gateway, as the provider does not tell it",
    "x-gateway-limit-warning": "A budget that is nearly used up: [limits](limits.md)",
    "x-gateway-continuation": "`on` for a stream that another target may continue: [routing](routing.md)",
}

TREE_FORMATS = ("openai", "anthropic", "google", "bedrock_converse")


def write() -> str:
    """Write the page."""
    parts = [
        *(HEAD, CALLS, table(("Path", "What it gives", "Format of the errors"), *map(call_row, PATHS))),
        *(OWN_PATHS, table(("Path", "What it gives"), *own_rows())),
        *(REQUESTS, header_table(REQUEST_HEADERS)),
        *(ANSWERS, header_table(RESPONSE_HEADERS)),
        *(ERRORS, error_table()),
    ]
    return "\n".join(parts)


def header_table(meanings: Mapping[str, str]) -> str:
    """Write headers and what they mean."""
    return table(("Header", "Meaning"), *((code(name), text) for name, text in meanings.items()))


def error_table() -> str:
    """Write every error, by status and code."""
    head = ("Code", "Status", "OpenAI", "Anthropic", "Google", "Amazon", "Meaning", "Try again")
    # Of classes with the same code, the one that others are made of says what it means.
    by_code = {each.code: each for each in sorted(classes(), key=lambda each: -len(each.__mro__))}
    return table(head, *map(error_row, sorted(by_code.values(), key=lambda each: (each.status, str(each.code)))))


def call_row(path: str) -> tuple[str, str, str]:
    """Write a path of calls."""
    format = FORMATS[dialect_of(path, {}).name]
    by_googles_header = dialect_of(path, {b"x-goog-api-key": b""}) is not dialect_of(path, {})
    return code(path), PATHS[path], f"{format}; Google's with `x-goog-api-key`" if by_googles_header else format


def own_rows() -> Iterator[tuple[str, str]]:
    """Write the paths that are not calls, of the urls and the docstrings of their views."""
    for pattern in urls.urlpatterns:
        if pattern.name not in ("api", "metrics"):  # The latter is there with METRICS only.
            path, _, text = paragraphs(pattern.callback.__doc__).partition(": ")
            yield f"`GET` {path}", text[:1].upper() + text[1:]
    yield "`GET` `/metrics`", "For Prometheus, with `METRICS`: [telemetry](telemetry.md)"


def classes(base: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    """Find the errors that the gateway answers with by themselves."""
    for child in base.__subclasses__():
        if child.__module__ == errors.__name__ and child is not ProviderError:
            if vars(child).get("code"):  # Others are told as their parents are.
                yield child
            yield from classes(child)


def example(error: type[GatewayError]) -> GatewayError:
    """Make an error of a class."""
    if issubclass(error, LimitReached):
        return error("Too much.", limit="each key", measure="requests", amount=1, retry_after=1)
    return error("Something is wrong.")


def error_row(error: type[GatewayError]) -> tuple[str, ...]:
    """Write what an error is called in each format."""
    made = example(error)
    reply = refuse(made, DIALECTS["openai"], "req_1")
    may_be_tried = "no" if (b"x-should-retry", b"false") in reply.headers else "yes"
    statuses = sorted({status_of(made, DIALECTS[name]) for name in TREE_FORMATS})
    names = (code(name_in(name, made)) for name in TREE_FORMATS)
    meaning = paragraphs(error.__doc__).split("\n\n")[0]
    return (code(str(error.code)), " or ".join(map(str, statuses)), *names, meaning, may_be_tried)


def name_in(format: str, error: GatewayError) -> str:
    """Tell what a format calls an error."""
    dialect = DIALECTS[format]
    if format == "bedrock_converse":
        headers: Headers = dialect.error_headers(error)
        return dict(headers)[ERROR_TYPE_HEADER].decode()
    told = json.loads(dialect.write_error(error, "req_1"))["error"]
    return str(told["status" if format == "google" else "type"])


def documented_headers() -> set[str]:
    """Give every header of the page."""
    return {*REQUEST_HEADERS, *RESPONSE_HEADERS, "x-organisation-id"}


OWN = {name for name in (*cors.ALLOW_HEADERS, *cors.EXPOSE_HEADERS) if name.startswith("x-gateway-")}
"""The headers of the gateway's own invention that browsers may send and read."""
