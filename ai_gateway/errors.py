"""Everything that the gateway can refuse or fail at. Each class has a status, a stable code and a message for people.

    GatewayError
      BadRequest 400
        InvalidBody 400            UnknownProvider 400         UnsupportedDialect 400
        PriceUnknown 400           UsageUnknown 400           NoSuitableTarget 400
        GuardrailBlocked 400       what a guardrail does not let pass
        Unsupported 400            what would change the answer cannot be said to this provider
          ThreadUnsupported 400
      InvalidCredential 401
      PermissionDenied 403
      NotFound 404
        ModelNotFound 404
      UpgradeRequired 426          the path is there, for websockets
      MethodNotAllowed 405
      RequestTimeout 408
      BodyTooLarge 413
      LimitReached 429
        RateLimited 429            a limit that comes back soon
        BudgetExceeded 429         one that is used up
      Cancelled 499                an operator has ended the call
      InternalError 500
      SocketsUnsupported 501
      LengthUnknown 505            an answer that cannot be written in HTTP/1.0
      LoopDetected 508             the call goes round from gateway to gateway
      ProviderNotConfigured 503
      Overloaded 503
        PoolTimeout 503            Draining 503            KeysUnavailable 503
        LimitsUnavailable 503      UsageUnavailable 503
        GuardrailFailed 503
      DeadlineExceeded 504         the time for the whole call is over
      UpstreamError 502            the provider's side failed
        ConnectFailed 502          nothing was sent: safe to try elsewhere
          PrivateAddressRefused 502
          ConnectTimeout 504
          ProviderBusy 503
        UpstreamClosed 502         sent, but no whole answer came
        UpstreamProtocolError 502  what came was not HTTP
        UpstreamRefusedCredential 502
        UpstreamRedirect 502
        UpstreamTimeout 504
        ProviderError 502          the provider's own error, read to be written in another dialect; has its own status
    ClientDisconnected             not an error to be answered: the caller is gone
    SocketClosed                   nor this: who is at the other end of a websocket has closed it

A message is safe to show to a caller: it holds no secret, no address of a private network and no traceback. What an
operator needs besides goes to the log, through `detail`. The protocol modules write an error in a dialect's own shape;
`kind` is what they choose the dialect's type name by (the table in each module).
"""

from __future__ import annotations

from enum import Enum


class Kind(Enum):
    """The classes of failure that every dialect has a name for."""

    BAD_REQUEST = "bad request"
    AUTHENTICATION = "authentication"
    PERMISSION = "permission"
    NOT_FOUND = "not found"
    TOO_LARGE = "too large"
    QUOTA = "quota"
    RATE_LIMIT = "rate limit"
    TIMEOUT = "timeout"
    OVERLOADED = "overloaded"
    UPSTREAM = "upstream"
    INTERNAL = "internal"
    CANCELLED = "cancelled"


class GatewayError(Exception):
    """Base of all. Do not raise directly."""

    status: int = 500
    code: str | None = None
    kind: Kind = Kind.INTERNAL
    retryable: bool = False
    """Whether the same request may succeed later. False is told to the client's SDK: `x-should-retry: false`."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after: float | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after
        self.detail = detail

    @property
    def naming_message(self) -> str:
        """The message, which names the member that it is about: for formats that have no place of their own for it."""
        if self.param is None or self.param in self.message:
            return self.message
        return f"{self.param}: {self.message}"


class BadRequest(GatewayError):
    """The request cannot be understood. The message, and `param` in OpenAI's formats, say what of it."""

    status = 400
    code = "invalid_request"
    kind = Kind.BAD_REQUEST


class GuardrailBlocked(BadRequest):
    """A guardrail does not let the call, or its answer, pass. The same again would not either."""

    code = "guardrail_blocked"


class InvalidBody(BadRequest):
    """The body is not the JSON object that it must be."""

    code = "invalid_json"


class UnknownProvider(BadRequest):
    """The `x-provider` header names no provider."""

    code = "unknown_provider"


class UnsupportedDialect(BadRequest):
    """The provider does not speak the wire format of this endpoint."""

    code = "unsupported_dialect"


class Unsupported(BadRequest):
    """A provider that is reached by translation cannot do this, and leaving it out would change the answer."""

    code = "unsupported_value"


