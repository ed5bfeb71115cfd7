"""Every client of `catalogue.py`, feature by feature, on a provider of its own format and on one of another.

An ordinary run takes those clients that the tests' own environment has. `python -m tests.clients` installs and takes
all of them, and writes the tables of docs/clients.md from what it saw.
"""

from __future__ import annotations

import base64
import json
import re
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.clients.catalogue import FEATURES, Client, Format
from tests.clients.conftest import SPENT_KEY, TARGETS, StartModel
from tests.clients.errand import DOT
from tests.clients.fruit import ANSWER, PROMPT, TOOL, answer, ask_first, check_question, check_tools
from tests.clients.libraries import CLIENTS
from tests.clients.matrix import IS_WHOLE
from tests.clients.models.turns import Call, Seen, Turn
from tests.clients.packages import DRIVERS, ENVIRONMENTS, installed, pinned, python_environment
from tests.clients.program import Program
from tests.clients.sandbox import environment_of
from tests.conftest import GATEWAY_KEY
from tests.gateway_process import GatewayProcess
from tests.raw_client import RawClient
from tests.upstream import Exchange, Upstream, json_answer
from tests.wire.ledger_reader import new_request_id

IN_EVERY_RUN = {"OpenAI SDK (Python), chat.completions"}
"""What the tests' own environment has, and a run of all tests has the time for."""

PARSED = {"fruit": "pears", "count": 2}
SCHEMA = {
    "type": "object",
    "properties": {"fruit": {"type": "string"}, "count": {"type": "integer"}},
    "required": ["fruit", "count"],
    "additionalProperties": False,
}
TEXTS = ["pears", "figs"]
VECTORS = [[0.5, -0.25], [1.0, 0.125]]
EMBEDDING_MODELS: dict[Format, str] = {
    "openai_chat": "together/intfloat/multilingual-e5-large",
    "gemini": "gemini/gemini-embedding-001",
}
OTHER_EMBEDDING: dict[Format, Format] = {"openai_chat": "gemini", "gemini": "openai_chat"}
USAGE = [1000, 50]
"""What the scripted models say that an answer has used."""

IN_MID_ANSWER: dict[Format, int] = {"openai_chat": 3, "openai_responses": 6, "anthropic_messages": 3, "gemini": 3}
"""After how many events of a stream some of the answer has come, and not all."""

MOST_TRIES = 4
"""How often a client may ask for what fails: once, and three times more."""


def formats_of(client: Client, feature: str) -> tuple[Format, Format]:
    """The client's own format, and another."""
    return (client.format, OTHER_EMBEDDING[client.format] if feature == "embeddings" else client.other)


def cases(feature: str) -> Iterator[Any]:
    """Every client that has a feature, on both formats. The doors take turns, so that each client and each feature
    goes through both."""
    turn = count(list(FEATURES).index(feature))
    for client in CLIENTS:
        start = next(turn)
        if feature in client.lacks or not (IS_WHOLE or client.title in IN_EVERY_RUN):
            continue
        marks: list[Any] = [pytest.mark.shows(client.title, feature)]
        if feature in client.fails:
            marks.append(pytest.mark.xfail(reason=client.fails[feature]))
        formats = formats_of(client, feature) if IS_WHOLE else (formats_of(client, feature)[start % 2],)
        for place, format in enumerate(formats):
            door = ("direct", "django")[(start + place) % 2]
            yield pytest.param(door, client, format, marks=marks, id=f"{client.title}-{format}-{door}")


def with_each(feature: str) -> pytest.MarkDecorator:
    """Try a feature with every client that has it."""
    return pytest.mark.parametrize(("door", "client", "format"), [*cases(feature)])


@pytest.fixture(scope="session")
def drivers(
    cache: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory, _outside: Upstream
) -> Iterator[Callable[[Client], Program]]:
    """Start the clients' programs, each when it is wanted first, and again if it has ended."""
    running: dict[str, Program] = {}

    def start(client: Client) -> Program:
        if client.driver in running and running[client.driver].has_ended:
            running.pop(client.driver).stop()
        if client.driver not in running:
            folder = tmp_path_factory.mktemp("client")
            line = command(client, cache("environments"))
            running[client.driver] = Program(line, environment_of(folder, _outside), folder)
        return running[client.driver]

    yield start
    for program in running.values():
        program.stop()


def command(client: Client, place: Path) -> list[str]:
    """How a client's program is started."""
    if client.language == "JavaScript":
        folder = place / client.environment
        folder.mkdir(parents=True, exist_ok=True)
        modules = installed(folder, ENVIRONMENTS / f"{client.environment}.json")
        return [str(modules / ".bin" / "node"), str(folder / client.driver)]
    python = str(python_environment(place / client.environment, client.environment) / "python") if IS_WHOLE else ""
    return [python or sys.executable, str(DRIVERS / client.driver)]


