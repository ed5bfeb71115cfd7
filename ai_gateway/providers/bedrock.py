"""Amazon Bedrock: an OpenAI-compatible, an Anthropic-compatible and a native API on one host per region.

    /v1/chat/completions, /v1/responses        -> /openai/v1/...
    /v1/messages                               -> /anthropic/v1/messages
    /v1/model/{id}/converse, .../invoke, ...   -> /model/{id}/...

A credential is either a Bedrock API key, sent as a bearer token, or a pair of AWS access keys that signs each request
(Signature Version 4). Whoever is passed through may bring the pair along in the headers `x-aws-access-key-id`,
`x-aws-secret-access-key`, `x-aws-session-token` and `x-aws-region`; they are never forwarded. Signing needs the extra
`bedrock`, which is botocore.

Source: "Chat Completions API", "Responses API", "Messages API" and "Amazon Bedrock API keys" in the Amazon Bedrock User
Guide, "InvokeModel" and "Converse" in its API reference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, NamedTuple
from urllib.parse import quote, unquote

from ai_gateway.calls import BaseURL, Call, Caller, Headers, Origin, UpstreamRequest
from ai_gateway.credentials import Secret
from ai_gateway.errors import BadRequest, InvalidCredential, ProviderNotConfigured
from ai_gateway.providers.base import Provider

REGION = re.compile(r"[a-z]{2,5}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}", re.ASCII)
"""The name of a region, such as us-east-1 or us-gov-west-1. It becomes a part of a host name: nothing else will do."""

CREDENTIAL_CHARACTERS = re.compile(rb"[!-~]{1,4096}")

SIGNED_ANEW = frozenset((b"x-amz-date", b"x-amz-security-token", b"x-amz-content-sha256"))
"""Headers of a signature that a caller made for another host: they would contradict the new one."""

SIGNED = frozenset((b"content-type",))
"""Headers that the signature covers, besides the host and its own. Others may be changed on the way by a proxy."""

SERVICE = "bedrock"
"""The name of the service in a signature."""


class AccessKeys(NamedTuple):
    """What a request is signed with."""

    key_id: str
    secret: Secret
    token: Secret | None
    region: str


MODEL_PATH = re.compile(r"/v1/model/(.+)/([a-z-]+)")
"""A path that names a model, and what is asked of it."""


@dataclass(frozen=True, kw_only=True)
class BedrockProvider(Provider):
    """Bedrock. The option `api_key` is a Bedrock API key; `access_key_id` and `secret_access_key` sign instead."""

    base_url: str = ""
    paths: tuple[tuple[str, str], ...] = (
        ("/v1/model", "/model"),
        ("/v1/async-invoke", "/async-invoke"),
        ("/v1/guardrail", "/guardrail"),
        ("/v1/messages", "/anthropic/v1/messages"),
        ("/v1", "/openai/v1"),
    )
    dialects: frozenset[str] = frozenset(("bedrock_converse", "openai_chat", "openai_responses", "anthropic_messages"))
    endpoints: tuple[str, ...] = (
        "chat/completions",
        "responses",
        "messages",
        "model/{id}/converse",
        "model/{id}/converse-stream",
        "model/{id}/invoke",
        "model/{id}/invoke-with-response-stream",
    )
    headers: tuple[tuple[str, str], ...] = (("anthropic-version", "2023-06-01"),)
    lists_models: bool = False

    region: str = "us-east-1"
    """The region that is called, unless a caller with a credential of its own names another."""

    access_key_id: Secret | None = field(default=None, repr=False)
    """The stored access key, which callers with a gateway key are served with if there is no `api_key`."""

    secret_access_key: Secret | None = field(default=None, repr=False)
    """The secret that belongs to `access_key_id`."""

    session_token: Secret | None = field(default=None, repr=False)
    """The session token of temporary access keys."""

    required_options: ClassVar[tuple[str, ...]] = ("region",)

    def __post_init__(self) -> None:
        """Raise ValueError for a region that is none."""
        if REGION.fullmatch(self.region) is None:
            raise ValueError(f"region: {self.region!r} is not the name of an AWS region.")

    @property
    def has_address(self) -> bool:
        """The region gives the address."""
        return True

    @cached_property
    def base(self) -> BaseURL:
        """The base URL: the one given (a VPC endpoint, for example), or that of the region."""
        return self.base_in(self.region)

    def base_in(self, region: str) -> BaseURL:
        """Give the base URL for a region. One that the operator gave is the same for all regions."""
        base_url = self.base_url or f"https://bedrock-runtime.{region}.amazonaws.com"
        return BaseURL.parse(base_url, allow_private=self.allow_private)

    @property
    def is_configured(self) -> bool:
        """Whether callers with a gateway key can be served: by an API key, or by signing."""
        return self.is_set_up and (self.api_key is not None or self.access_keys is not None)

    @property
    def access_keys(self) -> AccessKeys | None:
        """The stored pair of keys, if it is complete."""
        if self.access_key_id is None or self.secret_access_key is None:
            return None
        return AccessKeys(self.access_key_id.reveal(), self.secret_access_key, self.session_token, self.region)

    def build(self, call: Call, caller: Caller, model: str | None) -> UpstreamRequest:
        """Write the request, and sign it if the credential is a pair of access keys.

        Raises BadRequest, besides what every provider does, for an upload that would have to be signed.
        """
        request = super().build(call, caller, model)
        keys = self.signing_keys(call, caller)
        return request if keys is None else signed(request, keys)

    def origin(self, call: Call, caller: Caller) -> Origin:
        """Tell the region's host. A stored credential is used in its own region only, whatever a caller names."""
        return self.base.origin if caller.is_authenticated else self.base_in(self.region_of(call)).origin

    def path(self, path: str) -> str:
        """Exchange the prefix. Colons and slashes in a model's id, which may be the ARN of a profile, are written as
        Amazon's own clients do, which they sign."""
        found = MODEL_PATH.fullmatch(path)
        if found is not None:
            path = f"/v1/model/{quote(unquote(found[1]), safe='')}/{found[2]}"
        return super().path(path).replace(":", "%3A")

    def authorize(self, call: Call, caller: Caller) -> Headers:
        """Write the bearer token; none where the request is signed once it is complete."""
        return [] if self.signing_keys(call, caller) is not None else super().authorize(call, caller)

    def region_of(self, call: Call) -> str:
        """Read the region that a caller names. Raises BadRequest for anything that is no region's name."""
        value = call.fields.get(b"x-aws-region")
        if value is None:
            return self.region
        region = value.decode("latin-1")
        if REGION.fullmatch(region) is None:
            raise BadRequest("The header x-aws-region has no name of an AWS region.", param="x-aws-region")
        return region

    def signing_keys(self, call: Call, caller: Caller) -> AccessKeys | None:
        """Choose what to sign with: the stored pair for a holder of a gateway key, else the caller's own. None: the
        request carries a bearer token."""
        if caller.is_authenticated:
            return self.access_keys if self.api_key is None else None
        if b"x-aws-access-key-id" not in call.fields:
            return None
        token = call.fields.get(b"x-aws-session-token")
        return AccessKeys(
            credential_header(call, b"x-aws-access-key-id"),
            Secret(credential_header(call, b"x-aws-secret-access-key")),
            Secret(credential_header(call, b"x-aws-session-token")) if token else None,
            self.region_of(call),
        )


