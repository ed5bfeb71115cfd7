"""Azure OpenAI, with both of its URL styles.

The newer one, without `api_version`, is OpenAI's own API below `/openai/v1`: the model in the body is the name of a
deployment. The older one, with `api_version`, has the deployment in the path and the version in the query. Which paths
belong to a deployment is listed in the OpenAI SDK for Python (`openai/lib/azure.py`).

Claude models of the same resource are reached with `BACKEND` "anthropic" and the base URL
`https://{resource}.services.ai.azure.com/anthropic`.

Source: "Azure OpenAI API version lifecycle" and "Azure OpenAI REST API reference" of Microsoft Learn.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from ai_gateway.calls import BaseURL, Call
from ai_gateway.errors import ModelNotFound
from ai_gateway.protocols.segments import path_segment
from ai_gateway.providers.base import Auth, Provider, forwarded_query, with_query

RESOURCE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?", re.ASCII | re.IGNORECASE)
"""The name of a resource, which becomes a part of the host name."""

API_VERSION = re.compile(r"[a-z0-9-]{1,40}", re.ASCII)

DEPLOYMENT_PATHS = frozenset(
    (
        "/completions",
        "/chat/completions",
        "/embeddings",
        "/audio/transcriptions",
        "/audio/translations",
        "/audio/speech",
        "/images/generations",
        "/images/edits",
    )
)
"""The paths that are below a deployment in the older style. Every other one is directly below `/openai`."""


@dataclass(frozen=True, kw_only=True)
class AzureProvider(Provider):
    """Azure OpenAI. Needs the option `resource` or `base_url`; a bearer token is one of Microsoft Entra ID."""

    base_url: str = ""
    paths: tuple[tuple[str, str], ...] = (("/v1", "/openai/v1"),)
    auth: Auth = Auth.API_KEY
    accepts: frozenset[Auth] = frozenset((Auth.API_KEY, Auth.BEARER))
    dialects: frozenset[str] = frozenset(("openai_chat", "openai_responses"))
    endpoints: tuple[str, ...] = (
        "chat/completions",
        "responses",
        "completions",
        "embeddings",
        "images/generations",
        "images/edits",
        "audio/speech",
        "audio/transcriptions",
        "audio/translations",
        "files",
        "batches",
        "models",
        "realtime",
    )
    is_set_up: bool = False

    resource: str = ""
    """The name of the resource: `https://{resource}.openai.azure.com` is the base URL, unless one is given."""

    api_version: str = ""
    """A dated version such as "2024-10-21": chooses the older URL style."""

    deployments: tuple[tuple[str, str], ...] = ()
    """Deployments by model name, for the older style: `{"gpt-5-mini": "my-deployment"}`. A model that is not listed is
    the name of a deployment itself."""

    required_options: ClassVar[tuple[str, ...]] = ("resource", "api_version")

    def __post_init__(self) -> None:
        """Raise ValueError for a resource that cannot be a part of a host name, or a version that is none."""
        if self.resource and RESOURCE.fullmatch(self.resource) is None:
            raise ValueError(f"resource: {self.resource!r} is not the name of an Azure resource.")
        if self.api_version and API_VERSION.fullmatch(self.api_version) is None:
            raise ValueError(f"api_version: {self.api_version!r} is not a version like 2024-10-21.")

    @property
    def has_address(self) -> bool:
        """Whether it is known where the API is."""
        return bool(self.base_url or self.resource)

    @cached_property
    def base(self) -> BaseURL:
        """The base URL: the one given, with or without the `/openai/v1` that the portal shows, or the resource's."""
        base_url = self.base_url or f"https://{self.resource}.openai.azure.com"
        base_url = base_url.rstrip("/").removesuffix("/v1").removesuffix("/openai")
        return BaseURL.parse(base_url, allow_private=self.allow_private)

    def target(self, call: Call, model: str | None) -> bytes:
        """Write the request target, in the older style if a version is set."""
        if not self.api_version:
            return super().target(call, model)
        below = self.path(call.path).removeprefix(f"{self.base.prefix}/openai/v1")
        if call.dialect.is_session:
            return with_query(f"{self.base.prefix}/openai{below}", self.versioned(self.deployed(call, model)))
        if below in DEPLOYMENT_PATHS:
            below = f"/deployments/{self.deployment(model or call.model)}{below}"
        return with_query(f"{self.base.prefix}/openai{below}", self.versioned(forwarded_query(call.query)))

    def deployment(self, model: str | None) -> str:
        """Name the deployment of a model, as a path segment. Raises ModelNotFound without a model."""
        if not model:
            raise ModelNotFound(
                f"The provider {self.name!r} has the model in the path, and this request names none in a JSON body.",
                param="model",
            )
        return path_segment(dict(self.deployments).get(model, model))

    def deployed(self, call: Call, model: str | None) -> bytes:
        """Write the query of a realtime session in the older style, which has the deployment in it and not the model.
        Sessions that only transcribe name none."""
        pairs = [pair for pair in forwarded_query(call.query).split(b"&") if pair and not pair.startswith(b"model=")]
        named = [b"deployment=" + self.deployment(model or call.model).encode()] if model or call.model else []
        return b"&".join([*named, *pairs])

    def versioned(self, query: bytes) -> bytes:
        """Put the version into a query, in place of the caller's."""
        pairs = [pair for pair in query.split(b"&") if pair and not pair.startswith(b"api-version=")]
        return b"&".join((*pairs, b"api-version=" + self.api_version.encode("ascii")))
