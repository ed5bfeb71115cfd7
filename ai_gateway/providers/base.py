"""What a provider is: an address, a credential, headers and quirks. It builds a request and never sends one.

A provider that differs from others by facts alone is a row in `catalog.py`; a file beside this one exists only where
behaviour differs. Third parties subclass `Provider` and name it by dotted path in `AI_GATEWAY["PROVIDERS"]`.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property, lru_cache
from typing import Any, ClassVar, NamedTuple
from urllib.parse import unquote_to_bytes

from ai_gateway import cooldowns, loops
from ai_gateway.bodies import replace_model
from ai_gateway.bulkheads import Queue
from ai_gateway.calls import BaseURL, Call, Caller, Headers, Origin, Phases, UpstreamRequest, UpstreamResponse
from ai_gateway.credentials import Secret
from ai_gateway.errors import BadRequest, InvalidCredential, ProviderNotConfigured, UnsupportedDialect
from ai_gateway.uploads import Form


class Auth(Enum):
    """How a credential is carried. The value is the header's name."""

    BEARER = b"authorization"
    X_API_KEY = b"x-api-key"
    API_KEY = b"api-key"
    X_GOOG_API_KEY = b"x-goog-api-key"
    NONE = b""

    def header(self, credential: str) -> tuple[bytes, bytes]:
        """Write a credential as a header of this style."""
        value = credential.encode("latin-1")
        return (self.value, b"Bearer " + value if self is Auth.BEARER else value)


NOT_FORWARDED = frozenset(
    # Hop by hop (RFC 9110 7.6.1), and the framing that the transport writes itself.
    b"connection keep-alive proxy-connection proxy-authenticate te trailer transfer-encoding upgrade http2-settings "
    b"host content-length expect accept-encoding "
    # What makes another request of it than the one that was looked at.
    b"x-http-method-override x-http-method x-method-override "
    # The caller's relation to this site.
    b"cookie forwarded via x-real-ip x-client-ip true-client-ip cf-connecting-ip origin referer "
    # The gateway's own.
    b"x-provider x-request-id request-id x-project-id x-organization-id x-organisation-id x-user-id x-experiment-id "
    # Credentials of every dialect: the one that the provider needs is set afterwards.
    b"authorization proxy-authorization x-api-key api-key x-goog-api-key x-litellm-api-key x-portkey-api-key "
    b"x-magicapi-api-key ocp-apim-subscription-key x-aws-access-key-id x-aws-secret-access-key x-aws-session-token "
    b"x-aws-region".split()
)
"""Request headers that never reach a provider. Every other one does, known or not: clients and providers pair new
headers with new body fields every month, and half a pair is an error."""

NOT_FORWARDED_PREFIXES = (b"x-forwarded-", b"x-gateway-", b"sec-", b"proxy-")

ACCOUNT = frozenset((b"openai-organization", b"openai-project", b"x-goog-user-project"))
"""Request headers that say on whose account within the credential's own a call is. With a stored credential that is the
operator's to say."""

NEGOTIATED = frozenset((b"anthropic-version", b"anthropic-beta", b"openai-beta", b"user-agent", b"accept"))
"""Request headers that go with the caller's body, or its program, whatever a provider has for those who send none."""

NONE_FIXED: frozenset[bytes] = frozenset()

NOT_ENCODED = (b"accept-encoding", b"identity")
"""Asked of every provider: the gateway reads what passes, and a caller gets what the provider sends."""

_TARGET = re.compile(rb"/[!\"$-~]*")
"""A request target: ASCII that can be seen, without a fragment."""

_DOTS = re.compile(rb"/\.{1,2}(?:/|\Z)")

MAX_TARGETS = 256
"""Request targets that a provider remembers. The paths of a caller who makes them up are not worth remembering."""

CREDENTIAL_PARAMETERS = frozenset(("key", "api_key", "api-key", "apikey", "access_token", "oauth_token"))
"""Query parameters that carry credentials somewhere, at Google with a `$` in front: they would end up in log files, so
they are not passed on."""

