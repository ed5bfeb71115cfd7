"""What does a failed attempt mean: was the work done, and who else may do it?

What matters is how far the call had come. As long as nothing was sent, anybody else may take it. A provider that
answers with an error says itself that it did not do the work. One that took the request and then fell silent may have
done it, and will want to be paid: the same again elsewhere is for the operator to allow (`RETRIES`). What the caller
did wrong is wrong everywhere.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from ai_gateway.calls import Reply
from ai_gateway.errors import (
    ConnectFailed,
    DeadlineExceeded,
    GatewayError,
    LimitReached,
    PoolTimeout,
    PriceUnknown,
    ProviderBusy,
    ProviderError,
    ProviderNotConfigured,
    Unsupported,
    UnsupportedDialect,
    UpstreamError,
    UpstreamRedirect,
    UpstreamRefusedCredential,
)
from ai_gateway.protocols.jsontext import loads
from ai_gateway.protocols.provider_errors import code_of_words, error_members, is_beyond, message_of, retry_after


class Phase(Enum):
    """How far a call had come when it failed."""

    NOT_SENT = "not sent"
    REFUSED = "refused"
    """The provider answered that it did not do the work."""
    UNSUITABLE = "unsuitable"
    """The provider cannot do this work, and another one may: a longer context, another policy, a model it has."""
    AMBIGUOUS = "ambiguous"
    """The provider took the request, and nobody knows what became of it."""
    FINAL = "final"
    """It would fail anywhere, or has failed for good."""


class Failure(NamedTuple):
    """One attempt's failure. `retry_after` is in seconds, as the provider asked for; `status` is an HTTP status."""

    phase: Phase
    status: int
    code: str | None = None
    retry_after: float | None = None
    is_fault: bool = False
    """Whether it tells something about the health of the provider."""
    is_of_credential: bool = False
    """Whether another credential of the same provider may do."""
    is_paid: bool = False
    """Whether it is an answer all the same, and charged for as one."""


OVERLOADED = frozenset((408, 425, 429, 498, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529))
"""Statuses by which providers say that they did not do the work, and that somebody may try again."""

UNSUITABLE_CODES = frozenset(("context_length_exceeded", "content_policy_violation", "model_not_found"))

PROMPT_REFUSED = Failure(Phase.UNSUITABLE, 200, "content_policy_violation", is_paid=True)
"""An answer without a word, because the prompt is against the provider's policy."""

OF_CREDENTIAL = frozenset((401, 402, 403, 429))

LONGEST_BODY = 1 << 20
"""Bytes of an error's body that are looked at."""


def of_error(error: GatewayError) -> Failure:
    """Judge an error that an attempt raised."""
    after = error.retry_after
    if isinstance(error, LimitReached):
        return Failure(Phase.NOT_SENT if error.is_of_target else Phase.FINAL, error.status, error.code, after)
    if isinstance(error, ConnectFailed | PoolTimeout | ProviderNotConfigured):
        is_fault = isinstance(error, ConnectFailed) and not isinstance(error, ProviderBusy)
        return Failure(Phase.NOT_SENT, error.status, error.code, after, is_fault=is_fault)
    if isinstance(error, DeadlineExceeded):
        return Failure(Phase.FINAL if error.was_sent else Phase.NOT_SENT, error.status, error.code)
    if isinstance(error, Unsupported | UnsupportedDialect | PriceUnknown):
        return Failure(Phase.UNSUITABLE, error.status, error.code)
    if isinstance(error, UpstreamRefusedCredential):
        return Failure(Phase.REFUSED, 401, error.code, after, is_of_credential=True)
    if isinstance(error, ProviderError):
        return of_status(error.status, error.code, after, error.message)
    if isinstance(error, UpstreamRedirect):
        return Failure(Phase.REFUSED, error.status, error.code, is_fault=True)
    if isinstance(error, UpstreamError):
        return Failure(Phase.AMBIGUOUS, error.status, error.code, after, is_fault=True)
    return Failure(Phase.FINAL, error.status, error.code)


def of_reply(reply: Reply) -> Failure | None:
    """Judge a provider's answer. None if it is good."""
    if reply.status < 400:
        return None
    headers = dict(reply.headers)
    error = _error_in(reply)
    words = " ".join(str(value) for value in (error.get("type"), error.get("code"), message_of(error)) if value)
    given = error.get("code")
    code = code_of_words(words) or (given if isinstance(given, str) else None)
    return of_status(reply.status, code, retry_after(headers, error), words)


def _error_in(reply: Reply) -> dict[str, object]:
    if not isinstance(reply.body, bytes) or len(reply.body) > LONGEST_BODY:
        return {}
    try:
        return error_members(loads(reply.body))
    except (ValueError, RecursionError):
        return {}


def of_status(status: int, code: str | None = None, after: float | None = None, words: str = "") -> Failure:
    """Judge an answer by its status, code and words, which say that it is none. What is wrong with the call alone is no
    reason to let the credential rest, by which others are served."""
    is_of_credential = status in OF_CREDENTIAL and not _is_of_call(words)
    if code in UNSUITABLE_CODES or status == 404 or (status in OF_CREDENTIAL and not is_of_credential):
        return Failure(Phase.UNSUITABLE, status, code)
    if status in OVERLOADED or is_of_credential:
        is_fault = status >= 500 or status == 408
        return Failure(Phase.REFUSED, status, code, after, is_fault=is_fault, is_of_credential=is_of_credential)
    return Failure(Phase.FINAL, status, code)


def _is_of_call(words: str) -> bool:
    return is_beyond(words) or code_of_words(words) == PROMPT_REFUSED.code