def credential_header(call: Call, name: bytes) -> str:
    """Read a header that holds a part of a credential. Raises InvalidCredential if it is missing or malformed."""
    value = call.fields.get(name, b"")
    if CREDENTIAL_CHARACTERS.fullmatch(value) is None:
        raise InvalidCredential(f"The header {name.decode()} is missing or malformed. Send all x-aws-* headers.")
    return value.decode("ascii")


def signed(request: UpstreamRequest, keys: AccessKeys) -> UpstreamRequest:
    """Copy a request with a signature. Raises BadRequest for a body that is not held whole."""
    if not isinstance(request.body, bytes):
        raise BadRequest("A request that is signed for AWS must have a JSON body: uploads are not held in memory.")
    headers = [header for header in request.headers if header[0] not in SIGNED_ANEW]
    return UpstreamRequest(
        method=request.method,
        origin=request.origin,
        target=request.target,
        headers=[*headers, *signature(request, request.body, keys)],
        body=request.body,
        body_length=request.body_length,
    )


def signature(request: UpstreamRequest, body: bytes, keys: AccessKeys) -> Headers:
    """Let botocore sign a request: the method, the host, the target, the content type and the body."""
    try:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials
    except ImportError as error:
        raise ProviderNotConfigured(
            'Signing requests for AWS needs botocore: the operator can install "django-ai-gateway[bedrock]".'
        ) from error
    origin = request.origin
    url = f"{origin.scheme}://{origin.host_header.decode()}{request.target.decode()}"
    headers = {name.decode(): value.decode("latin-1") for name, value in request.headers if name in SIGNED}
    aws_request = AWSRequest(method=request.method, url=url, data=body, headers=headers)
    token = keys.token.reveal() if keys.token is not None else None
    SigV4Auth(Credentials(keys.key_id, keys.secret.reveal(), token), SERVICE, keys.region).add_auth(aws_request)
    written = {name.lower(): value for name, value in aws_request.headers.items()}
    names = ("authorization", "x-amz-date", "x-amz-security-token")
    return [(name.encode(), written[name].encode("latin-1")) for name in names if name in written]
