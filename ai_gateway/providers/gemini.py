"""Google's Gemini API: two APIs on one host, which want the same key in different headers.

The native API is below `/v1beta` and reads `x-goog-api-key`; the OpenAI-compatible one is below `/v1beta/openai` and
reads a bearer token. The path of a call decides which of the two is meant.

Source: "Gemini API reference" and "OpenAI compatibility" of Google's AI for Developers documentation.
"""

from __future__ import annotations

from dataclasses import dataclass

from ai_gateway.calls import Call
from ai_gateway.providers.base import Auth, Provider, bare_credential

NATIVE = "/v1beta"
COMPATIBLE = "/v1beta/openai"


@dataclass(frozen=True, kw_only=True)
class GeminiProvider(Provider):
    """Gemini. A caller's key is put into the header that the path needs, whichever it came in."""

    base_url: str = "https://generativelanguage.googleapis.com"
    paths: tuple[tuple[str, str], ...] = ((NATIVE, NATIVE), ("/v1", COMPATIBLE))
    auth: Auth = Auth.X_GOOG_API_KEY
    accepts: frozenset[Auth] = frozenset((Auth.X_GOOG_API_KEY, Auth.BEARER))
    dialects: frozenset[str] = frozenset(("gemini", "openai_chat"))
    endpoints: tuple[str, ...] = ("chat/completions", "embeddings", "images/generations", "models")
    models_path: str = f"{NATIVE}/models?pageSize=1000"

    def path(self, path: str) -> str:
        """Exchange the prefix. Google's SDK asks a base URL of its user's for `/v1/models/{model}:generateContent`."""
        if is_native(path):
            path = NATIVE + path.removeprefix(NATIVE).removeprefix("/v1")
        return super().path(path)

    def auth_of(self, call: Call) -> Auth:
        """Tell the header: Google's own for the native API, else a bearer token."""
        return Auth.X_GOOG_API_KEY if is_native(call.path) else Auth.BEARER

    def accepted_form(self, call: Call, name: bytes, value: bytes) -> tuple[bytes, bytes]:
        """Write the caller's own key in the header that this path reads; it reads no other."""
        style = self.auth_of(call)
        return (name, value) if name == style.value else style.header(bare_credential(name, value))


def is_native(path: str) -> bool:
    """Whether a gateway path is one of the native API: below `/v1beta`, or a model with a method after a colon."""
    is_compatible = path.startswith(COMPATIBLE + "/")
    return not is_compatible and (path.startswith(NATIVE + "/") or ":" in path.rpartition("/")[2])
