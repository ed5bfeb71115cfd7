"""What arrived, made into a `Call`: the path checked, the body read within its limits, its routing members decoded.

Nothing of a request is trusted before it went through here. The path is matched against a pattern and never cleaned up:
a path that needs cleaning is refused, because the provider's server might clean it up differently.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from itertools import chain
from time import perf_counter
from typing import Any

from ai_gateway import deadlines, loops
from ai_gateway.bodies import MAX_MODEL, Reading, Routing, read
from ai_gateway.calls import Arrival, Call, Headers, IncomingBody
from ai_gateway.errors import BadRequest, BodyTooLarge, InvalidBody, MethodNotAllowed, NotFound
from ai_gateway.ids import new_request_id
from ai_gateway.protocols import dialect_of, model_in
from ai_gateway.protocols.endpoints import takes_form, takes_json
from ai_gateway.registry import Snapshot
from ai_gateway.uploads import FORM, Form, read_form

MODEL_PATHS = ("/v1/models/", "/v1beta/models/", "/v1/model/")
"""Where a path goes on with the id of a model, which may have a slash in it."""

API_PREFIXES = ("/v1/", "/v1beta/")

PATH = re.compile(r"/v1(?:beta)?(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~:@=,+!$*()'-]+)+", re.ASCII)
"""A path below /v1 or /v1beta: segments of harmless characters, none empty, none of one or two dots alone."""

DOUBLED = re.compile(r"/v1(?:beta)?/v1(?:beta)?(?:/|\Z)")
"""How a path begins if a client that adds the version itself was given a base URL with it."""

QUERY = re.compile(rb"[!-~]*")
"""A query string: printable ASCII without a space."""

REQUEST_ID = re.compile(rb"[A-Za-z0-9_.:-]{8,128}")
"""A request id that a caller may choose itself."""

JSON = b"application/json"

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
"""What may be asked of a provider. A server that answers TRACE sends back what it got, credential included."""

SINGLE = frozenset(
    (b"content-type", b"content-encoding", b"content-length", b"transfer-encoding", b"host", b"x-provider")
)
"""Headers that a request has once at most: of two, the gateway would go by one and a provider perhaps by the other.
Of two credentials `keys.py` knows."""

LOST = (
    "The server has lost the body of this request, because it offers another protocol (the header upgrade). Have the "
    "client speak HTTP/1.1, or serve the gateway with rungateway."
)

WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
CHUNKED = (b"transfer-encoding", b"chunked")
"""Methods of requests that have a body, and what HTTP/1.1 says of one whose length is not known. HTTP/2 says nothing
then: its frames tell where a body ends, and whether there is one."""

MODEL_IN_PATH = frozenset(("gemini", "bedrock"))
"""The families whose paths name the model, and say whether the answer is to be streamed."""

MAX_HEADERS = 256
MAX_HEADER_BYTES = 64 * 1024
MAX_TARGET_BYTES = 16 * 1024
"""What a request head may hold. The server in front has limits of its own or, as uvicorn with httptools, none."""


def is_api_path(path: str) -> bool:
    """Whether a path, relative to where the gateway is mounted, belongs to the API."""
    return path.startswith(API_PREFIXES) or path in ("/v1", "/v1beta")


def read_arrival(
    method: str,
    path: str,
    raw_path: bytes,
    query: bytes,
    headers: Headers,
    body: IncomingBody,
    client: str | None = None,
    version: str = "1.1",
) -> Arrival:
    """Take a request's head apart. Never fails: what is wrong with it is found by `check_head`, once errors have a
    dialect. `version` is HTTP's."""
    headers = list(headers)  # uvicorn adds those that come behind a body to its own, after everybody has looked at it.
    fields = dict(headers)
    if version >= "2" and method in WITH_BODY and b"content-length" not in fields:
        headers.append(CHUNKED)
        fields.update((CHUNKED,))
    if raw_path.find(b"%") >= 0:  # `in` takes bytes for a number first, which costs more than to look for them.
        # What is decoded from percent signs is not what the provider would get: such a path stays raw, and is refused.
        # Harmless are the colon of a model id, which Amazon's clients write as %3A, and the slash of one where a path
        # names a model: every SDK writes it as %2F.
        path = raw_path.decode("latin-1").replace("%3A", ":").replace("%3a", ":")
        if path.startswith(MODEL_PATHS):
            path = path.replace("%2F", "/").replace("%2f", "/")
    path = path.removesuffix("/")
    return Arrival(
        method=method,
        path=path,
        query=query,
        headers=headers,
        fields=fields,
        body=body,
        dialect=dialect_of(path, fields),
        request_id=request_id(fields.get(b"x-request-id", b"")),
        received_at=perf_counter(),
        client=client,
    )


def request_id(given: bytes) -> str:
    """Take the id that the caller chose, if it is a sensible one, or make one."""
    return given.decode() if REQUEST_ID.fullmatch(given) else new_request_id()


def client_of(scope: Mapping[str, Any]) -> str | None:
    """Tell a caller's address from an ASGI scope. Behind a proxy the server knows it, if it trusts the proxy."""
    client = scope.get("client")
    return client[0] if client else None


def check_head(arrival: Arrival) -> None:
    """Raise NotFound for a path that is not one of the API's, MethodNotAllowed for a method that no API has, BadRequest
    for a head that is too long or odd."""
    if arrival.method not in METHODS:
        raise MethodNotAllowed(f"{arrival.method[:32]} is not possible here.")
    if not is_fine(arrival.path):
        raise NotFound(_nothing_at(arrival.path))
    query = arrival.query
    if query and (len(query) > MAX_TARGET_BYTES or QUERY.fullmatch(query) is None):
        raise BadRequest("The query string is too long, or has characters that must be percent-encoded.")
    if len(arrival.headers) > MAX_HEADERS:
        raise BadRequest(f"The request has more than {MAX_HEADERS} headers.")
    if b"transfer-encoding" in arrival.fields and b"content-length" in arrival.fields:
        raise BadRequest("The request says how long its body is, and sends it in chunks. Leave one of the two out.")
    if len(arrival.fields) != len(arrival.headers):
        _check_repeated(arrival.headers)
    if sum(map(len, chain.from_iterable(arrival.headers))) > MAX_HEADER_BYTES:
        raise BadRequest(f"The request's headers are longer than {MAX_HEADER_BYTES} bytes.")


