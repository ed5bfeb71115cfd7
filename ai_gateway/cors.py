"""Headers that browsers must be allowed to send to a gateway, and to read from it.

django-cors-headers permits neither the credential headers of the AI APIs nor what their JavaScript SDKs add to each
request, and a preflight that asks for one header too many fails as a whole. So in settings:

    CORS_ALLOW_HEADERS = ai_gateway.cors.ALLOW_HEADERS
    CORS_EXPOSE_HEADERS = ai_gateway.cors.EXPOSE_HEADERS

Importable inside a settings module. Names are in lower case, as HTTP/2 and the fetch standard write them.
"""

from __future__ import annotations

ALLOW_HEADERS = (
    # What django-cors-headers allows by itself (`corsheaders.defaults.default_headers`).
    "accept",
    "authorization",
    "content-type",
    "user-agent",
    "x-csrftoken",
    "x-requested-with",
    # Credentials, in the style of each dialect.
    "api-key",
    "x-api-key",
    "x-goog-api-key",
    "x-goog-api-client",
    "x-server-timeout",
    # The gateway's own: which provider, how long it may take, whether a kept answer will do, and whose call it is.
    "x-provider",
    "x-gateway-cache",
    "x-gateway-fallbacks",
    "x-gateway-timeout",
    "x-request-id",
    "x-project-id",
    "x-organization-id",
    "x-organisation-id",
    "x-user-id",
    "x-experiment-id",
    "x-session-id",
    "x-agent-id",
    # Whose trace it is.
    "traceparent",
    "tracestate",
    # Anthropic.
    "anthropic-version",
    "anthropic-beta",
    "anthropic-dangerous-direct-browser-access",
    "anthropic-user-profile-id",
    "anthropic-workspace-id",
    # OpenAI.
    "openai-beta",
    "openai-organization",
    "openai-project",
    "x-client-request-id",
    # Both.
    "idempotency-key",
    # The SDKs that are generated with Stainless: on every request, and on requests of their convenience methods.
    "x-stainless-arch",
    "x-stainless-async",
    "x-stainless-custom-event-handler",
    "x-stainless-custom-poll-interval",
    "x-stainless-helper",
    "x-stainless-helper-method",
    "x-stainless-lang",
    "x-stainless-os",
    "x-stainless-package-version",
    "x-stainless-poll-helper",
    "x-stainless-raw-response",
    "x-stainless-read-timeout",
    "x-stainless-retry-count",
    "x-stainless-runtime",
    "x-stainless-runtime-version",
    "x-stainless-stream-helper",
    "x-stainless-timeout",
)
"""For `CORS_ALLOW_HEADERS`: what the OpenAI, Anthropic and Google SDKs and callers of this gateway send."""

EXPOSE_HEADERS = (
    # Which request it was.
    "x-request-id",
    "request-id",
    # When to try again, and whether to.
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    # What the gateway did.
    "age",
    "server-timing",
    "x-gateway-attempts",
    "x-gateway-cache",
    "x-gateway-continuation",
    "x-gateway-cost",
    "x-gateway-dropped-params",
    "x-gateway-estimated",
    "x-gateway-limit-warning",
    "x-gateway-model",
    "x-gateway-provider",
    # OpenAI, and whoever copies it.
    "openai-model",
    "openai-organization",
    "openai-processing-ms",
    "openai-version",
    "x-ratelimit-limit-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    # Anthropic.
    "anthropic-organization-id",
    "anthropic-ratelimit-input-tokens-limit",
    "anthropic-ratelimit-input-tokens-remaining",
    "anthropic-ratelimit-input-tokens-reset",
    "anthropic-ratelimit-output-tokens-limit",
    "anthropic-ratelimit-output-tokens-remaining",
    "anthropic-ratelimit-output-tokens-reset",
    "anthropic-ratelimit-requests-limit",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
    "anthropic-ratelimit-tokens-limit",
    "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-tokens-reset",
)
"""For `CORS_EXPOSE_HEADERS`: what a script in a page may read of an answer. There is no wildcard for a name's start."""