class ThreadUnsupported(Unsupported):
    """A conversation that Anthropic keeps cannot go on with another provider. Its SDK knows the code, and goes on by
    sending the whole conversation."""

    code = "thread_unsupported_request"


class NoSuitableTarget(BadRequest):
    """A route has targets, and none of them is there for such a call."""

    code = "no_suitable_target"


class InvalidCredential(GatewayError):
    """No key, a wrong key, or keys that contradict each other."""

    status = 401
    code = "invalid_api_key"
    kind = Kind.AUTHENTICATION


class PermissionDenied(GatewayError):
    """Known, but not allowed."""

    status = 403
    code = "permission_denied"
    kind = Kind.PERMISSION


class NotFound(GatewayError):
    """There is nothing at this path."""

    status = 404
    code = "not_found"
    kind = Kind.NOT_FOUND


class ModelNotFound(NotFound):
    """No such model, or not for this caller: both are told alike."""

    code = "model_not_found"


class MethodNotAllowed(GatewayError):
    """The path is there, the method is not."""

    status = 405
    code = "method_not_allowed"
    kind = Kind.BAD_REQUEST


class UpgradeRequired(GatewayError):
    """What is at this path is a websocket, and the request does not open one."""

    status = 426
    code = "upgrade_required"
    kind = Kind.BAD_REQUEST


class SocketsUnsupported(GatewayError):
    """The gateway lacks what it would open a provider's websocket with."""

    status = 501
    code = "websockets_unsupported"
    kind = Kind.INTERNAL


class LengthUnknown(GatewayError):
    """The answer is long, nobody knows how long, and the request came by HTTP/1.0, which has no other way to tell."""

    status = 505
    code = "http_version_unsupported"
    kind = Kind.BAD_REQUEST


class LoopDetected(GatewayError):
    """A call that has come through too many gateways: one of them is probably its own provider."""

    status = 508
    code = "loop_detected"
    kind = Kind.UPSTREAM


class RequestTimeout(GatewayError):
    """The caller sent its request too slowly."""

    status = 408
    code = "request_timeout"
    kind = Kind.TIMEOUT
    retryable = True


class BodyTooLarge(GatewayError):
    """The request body is over the limit."""

    status = 413
    code = "request_too_large"
    kind = Kind.TOO_LARGE