REWRITING_PARAMETERS = frozenset(("$httpmethod", "$httpheaders", "$ct", "$req"))
"""Query parameters in which Google's servers find another method, headers, type and body than the request has, so that
it would not be the one that was looked at."""


PREFERENCE = ("openai_chat", "anthropic_messages", "gemini", "bedrock_converse", "openai_responses")
"""Which format a provider of several is best reached by: what it has had for longest is what works best."""


class Credential(NamedTuple):
    """One of the credentials that a provider is called with."""

    name: str
    secret: Secret
    weight: int = 1
    """Its share of the calls, in proportion to the weights of the others."""


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One provider, ready to be called. Fields are facts; the methods are what a subclass may need to do otherwise."""

    name: str
    """The alias by which callers name it."""

    label: str = ""
    """The name for people."""

    row: str = ""
    """The name of the catalogue's row that it was made of, by which the capabilities of its models are known."""

    home: str = ""
    """The base URL of a vendor's own that its row has."""

    base_url: str
    """Where its API is, without a slash at the end, as its own documentation writes it."""

    paths: tuple[tuple[str, str], ...] = (("/v1", ""),)
    """What the gateway's path becomes behind the base URL: pairs of prefixes, the first that fits is exchanged.
    The default suits a base URL that ends in `/v1`."""

    host_paths: tuple[tuple[str, str], ...] = ()
    """The same for what is on its host but not below the base URL, such as an Anthropic-compatible API beside the
    OpenAI-compatible one. These pairs come first, and what they give is a path from the root of the host."""

    auth: Auth = Auth.BEARER
    """How its credential is sent."""

    accepts: frozenset[Auth] = frozenset((Auth.BEARER,))
    """The styles it understands: a caller's own credential stays in the header it came in if that is one of them."""

    dialects: frozenset[str] = frozenset(("openai_chat",))
    """The wire formats for generation that it speaks. Calls in others are refused; paths of no such format are not
    asked."""

    endpoints: tuple[str, ...] = ("chat/completions", "models")
    """The paths below `/v1/` that its documentation names. A fact, not a fence: any other path is carried through, too.
    Who asks for a count of tokens or for embeddings in another format is translated to what stands here."""

    headers: tuple[tuple[str, str], ...] = ()
    """Headers set on every request. A caller with a credential of its own may send others, and anybody those that go
    with its body (NEGOTIATED)."""

    models: tuple[str, ...] = ()
    """Models to list besides those that the provider lists itself."""

    lists_models: bool = True
    """Whether `GET models` answers with a list of the provider's models."""

    models_path: str = "/v1/models"
    """Which of the gateway's paths leads to that list, with a query if it needs one to be whole."""

    passthrough: bool = True
    """Whether a caller without a gateway key may reach it with a credential of its own. False for what runs on the
    operator's own machines."""

    is_public: bool = False
    """Whether it may be called by anyone, with no key at all."""

    allow_private: bool = False
    """Whether its host may resolve to a private or loopback address."""

    is_set_up: bool = True
    """Whether it can be called as it is. False for rows that lead to the operator's own machines or lack a part of
    their address: those wait until the operator names them in the settings."""

    api_key: Secret | None = field(default=None, repr=False)
    """The credential that callers with a gateway key are served with."""

    credentials: tuple[Credential, ...] = field(default=(), repr=False)
    """If there is more than one stored credential, all of them; `api_key` is then one of these."""

    timeouts: Phases = ()
    """Its own timeouts, of the phases in which they are not the site's."""

    max_concurrency: int | None = None
    """How many calls it takes at once; None for no limit."""

    queue: Queue | None = None
    """How many calls more may wait until it takes one, if there is no other target; None for none."""

    finish_within: float = 0.0
    """For how many seconds an answer is read on after its caller has hung up, to learn what it used: for providers that
    bill all of it anyway. 0: it is not, and the provider is hung up on."""

    idempotency_header: str = ""
    """The header with a key by which it knows a request that it had before, so that the work is done once. For those
    whose documentation promises that. Empty: it does not."""

    required_options: ClassVar[tuple[str, ...]] = ()
    """Options that say which account or place of the provider is meant, for example a resource name that is part of
    the URL. They can be set by environment variables, like the credential and the base URL."""

    send: ClassVar[Callable[..., Coroutine[Any, Any, UpstreamResponse]] | None] = None
    """How to reach it if not through the site's transport: `async (self, request, timeouts) -> UpstreamResponse`."""

    @cached_property
    def base(self) -> BaseURL:
        """The base URL, parsed once."""
        return BaseURL.parse(self.base_url, allow_private=self.allow_private)

    @property
    def has_address(self) -> bool:
        """Whether it is known where the API is: not so of rows whose address the operator has to give."""
        return bool(self.base_url)

    @cached_property
    def formats(self) -> tuple[str, ...]:
        """The formats that a call can be translated to, the best first, where the model's capabilities name none."""
        return tuple(name for name in PREFERENCE if name in self.dialects)

    @property
    def is_configured(self) -> bool:
        """Whether callers with a gateway key can be served."""
        return self.is_set_up and (self.api_key is not None or self.auth is Auth.NONE)

    @cached_property
    def counts_hops(self) -> bool:
        """Whether it may be a gateway, so that it is told how many a call came through: where the operator gave an
        address, or made the provider."""
        return self.base_url != self.home

    def with_options(self, options: Mapping[str, Any]) -> Provider:
        """Copy this provider with other values for some of its fields. Raises TypeError for an unknown field."""
        return replace(self, **options)

    def check_dialect(self, call: Call) -> None:
        """Raise UnsupportedDialect if the call is written in a format for generation that this provider does not
        speak."""
        if call.dialect.is_generation and call.dialect.name not in self.dialects:
            spoken = ", ".join(sorted(self.dialects)) or "none that generates text"
            raise UnsupportedDialect(
                f"The provider {self.name!r} does not speak {call.dialect.name} ({call.path}). It speaks: {spoken}."
            )

    def build(self, call: Call, caller: Caller, model: str | None) -> UpstreamRequest:
        """Write the request for this provider. `model` replaces the caller's model name if it differs.

        Raises ProviderNotConfigured, InvalidCredential, UnsupportedDialect, ModelNotFound or BadRequest.
        """
        if not self.is_set_up:
            raise self.not_configured("is not set up in this gateway", {"base_url": "https://..."})
        self.check_dialect(call)
        body, target = self.body(call, model), self.target(call, model)
        check_target(target)
        return UpstreamRequest(
            method=call.method,
            origin=self.origin(call, caller),
            target=target,
            headers=self.write_headers(call, caller),
            body=body,
            body_length=None if isinstance(body, bytes) else upload_length(call, body),
        )

    def origin(self, call: Call, caller: Caller) -> Origin:
        """Tell which host is called, for providers that have more than one."""
        return self.base.origin

    def body(self, call: Call, model: str | None) -> bytes | AsyncIterator[bytes]:
        """Give the request body: the caller's, with another model name where one is asked for."""
        if call.model is not None and model is not None and model != call.model:
            if isinstance(call.body, bytes):
                return replace_model(call.body, model, call.reading)
            if isinstance(call.body, Form):
                return call.body.renamed(model)
        return call.body

    def target(self, call: Call, model: str | None) -> bytes:
        """Write the request target: the path by this provider's rules, and the caller's query."""
        if call.query:
            return with_query(self.path(call.path), forwarded_query(call.query))
        known = self._targets.get(call.path)
        if known is None:
            known = with_query(self.path(call.path), b"")
            if len(self._targets) < MAX_TARGETS:
                self._targets[call.path] = known
        return known

    @cached_property
    def _targets(self) -> dict[str, bytes]:
        """Targets by path, for the few paths that most calls ask for."""
        return {}

    def path(self, path: str) -> str:
        """Exchange the prefix of a gateway path for this provider's. Raises UnsupportedDialect where no rule fits."""
        found = exchange_prefix(path, self.host_paths)
        if found is not None:
            return found
        below = exchange_prefix(path, self.paths)
        if below is None:
            raise UnsupportedDialect(f"The provider {self.name!r} has nothing at {path}.")
        return self.base.prefix + below

    def write_headers(self, call: Call, caller: Caller) -> Headers:
        """Write the request headers: the caller's that may pass, this provider's own, and the credential."""
        headers = forwarded_headers(call)
        fixed = self._fixed_headers if caller.is_authenticated else NONE_FIXED
        if not fixed.isdisjoint(call.fields):
            headers = [header for header in headers if header[0] not in fixed]
        for header in self._own_headers:
            if header[0] in fixed or header[0] not in call.fields:
                headers.append(header)
        headers.append(NOT_ENCODED)
        if self.counts_hops:
            headers.append(loops.WRITTEN[call.hops])
        headers.extend(self.authorize(call, caller))
        return headers

    @cached_property
    def _own_headers(self) -> Headers:
        return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers]

    @cached_property
    def _fixed_headers(self) -> frozenset[bytes]:
        """Names of headers that a holder of a gateway key does not choose: what the operator has written, and whose
        account it is."""
        return ACCOUNT | {name for name, _ in self._own_headers} - NEGOTIATED

    def authorize(self, call: Call, caller: Caller) -> Headers:
        """Choose the credential: the stored one for a holder of a gateway key, else the caller's own."""
        if self.auth is Auth.NONE:
            return []
        if caller.is_authenticated:
            return [self.stored_credential(call)]
        if caller.credential is None:
            raise InvalidCredential(
                f"No credential. Send a gateway key, or your own key for {self.name!r} in the authorization header."
            )
        return [self.accepted_form(call, *caller.credential)]

    def stored_credential(self, call: Call) -> tuple[bytes, bytes]:
        """Write the stored credential as a header. Raises ProviderNotConfigured if there is none."""
        if self.api_key is None:
            what = f"{self.how_come(call)}has no credential in this gateway"
            raise self.not_configured(what, {"api_key": "env:..."})
        auth = self.auth_of(call)
        if len(self.credentials) > 1:
            usable = cooldowns.usable(self.name, self.credentials)
            weights = [credential.weight for credential in usable]
            return auth.header(random.choices(usable, weights)[0].secret.reveal())
        return self._usual_credential if auth is self.auth else auth.header(self.api_key.reveal())

    def how_come(self, call: Call) -> str:
        """Say which model led here, if the call does not name this provider: one that is misspelt leads to the default
        one."""
        model = call.model
        is_named = b"x-provider" in call.fields or model is None or model.lower().startswith(f"{self.name}/")
        return "" if is_named else f"that the model {model!r} leads to "

    def credential_in(self, request: UpstreamRequest) -> str | None:
        """Name the credential, of several, that a request carries. None if there is but one, or it is the caller's."""
        if len(self.credentials) < 2:
            return None
        values = {value for _, value in request.headers}
        for credential in self.credentials:
            secret = credential.secret.reveal().encode("latin-1")
            if secret in values or b"Bearer " + secret in values:
                return credential.name
        return None

    @cached_property
    def _usual_credential(self) -> tuple[bytes, bytes]:
        return self.auth.header(self.api_key.reveal() if self.api_key is not None else "")

    def accepted_form(self, call: Call, name: bytes, value: bytes) -> tuple[bytes, bytes]:
        """Write a caller's own credential in a style that this provider accepts: as it came, if that is one."""
        if any(style.value == name for style in self.accepts):
            return (name, value)
        return self.auth_of(call).header(bare_credential(name, value))

    def auth_of(self, call: Call) -> Auth:
        """Tell how the credential is sent with this call, for providers with which that depends on the path."""
        return self.auth

    def not_configured(self, what: str, options: Mapping[str, str]) -> ProviderNotConfigured:
        """Make the error for a caller of a provider that lacks something, and say to the operator what to write."""
        entry = json.dumps({"OPTIONS": dict(options)})
        return ProviderNotConfigured(
            f"The provider {self.name!r} {what}. The operator can put that right in the admin, or set "
            f'AI_GATEWAY["PROVIDERS"] = {{"{self.name}": {entry}}}.'
        )


