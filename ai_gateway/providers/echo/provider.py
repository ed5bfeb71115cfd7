"""The provider itself: it reads the request to its end and lets the module of its API answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from ai_gateway.calls import Timeouts, UpstreamRequest, UpstreamResponse
from ai_gateway.errors import BadRequest, GatewayError, MethodNotAllowed, ModelNotFound, NotFound
from ai_gateway.protocols import dialect_of
from ai_gateway.protocols.realtime import PATH
from ai_gateway.providers.base import Auth, Provider
from ai_gateway.providers.echo import anthropic, gemini, openai, openai_chat, openai_responses
from ai_gateway.providers.echo.answers import EchoResponse, whole
from ai_gateway.providers.echo.prompt import Ask
from ai_gateway.providers.echo.realtime import EchoSocket

ANSWERS: Mapping[str, Callable[[Ask], EchoResponse]] = {
    "/v1/chat/completions": openai_chat.answer,
    "/v1/completions": openai_chat.answer_completion,
    "/v1/responses": openai_responses.answer,
    "/v1/messages": anthropic.answer,
    "/v1/messages/count_tokens": anthropic.count_tokens,
    "/v1/complete": anthropic.answer_completion,
    "/v1/embeddings": openai.embed,
    "/v1/moderations": openai.moderate,
    "/v1/images/generations": openai.draw,
    "/v1/images/edits": openai.draw,
    "/v1/images/variations": openai.draw,
    "/v1/audio/speech": openai.speak,
    "/v1/audio/transcriptions": openai.transcribe,
    "/v1/audio/translations": openai.transcribe,
}
"""What is answered to a POST, by its path."""


UPLOADS = ("/v1/images/edits", "/v1/images/variations", "/v1/audio/transcriptions", "/v1/audio/translations")
"""Paths whose body is a form, which nobody here looks into."""


@dataclass(frozen=True, kw_only=True)
class EchoProvider(Provider):
    """Repeats the caller's last words, one by one on a stream. Needs no key and no network, and is open to anybody.

    Token usage is an estimate: four characters of text are a token.
    """

    base_url: str = "http://echo.invalid"
    paths: tuple[tuple[str, str], ...] = (("/v1", "/v1"), ("/v1beta", "/v1beta"))
    auth: Auth = Auth.NONE
    dialects: frozenset[str] = frozenset(("openai_chat", "openai_responses", "anthropic_messages", "gemini"))
    endpoints: tuple[str, ...] = (*(path.removeprefix("/v1/") for path in ANSWERS), "models", "realtime")
    models: tuple[str, ...] = ("echo-1",)
    is_public: bool = True

    delay: float = 0.0
    """Seconds between two events of a stream."""

    async def send(self, request: UpstreamRequest, timeouts: Timeouts) -> UpstreamResponse:
        """Answer in memory. The request's body is read to its end first."""
        fields = dict(request.headers)
        path, _, query = request.target.decode("ascii").partition("?")
        try:
            body = await read_body(request, path)
            ask = Ask(
                method=request.method,
                path=path,
                query=dict(parse_qsl(query)),
                fields=fields,
                body=body,
                delay=self.delay,
            )
            if is_handshake(request, path):
                return EchoSocket(ask)
            return self.answer(ask)
        except GatewayError as error:
            dialect = dialect_of(path, fields)
            return whole(dialect.write_error(error, "req_echo"), status=error.status)

    def answer(self, ask: Ask) -> EchoResponse:
        """Find the answer to a request. Raises NotFound, ModelNotFound or MethodNotAllowed."""
        write = ANSWERS.get(ask.path)
        if write is not None:
            if ask.method != "POST":
                raise MethodNotAllowed(f"Send a POST request to {ask.path}.")
            return write(ask)
        section, _, name = ask.path.partition("/models")
        if section in ("/v1", "/v1beta") and (not name or name.startswith("/")):
            return self.answer_model(ask, section, unquote(name[1:]))
        raise NotFound(f"The echo provider has nothing at {ask.path}.")

    def answer_model(self, ask: Ask, section: str, name: str) -> EchoResponse:
        """Answer what is below `/models`: the list, one entry, or a method of Google's, behind a colon."""
        model, colon, method = name.rpartition(":")
        allowed = ("POST",) if colon else ("GET", "HEAD")
        if ask.method not in allowed:
            raise MethodNotAllowed(f"Send a {allowed[0]} request to {ask.path}.")
        if colon:
            if method not in gemini.METHODS:
                raise NotFound(f"The echo provider has no method {method[:64]!r}.")
            return gemini.answer(ask, model, method)
        writer: Any = gemini if section == "/v1beta" else openai
        if dialect_of(ask.path, ask.fields).family == "anthropic":
            writer = anthropic
        if not name:
            listed: EchoResponse = writer.list_models(self.models)
            return listed
        if name not in self.models:
            raise ModelNotFound(f"The model {name[:128]!r} does not exist.", param="model")
        shown: EchoResponse = writer.show_model(name)
        return shown


def is_handshake(request: UpstreamRequest, path: str) -> bool:
    """Whether a request is for a realtime session: a GET, which is for nothing else at this path."""
    return path == PATH and request.method == "GET"


async def read_body(request: UpstreamRequest, path: str) -> Mapping[str, Any]:
    """Read a request's body to its end and decode it. Raises BadRequest if it should be a JSON object and is none."""
    is_json = path not in UPLOADS
    if not isinstance(request.body, bytes):
        async for _ in request.body:
            pass  # An upload is not held in memory: nobody looks into it.
        if is_json and path in ANSWERS:
            raise BadRequest("The body is not a JSON object.")
        return {}
    if not is_json or not request.body:
        return {}
    try:
        return msgspec.json.decode(request.body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest("The body is not a JSON object.") from None