class LimitReached(GatewayError):
    """A limit of the gateway's own does not admit the call."""

    status = 429

    def __init__(
        self,
        message: str,
        *,
        limit: str,
        measure: str,
        amount: int,
        retry_after: float | None = None,
        is_of_target: bool = False,
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.limit = limit
        """The name of the limit."""
        self.measure = measure
        self.amount = amount
        """What it counts, and how many of that it allows."""
        self.is_of_target = is_of_target
        """Whether it is a provider's or a model's, so that another target may do."""


class RateLimited(LimitReached):
    """Too much at once: it comes back within a minute."""

    code = "rate_limit_exceeded"
    kind = Kind.RATE_LIMIT
    retryable = True


class BudgetExceeded(LimitReached):
    """What there was for this hour, day, month or in all is used up. A repetition is of no use, and both vendors' SDKs
    and the coding agents are told so."""

    code = "insufficient_quota"
    kind = Kind.QUOTA


class PriceUnknown(BadRequest):
    """Nobody knows what the model costs, and the site wants to know (`REQUIRE_PRICE`)."""

    code = "price_unknown"


class UsageUnknown(BadRequest):
    """Nobody will tell what the call uses, and there is a limit of tokens or money for it (`UNCOUNTED_WORK`)."""

    code = "usage_unknown"


class Cancelled(GatewayError):
    """An operator has ended the call (`live.py`). Nobody tries again what somebody did not want, so no status that
    clients repeat a call for: Google's for what was cancelled."""

    status = 499
    code = "cancelled_by_operator"
    kind = Kind.CANCELLED


class InternalError(GatewayError):
    """A bug of the gateway, or of something that it runs inside."""

    status = 500
    code = "internal_error"
    retryable = True


class ProviderNotConfigured(GatewayError):
    """The provider has no credential that could serve this caller."""

    status = 503
    code = "provider_not_configured"
    kind = Kind.OVERLOADED


class Overloaded(GatewayError):
    """Too much at once; later it will do."""

    status = 503
    code = "overloaded"
    kind = Kind.OVERLOADED
    retryable = True


class PoolTimeout(Overloaded):
    """All connections to the provider stayed busy."""

    code = "upstream_pool_timeout"


class Draining(Overloaded):
    """The process is about to stop."""

    code = "gateway_draining"


class KeysUnavailable(Overloaded):
    """A key cannot be looked up or verified now, so nobody knows whose it is."""

    code = "keys_unavailable"


class LimitsUnavailable(Overloaded):
    """Nobody can tell now whether the limits admit the call, and the site wants to know (`LIMITS`)."""

    code = "limits_unavailable"


class GuardrailFailed(Overloaded):
    """A guardrail cannot say whether the call may pass, and nothing passes without it."""

    code = "guardrail_failed"


class UsageUnavailable(Overloaded):
    """What was used cannot be read now."""

    code = "usage_unavailable"


class DeadlineExceeded(GatewayError):
    """The time that the call was given is over, whoever is to blame. The same again would take as long."""

    status = 504
    code = "deadline_exceeded"
    kind = Kind.TIMEOUT

    def __init__(self, message: str, *, was_sent: bool = True) -> None:
        super().__init__(message)
        self.was_sent = was_sent
        """Whether a provider may have begun with the work."""


class UpstreamError(GatewayError):
    """The provider's side failed."""

    status = 502
    code: str | None = "upstream_error"
    kind = Kind.UPSTREAM
    retryable = True


class ConnectFailed(UpstreamError):
    """No connection could be opened, so nothing was sent."""

    code = "upstream_unreachable"


class ProviderBusy(ConnectFailed):
    """The provider has as many calls as it takes at once."""

    status = 503
    code = "provider_busy"
    kind = Kind.OVERLOADED


class PrivateAddressRefused(ConnectFailed):
    """The provider's host resolves to an address that the gateway must not call."""

    code = "upstream_address_refused"
    retryable = False


class UpstreamClosed(UpstreamError):
    """The provider hung up before its answer was whole."""

    code = "upstream_closed"


class UpstreamProtocolError(UpstreamError):
    """The provider sent something that is not a valid HTTP response."""

    code = "upstream_protocol_error"


class UpstreamRefusedCredential(UpstreamError):
    """The provider refused a credential that is the gateway's own: the operator's problem, not the caller's."""

    code = "upstream_auth_error"
    retryable = False


class UpstreamRedirect(UpstreamError):
    """The provider answered with a redirect, which a gateway never follows."""

    code = "upstream_redirect"
    retryable = False


class UpstreamTimeout(UpstreamError):
    """The provider was too slow."""

    status = 504
    code = "upstream_timeout"
    kind = Kind.TIMEOUT


class ConnectTimeout(ConnectFailed, UpstreamTimeout):
    """No connection within the time for it."""

    status = UpstreamTimeout.status
    kind = UpstreamTimeout.kind
    code = UpstreamTimeout.code


class ProviderError(UpstreamError):
    """The provider's own error, read from its answer: its status, and a code in OpenAI's words where it has one."""

    code: str | None = "provider_error"

    def __init__(
        self,
        message: str,
        *,
        status: int,
        kind: Kind,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message, param=param, retry_after=retry_after, detail=detail)
        self.status = status
        self.kind = kind
        self.code = code
        self.retryable = status in RETRYABLE if retryable is None else retryable

    @property
    def naming_message(self) -> str:
        """The provider's own message. What it calls a member is not what the caller calls it."""
        return self.message


RETRYABLE = frozenset((408, 409, 429, 500, 502, 503, 504, 529))
"""Statuses after which the same request may succeed later, unless more is known."""


class ClientDisconnected(Exception):
    """The caller is gone. Not a GatewayError: there is nobody to tell."""


class SocketClosed(Exception):
    """One side has closed a websocket, with this code and reason (RFC 6455, 7.4). Not a GatewayError: the other side is
    told the same."""

    def __init__(self, code: int, reason: str = "", *, is_upstreams: bool = False) -> None:
        super().__init__(f"{code} {reason}".rstrip())
        self.code = code
        self.reason = reason
        self.is_upstreams = is_upstreams
        """Whether it was the upstream's side."""