def exchange_prefix(path: str, rules: tuple[tuple[str, str], ...]) -> str | None:
    """Exchange the first prefix that fits. It fits where a segment, or the name of a model before a colon, ends."""
    for prefix, replacement in rules:
        if path == prefix or (path.startswith(prefix) and path[len(prefix)] in "/:"):
            return replacement + path[len(prefix) :]
    return None


def with_query(path: str, query: bytes) -> bytes:
    """Join a path and a query, either of which may be empty, into a request target."""
    return (path or "/").encode("ascii") + (b"?" + query if query else b"")


def bare_credential(name: bytes, value: bytes) -> str:
    """Take the credential itself out of a header's value."""
    bare = value[7:] if name == b"authorization" and value[:7].lower() == b"bearer " else value
    return bare.strip().decode("latin-1")


def check_target(target: bytes) -> None:
    """Raise BadRequest for what is no request target, or would leave the path that it is below. Nothing should come
    here that is not; of whatever makes a mistake before, a provider must see nothing."""
    if _TARGET.fullmatch(target) is None or (b"/." in target and _DOTS.search(target.partition(b"?")[0]) is not None):
        raise BadRequest("The path, or the name of the model in it, cannot be sent to a provider.")


def upload_length(call: Call, body: AsyncIterator[bytes]) -> int | None:
    """Tell the length of an upload: the caller's content-length, and what another name of the model adds to it. None if
    it came in chunks: what a length says beside these counts for nothing."""
    value = call.fields.get(b"content-length")
    if value is None or not value.isdigit() or b"transfer-encoding" in call.fields:
        return None
    longer = body.longer_than(call.body) if isinstance(body, Form) and isinstance(call.body, Form) else 0
    return int(value) + longer


