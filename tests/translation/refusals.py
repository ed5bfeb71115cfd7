"""The exceptions of the official SDKs, reduced to the status, the dialect's names for the class, and the message."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anthropic
import botocore.exceptions
import openai
import pytest
from google.genai import errors as genai_errors

STATUS_CLASSES_OF_OPENAI: Mapping[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
}
STATUS_CLASSES_OF_ANTHROPIC: Mapping[int, type[anthropic.APIStatusError]] = {
    400: anthropic.BadRequestError,
    401: anthropic.AuthenticationError,
    403: anthropic.PermissionDeniedError,
    404: anthropic.NotFoundError,
    409: anthropic.ConflictError,
    422: anthropic.UnprocessableEntityError,
    429: anthropic.RateLimitError,
}


@dataclass(frozen=True, kw_only=True)
class Refused:
    """What an exception says. `names` are the dialect's words for its class; the status is None in a stream."""

    status: int | None
    names: tuple[str | None, ...]
    message: str
    param: str | None = None
    headers: Mapping[str, str]


def refusal(ask: Callable[[], object], dialect: str) -> Refused:
    """Ask for what must fail: the SDK must raise an exception of its own, of the class that the status has."""
    return READERS[dialect](ask)


def _by_openai(ask: Callable[[], object]) -> Refused:
    with pytest.raises(openai.APIError) as caught:
        ask()
    error = caught.value
    names = (error.type, error.code)
    if not isinstance(error, openai.APIStatusError):
        return Refused(status=None, names=names, message=error.message, headers={})
    expected = STATUS_CLASSES_OF_OPENAI.get(error.status_code)
    assert expected is None or type(error) is expected
    assert error.status_code < 500 or type(error) is openai.InternalServerError
    assert error.request_id
    headers = error.response.headers
    return Refused(status=error.status_code, names=names, message=error.message, param=error.param, headers=headers)


def _by_anthropic(ask: Callable[[], object]) -> Refused:
    with pytest.raises(anthropic.APIStatusError) as caught:
        ask()
    error = caught.value
    body: Any = error.body
    assert body["type"] == "error"
    assert body["request_id"]
    names, message = (body["error"]["type"],), body["error"]["message"]
    if error.status_code == 200:
        return Refused(status=None, names=names, message=message, headers={})
    expected = STATUS_CLASSES_OF_ANTHROPIC.get(error.status_code)
    assert expected is None or type(error) is expected
    assert error.status_code < 500 or isinstance(error, anthropic.InternalServerError)
    assert error.request_id == body["request_id"]
    return Refused(status=error.status_code, names=names, message=message, headers=error.response.headers)


def _by_google(ask: Callable[[], object]) -> Refused:
    with pytest.raises(genai_errors.APIError) as caught:
        ask()
    error = caught.value
    assert isinstance(error, genai_errors.ClientError if error.code < 500 else genai_errors.ServerError)
    assert error.message is not None
    headers = error.response.headers if error.response is not None else {}
    return Refused(status=error.code, names=(error.status,), message=error.message, headers=headers)


def _by_aws(ask: Callable[[], object]) -> Refused:
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        ask()
    error = caught.value
    details: Any = error.response["Error"]
    if isinstance(error, botocore.exceptions.EventStreamError):
        return Refused(status=None, names=(details["Code"],), message=details["Message"], headers={})
    metadata: Any = error.response["ResponseMetadata"]
    return Refused(
        status=metadata["HTTPStatusCode"],
        names=(details["Code"],),
        message=details["Message"],
        headers=metadata["HTTPHeaders"],
    )


READERS: Mapping[str, Callable[[Callable[[], object]], Refused]] = {
    "openai_chat": _by_openai,
    "openai_responses": _by_openai,
    "anthropic_messages": _by_anthropic,
    "gemini": _by_google,
    "bedrock_converse": _by_aws,
}
