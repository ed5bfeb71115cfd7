"""The way through the site: what Django's handler sees of a request on a gateway path, and what leaves of its answer.

Django reads a whole body before it looks at anything else. So a request that its head alone condemns is given to Django
with an empty body: the view refuses it all the same, and the answer still gets the CORS headers of the middleware,
without which a browser would hide it. Every error that Django or a middleware answers in HTML leaves as JSON.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ai_gateway import gateway, intake, registry
from ai_gateway.calls import Arrival, Headers, ReplyBody
from ai_gateway.errors import (
    BadRequest,
    ClientDisconnected,
    GatewayError,
    InternalError,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    PermissionDenied,
)
from ai_gateway.guard import Guard, Message, too_slow
from ai_gateway.intake import too_large
from ai_gateway.refusals import refuse_request
from ai_gateway.replies import request_ids
from ai_gateway.views import ARRIVAL, BODIES, CALLER, ENTRANT, REFUSAL

KINDS: dict[int, type[GatewayError]] = {403: PermissionDenied, 404: NotFound, 405: MethodNotAllowed}

MESSAGES = {
    400: "The site refused this request. Its host name may not be among ALLOWED_HOSTS.",
    403: "The site refused this request.",
    404: "There is nothing at this path.",
    405: "This method is not possible here.",
    500: "The site failed. Its log has the details.",
}


def error_for(status: int) -> GatewayError:
    """Say as an error of the gateway what Django or a middleware answered in HTML."""
    kind = KINDS.get(status, BadRequest if status < 500 else InternalError)
    return kind(MESSAGES.get(status, f"The site answered this request with status {status}."))


def _without_length_of_nothing(headers: Headers) -> Headers:
    """Leave out the length that Django's CommonMiddleware gives an answer without a body, which tells of the body that
    there would be."""
    return [header for header in headers if (header[0].lower(), header[1]) != (b"content-length", b"0")]


class SiteExchange:
    """One request on a gateway path that goes through Django."""

    def __init__(self, scope: dict[str, Any], arrival: Arrival, guard: Guard, loop: asyncio.AbstractEventLoop) -> None:
        self._arrival = arrival
        self._guard = guard
        self._loop = loop
        self._bodies: list[ReplyBody] = []
        self.scope = {**scope, "headers": arrival.headers, ARRIVAL: arrival, BODIES: self._bodies, ENTRANT: guard}
        self._is_withheld = False
        self._is_replaced = False
        self._must_linger = False
        self._received = 0
        self._deadline = 0.0

    async def run(self, site: Any) -> None:
        """Let Django answer."""
        try:
            self.scope[CALLER] = await gateway.admit(self._arrival, self._guard)
        except GatewayError as refusal:
            self._is_withheld = True
            if isinstance(refusal, Overloaded):
                self.scope[REFUSAL] = refusal
        self._deadline = self._loop.time() + registry.snapshot().body_timeout
        try:
            await site(self.scope, self.receive, self.send)
        except GatewayError as error:
            if not self._guard.has_begun:
                await self._guard.reply(refuse_request(error, self._arrival), self._arrival)
        finally:
            # A caller that leaves between view and stream, inside a middleware, makes Django lose the response without
            # closing it.
            for body in self._bodies:
                await body.aclose()

    # What Django receives.

    async def receive(self) -> Message:
        """Give Django the body within the gateway's limits, or none of it."""
        if self._is_withheld:
            return {"type": "http.request", "body": b"", "more_body": False}
        try:
            return await self._next()
        except ClientDisconnected:
            return {"type": "http.disconnect"}

    async def _next(self) -> Message:
        snapshot = registry.snapshot()
        is_json, limit = intake.limits(self._arrival, snapshot)
        self._guard.read_until = self._deadline
        try:
            piece = await self._guard.next()
        except TimeoutError:
            raise too_slow(snapshot.body_timeout) from None
        finally:
            self._guard.read_until = None
        self._received += len(piece)
        if self._received > limit:
            raise too_large(limit)
        if not is_json:
            self._deadline = self._loop.time() + snapshot.body_timeout
        return {"type": "http.request", "body": piece, "more_body": not self._guard.is_finished}

    # What Django sends.

    async def send(self, message: Message) -> None:
        """Send what Django answers, JSON in place of HTML, and nothing after a body that broke off."""
        if self._guard.is_gone:
            raise ClientDisconnected
        if message["type"] == "http.response.start":
            await self._start(message)
        elif self._is_replaced:
            return
        elif message.get("more_body", False):
            await self._guard.send(message)
        else:
            await self._finish(message)

    async def _start(self, message: Message) -> None:
        headers = message["headers"]
        if message["status"] in (204, 304) or self._arrival.method == "HEAD":
            headers = _without_length_of_nothing(headers)
        if self._guard.has_unread(self._arrival.fields):
            self._must_linger = True
            headers = [*headers, (b"connection", b"close")]
        # The gateway's views put a request id on whatever they answer; what has none is the site's.
        is_ours = any(name.lower() == b"x-request-id" for name, _ in headers)
        if is_ours or message["status"] < 400:
            ids = [] if is_ours else request_ids(self._arrival.request_id)
            await self._guard.send({**message, "headers": [*headers, *ids]})
            return
        self._is_replaced = True
        reply = refuse_request(error_for(message["status"]), self._arrival)
        ours = {name for name, _ in reply.headers}
        kept = [header for header in headers if header[0].lower() not in ours]
        start = {"type": "http.response.start", "status": message["status"], "headers": [*kept, *reply.headers]}
        await self._guard.send(start)
        await self._finish({"type": "http.response.body", "body": reply.body})

    async def _finish(self, message: Message) -> None:
        if self._bodies and self._bodies[-1].is_broken:
            return
        if self._must_linger:
            await self._guard.send({**message, "more_body": True})
            await self._guard.linger()
            message = {"type": "http.response.body", "body": b""}
        await self._guard.finish(message)