def forwarded_headers(call: Call) -> Headers:
    """Select the caller's headers that go on to a provider."""
    headers = [header for header in call.headers if is_forwarded(header[0])]
    connection = call.fields.get(b"connection")
    if connection is not None and len(call.fields) != len(call.headers):  # There may be several lines of it.
        connection = b",".join(value for name, value in call.headers if name == b"connection")
    if connection is not None and connection not in (b"keep-alive", b"close"):
        dropped = {name.strip().lower() for name in connection.split(b",")}
        headers = [header for header in headers if header[0] not in dropped]
    return headers


@lru_cache(maxsize=1024)
def is_forwarded(name: bytes) -> bool:
    """Whether a header of a caller goes on, by its name. Remembered, because all callers send the same few."""
    # A name with an underscore is taken by some servers for the one with a dash, past every filter on the way.
    return name not in NOT_FORWARDED and b"_" not in name and not name.startswith(NOT_FORWARDED_PREFIXES)


def forwarded_query(query: bytes) -> bytes:
    """Take credentials, and what makes another request of it, out of a query string; leave the rest as it was
    written."""
    lowered = query.lower()
    if not any(sign in lowered for sign in (b"key", b"token", b"%", b"$")):
        return query
    return b"&".join(pair for pair in query.split(b"&") if not _is_kept_back(pair))


def _is_kept_back(pair: bytes) -> bool:
    name = unquote_to_bytes(pair.partition(b"=")[0]).decode("latin-1").lower()
    return name.lstrip("$") in CREDENTIAL_PARAMETERS or name in REWRITING_PARAMETERS