def _check_repeated(headers: Headers) -> None:
    seen: set[bytes] = set()
    for name, _ in headers:
        if name in SINGLE and name in seen:
            raise BadRequest(f"The request has the header {name.decode()} more than once.")
        seen.add(name)


def is_fine(path: str) -> bool:
    """Whether a path is one that the gateway passes on."""
    return len(path) <= MAX_TARGET_BYTES and _is_fine(path)


@lru_cache(maxsize=1024)
def _is_fine(path: str) -> bool:
    """Remembered, because most calls ask for the same few."""
    return PATH.fullmatch(path) is not None and DOUBLED.match(path) is None


def _nothing_at(path: str) -> str:
    if DOUBLED.match(path) is not None:
        return "There is nothing at this path. The base URL has a /v1 too much: Anthropic's and Google's want none."
    return "There is nothing at this path. The API is below /v1/; segments hold letters, digits and a few signs."


def limits(arrival: Arrival, snapshot: Snapshot) -> tuple[bool, int]:
    """Tell whether the body is JSON, to be read whole, and how many bytes it may have. Raises BodyTooLarge at once
    if it says itself that it has more."""
    content_type = arrival.fields.get(b"content-type", b"")
    is_json = content_type == JSON or _is_json(content_type, arrival)
    limit = snapshot.max_body_bytes if is_json else snapshot.max_upload_bytes
    declared = content_length(arrival.fields)
    if declared is not None and declared > limit:
        raise too_large(limit)
    return is_json, limit


def _is_json(content_type: bytes, arrival: Arrival) -> bool:
    """Whether a body is JSON: where an endpoint takes nothing else, it is, whatever its type says. Or what is in it
    would be seen by nobody, and read by the provider all the same."""
    if arrival.dialect.is_generation or b"json" in content_type.partition(b";")[0].lower():
        return True
    return takes_json(arrival.path) and not (content_type.lower().startswith(FORM) and takes_form(arrival.path))


async def read_call(arrival: Arrival, snapshot: Snapshot) -> Call:
    """Read what routing needs and make the call. Raises LoopDetected, BadRequest, BodyTooLarge, RequestTimeout,
    InvalidBody, ClientDisconnected."""
    reading: Reading | None = None
    hops = loops.hops_of(arrival.fields)
    deadline = deadlines.asked_for(arrival.fields, arrival.received_at)
    body: bytes | AsyncIterator[bytes] = b""
    is_json, limit = limits(arrival, snapshot)
    if not has_body(arrival.fields):
        if arrival.dialect.is_generation and arrival.method == "POST":
            raise InvalidBody("The request has no body. Send a JSON object.")
    elif is_json:
        body = await arrival.body.read(limit, snapshot.body_timeout)
        if not body and b"upgrade" in arrival.fields:
            raise BadRequest(LOST)
        reading = read(body)
    else:
        body = arrival.body.pieces(limit, snapshot.body_timeout)
        if takes_form(arrival.path):
            content_type = arrival.fields.get(b"content-type", b"")
            body = await read_form(content_type, body, snapshot.max_body_bytes, snapshot.body_timeout)
    routing = reading.members if reading is not None else NO_ROUTING
    model, stream = routing.model, routing.stream is True
    if not isinstance(body, bytes) and isinstance(body, Form):
        model = body.model
    if arrival.dialect.family in MODEL_IN_PATH:
        model, stream = model_in(arrival.path) or (model, stream)
        if model is not None and len(model) > MAX_MODEL:
            raise BadRequest(f"The path names a model with more than {MAX_MODEL} characters.", param="model")
    return Call(
        method=arrival.method,
        path=arrival.path,
        query=arrival.query,
        headers=_with_content_type(arrival) if is_json else arrival.headers,
        fields=arrival.fields,
        body=body,
        dialect=arrival.dialect,
        request_id=arrival.request_id,
        received_at=arrival.received_at,
        model=model,
        stream=stream,
        models=routing.models,
        reading=reading,
        deadline=deadline,
        hops=hops,
    )


def _with_content_type(arrival: Arrival) -> Headers:
    """Name JSON what is JSON: a provider would not take it under the name that curl gives to any body."""
    content_type = arrival.fields.get(b"content-type", b"")
    if content_type == JSON or b"json" in content_type.partition(b";")[0].lower():
        return arrival.headers
    others = [header for header in arrival.headers if header[0] != b"content-type"]
    return [*others, (b"content-type", JSON)]


NO_ROUTING = Routing()


def has_body(fields: Mapping[bytes, bytes]) -> bool:
    """Whether a request has a body, by its framing headers."""
    return b"transfer-encoding" in fields or fields.get(b"content-length", b"0").lstrip(b"0") != b""


def content_length(fields: Mapping[bytes, bytes]) -> int | None:
    """Read the content-length, if there is one. The server has checked its syntax and that the body keeps to it."""
    value = fields.get(b"content-length")
    return int(value) if value is not None and value.isdigit() and b"transfer-encoding" not in fields else None


def too_large(limit: int) -> BodyTooLarge:
    """Make the error for a body over the limit."""
    return BodyTooLarge(f"The request body is longer than {limit} bytes.")