class Ask:
    """Has a client do something, by way of a gateway."""

    def __init__(self, client: Client, program: Program, gateway: GatewayProcess) -> None:
        self.client = client
        self.program = program
        self._url = gateway.url

    def __call__(self, scenario: str, model: str, key: str = GATEWAY_KEY) -> Any:
        return self.program(
            {
                "api": self.client.api,
                "scenario": scenario,
                "url": self._url,
                "key": key,
                "model": model,
                "prompt": PROMPT,
                "tool": TOOL,
                "schema": SCHEMA,
                "image": base64.b64encode(DOT).decode(),
                "texts": TEXTS,
            }
        )


@pytest.fixture
def ask(
    client: Client, drivers: Callable[[Client], Program], gateway: GatewayProcess, outside: Upstream
) -> Iterator[Ask]:
    yield Ask(client, drivers(client), gateway)
    assert [f"{request.method} {request.target}" for request in outside.requests] == []


def reply(seen: Seen) -> Turn:
    """A model that answers in whichever way it is asked for: by its only tool, as the schema says, or in words."""
    if seen.tools:
        (name,) = seen.tools
        return Turn(calls=(Call(name=name, arguments=PARSED),))
    if has_schema(seen):
        return Turn(text=json.dumps(PARSED))
    return answer(seen)


def has_schema(seen: Seen) -> bool:
    """Whether a request has the schema somewhere, be it as text in the prompt."""
    return re.search(r"\bcount\b", json.dumps(seen.body)) is not None


def check_said(client: Client, said: Any) -> None:
    """Check that the client got the model's answer."""
    assert "error" not in said, said
    if "parsed" in said:
        assert said["parsed"] == PARSED
        return
    assert said["text"] == ANSWER
    if client.tells_usage:
        assert said["usage"] == USAGE


@with_each("answer")
def test_an_answer(ask: Ask, start_model: StartModel, client: Client, format: Format) -> None:
    model = start_model(format, reply)
    check_said(client, ask("answer", client.asks_for(format, TARGETS[format])))
    check_question(model)


@with_each("stream")
def test_a_stream(ask: Ask, start_model: StartModel, client: Client, format: Format) -> None:
    model = start_model(format, answer)
    said = ask("stream", client.asks_for(format, TARGETS[format]))
    if not client.counts_streams:
        said["usage"] = USAGE
    check_said(client, said)
    assert "".join(said["pieces"]) == ANSWER
    assert len(said["pieces"]) > 1
    assert model.only.streams
    check_question(model)


@with_each("tools")
def test_a_tool_loop(ask: Ask, start_model: StartModel, client: Client, format: Format) -> None:
    model = start_model(format, ask_first)
    said = ask("tools", client.asks_for(format, TARGETS[format]))
    assert said.get("text") == ANSWER, said
    check_tools(model, carries=client.carries, keeps_ids=client.keeps_ids)


@with_each("structured")
def test_structured_output(ask: Ask, start_model: StartModel, client: Client, format: Format) -> None:
    model = start_model(format, reply)
    said = ask("structured", client.asks_for(format, TARGETS[format]))
    assert said.get("parsed") == PARSED, said
    assert has_schema(model.only)


@with_each("image")
def test_an_image(ask: Ask, start_model: StartModel, client: Client, format: Format) -> None:
    model = start_model(format, reply)
    check_said(client, ask("image", client.asks_for(format, TARGETS[format])))
    # Google's SDK writes base64 as it is in URLs.
    sent = json.dumps(model.only.body).replace("_", "/").replace("-", "+")
    assert base64.b64encode(DOT).decode() in sent


async def embed(exchange: Exchange) -> None:
    """Answer a request for embeddings in either vendor's format."""
    await exchange.read_body()
    body, target = exchange.request.json(), exchange.request.target
    if target.endswith(":batchEmbedContents"):
        await json_answer({"embeddings": [{"values": vector} for vector in VECTORS]})(exchange)
        return
    assert target.endswith("/embeddings"), target
    assert body["input"] == TEXTS
    is_packed = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": packed(vector) if is_packed else vector}
        for index, vector in enumerate(VECTORS)
    ]
    usage = {"prompt_tokens": 2, "total_tokens": 2}
    await json_answer({"object": "list", "model": body["model"], "data": data, "usage": usage})(exchange)


def packed(vector: Iterable[float]) -> str:
    return base64.b64encode(b"".join(struct.pack("<f", number) for number in vector)).decode()


@with_each("embeddings")
def test_embeddings(ask: Ask, upstream: Upstream, client: Client, format: Format) -> None:
    upstream.answer(embed)
    said = ask("embeddings", EMBEDDING_MODELS[format])
    assert said.get("vectors") == VECTORS, said


