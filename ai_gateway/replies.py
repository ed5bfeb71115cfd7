"""What the gateway answers itself, as a reply: lists, statements, its health."""

from __future__ import annotations

from ai_gateway.calls import Headers, Reply

JSON = b"application/json"

UNSTORED: Headers = [(b"cache-control", b"no-store")]
"""For what is another answer a moment later."""


def own_reply(
    body: bytes,
    request_id: str,
    *,
    status: int = 200,
    content_type: bytes = JSON,
    headers: Headers | None = None,
    is_head: bool = False,
) -> Reply:
    """Make a reply of the gateway's own. One to a HEAD request tells the length of the body, and leaves it out."""
    described = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *request_ids(request_id)]
    return Reply(status=status, headers=[*described, *(headers or ())], body=b"" if is_head else body)


def request_ids(request_id: str) -> Headers:
    """Write the headers by which a caller names its request: Anthropic's clients look for the second."""
    value = request_id.encode()
    return [(b"x-request-id", value), (b"request-id", value)]
