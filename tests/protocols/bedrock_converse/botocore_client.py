"""A real botocore client without a network: it writes requests, checks them, and parses answers and streams."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.eventstream import EventStreamBuffer
from botocore.parsers import RestJSONParser
from botocore.session import Session
from botocore.validate import ParamValidator

Json = dict[str, Any]


class Body:
    """The body of an answer, as botocore reads it: whole, or in pieces."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data = data
        self._size = size

    def stream(self) -> Iterator[bytes]:
        """Give the pieces."""
        yield from (self._data[start : start + self._size] for start in range(0, len(self._data), self._size))

    def close(self) -> None:
        """Nothing is open."""


class Recorded:
    """What a client sent, and what it shall get."""

    def __init__(self, status: int, headers: dict[str, str], data: bytes, size: int = 1024) -> None:
        self.answer = (status, headers, data, size)
        self.path = ""
        self.body: Json = {}

    def send(self, request: Any, **_: Any) -> AWSResponse:
        """Take the place of the network."""
        self.path = request.url.partition("gateway.invalid")[2]
        self.body = json.loads(request.body)
        status, headers, data, size = self.answer
        response = AWSResponse(request.url, status, headers, Body(data, size))
        response._content = data
        return response


@cache
def session() -> Any:
    """Give the session that has read the service model."""
    return Session()


def client(recorded: Recorded) -> Any:
    """Make a client whose one answer is recorded."""
    made = session().create_client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url="https://gateway.invalid/v1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}),
    )
    made.meta.events.register("before-send", recorded.send)
    return made


@cache
def shape(name: str) -> Any:
    """Give a shape of the service model."""
    return session().get_service_model("bedrock-runtime").shape_for(name)


def sent(params: Json) -> tuple[str, Json]:
    """Let a client write a request; give its path and body."""
    recorded = Recorded(200, {}, b"{}")
    client(recorded).converse(**params)
    return recorded.path, recorded.body


def checked(body: Json) -> Json:
    """Check a request body against the service model, and that nothing in it is unknown there; give what it says."""
    parsed: Json = RestJSONParser()._parse_shape(shape("ConverseRequest"), body)
    report = ParamValidator().validate(parsed | {"modelId": "model"}, shape("ConverseRequest"))
    assert not report.has_errors(), report.generate_report()
    assert same_members(body, parsed)
    return parsed


def same_members(written: Any, parsed: Any) -> bool:
    """Whether parsing has left out no member: it skips what the service model does not know."""
    if isinstance(written, dict) and isinstance(parsed, dict):
        return written.keys() == parsed.keys() and all(same_members(written[key], parsed[key]) for key in written)
    if isinstance(written, list) and isinstance(parsed, list):
        return len(written) == len(parsed) and all(map(same_members, written, parsed))
    return True


def parsed_answer(answer: Json) -> Json:
    """Let a client parse a whole answer."""
    recorded = Recorded(200, {"content-type": "application/json"}, json.dumps(answer).encode())
    parsed: Json = client(recorded).converse(modelId="m", messages=[{"role": "user", "content": [{"text": "Hi"}]}])
    parsed.pop("ResponseMetadata")
    return parsed


def parsed_stream(data: bytes, size: int = 1024) -> list[Json]:
    """Let a client parse a stream. Raises EventStreamError for an exception in it."""
    recorded = Recorded(200, {"content-type": "application/vnd.amazon.eventstream"}, data, size)
    answer = client(recorded).converse_stream(modelId="m", messages=[{"role": "user", "content": [{"text": "Hi"}]}])
    return list(answer["stream"])


def frames(data: bytes) -> list[tuple[dict[str, Any], bytes]]:
    """Take frames apart as botocore does: headers and payload."""
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [(event.headers, event.payload) for event in buffer]