@with_each("broken")
def test_a_stream_that_breaks(ask: Ask, start_model: StartModel, client: Client, format: Format) -> None:
    """No client takes what came so far for the whole answer."""
    model = start_model(format, answer)
    model.breaks_after = IN_MID_ANSWER[format]
    said = ask("stream", client.asks_for(format, TARGETS[format]))
    assert "error" in said, said
    assert said["error"] not in ("TypeError", "AttributeError", "IndexError", "KeyError"), said  # The driver's own.
    assert model.seen


@with_each("cancel")
def test_a_stream_that_is_left(
    ask: Ask, start_model: StartModel, upstream: Upstream, client: Client, format: Format
) -> None:
    """The provider is hung up on, though it has not said all."""
    start_model(format, answer).stalls_after = 6
    said = ask("cancel", client.asks_for(format, TARGETS[format]))
    assert said.get("text"), said
    assert ANSWER.startswith(said["text"])
    upstream.wait_for("the provider was hung up on", lambda: upstream.aborted == 1)


@with_each("wrong_key")
def test_a_wrong_key(ask: Ask, upstream: Upstream, client: Client, format: Format) -> None:
    said = ask("answer", client.asks_for(format, TARGETS[format]), "gw_wrong")
    assert said["status"] == 401, said
    assert upstream.requests == []


@with_each("rate_limit")
def test_a_provider_without_capacity(
    ask: Ask, start_model: StartModel, upstream: Upstream, client: Client, format: Format
) -> None:
    """The client is told when to come again, and does."""
    model = start_model(format, reply)
    upstream.answer(json_answer(TOO_MANY[format], 429, [("retry-after", "1")]), model)
    check_said(client, ask("answer", client.asks_for(format, TARGETS[format])))
    assert len(upstream.requests) == 2


TOO_MANY_OF_OPENAI = {"error": {"message": "Slower.", "type": "requests", "param": None, "code": "rate_limit_exceeded"}}
TOO_MANY: dict[Format, Any] = {
    "openai_chat": TOO_MANY_OF_OPENAI,
    "openai_responses": TOO_MANY_OF_OPENAI,
    "anthropic_messages": {"type": "error", "error": {"type": "rate_limit_error", "message": "Slower."}},
    "gemini": {"error": {"code": 429, "message": "Slower.", "status": "RESOURCE_EXHAUSTED"}},
}


@with_each("budget")
def test_a_budget_that_is_used_up(
    ask: Ask, upstream: Upstream, gateway: GatewayProcess, client: Client, format: Format
) -> None:
    """To ask again would not help, and the client knows."""
    start = len(gateway.log())
    said = ask("answer", client.asks_for(format, TARGETS[format]), SPENT_KEY)
    assert said["status"] == 429, said
    assert upstream.requests == []
    told = told_of(gateway, upstream, start)
    outcomes = ["outcome=limited" in line for line in told if "key=spent" in line]
    assert all(outcomes), told
    assert 1 <= len(outcomes) <= (1 if client.heeds else MOST_TRIES)


def told_of(gateway: GatewayProcess, upstream: Upstream, start: int) -> list[str]:
    """Give the log's lines of calls. They come in the order of the calls' ends: when one more is there, all are."""
    name = new_request_id()
    headers = [("authorization", f"Bearer {GATEWAY_KEY}"), ("content-type", "application/json"), ("x-request-id", name)]
    body = json.dumps({"model": "echo/echo", "messages": [{"role": "user", "content": "Hello"}]}).encode()
    raw = RawClient(gateway.port)
    assert raw.call("POST", "/v1/chat/completions", headers, body).status == 200
    raw.close()
    upstream.wait_for("the last call is told of", lambda: f"request_id={name}" in gateway.log()[start:])
    return [line for line in gateway.log()[start:].splitlines() if "request_id=" in line]


@with_each("failure")
def test_a_provider_that_fails(ask: Ask, upstream: Upstream, client: Client, format: Format) -> None:
    error = {"type": "api_error", "message": "The fruit is rotten.", "code": 500, "status": "INTERNAL"}
    upstream.answer(json_answer({"type": "error", "error": error}, 500))
    said = ask("answer", client.asks_for(format, TARGETS[format]))
    assert 500 <= said["status"] < 600, said
    assert "The fruit is rotten." in said["message"]
    assert len(upstream.requests) <= client.tries


@pytest.mark.skipif(not IS_WHOLE, reason="the tests' own environment has other versions")
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.title)
def test_the_version_is_the_one_that_is_told(client: Client, drivers: Callable[[Client], Program]) -> None:
    versions = drivers(client).versions
    assert versions.items() <= pinned(client.environment).items()
