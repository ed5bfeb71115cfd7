"""The Django door: ordinary async views, so that the site's middleware, CORS, logging and tests apply.

Thin on purpose: a view turns the request into an `Arrival` and sends what the gateway replied. `/v1` needs no CSRF
token because it never looks at a cookie, and no login: LoginRequiredMiddleware would answer an SDK with a redirect.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from msgspec.structs import replace

from ai_gateway import finishing, gateway, health, scraping
from ai_gateway.calls import Arrival, BodyAround, Caller, IncomingBody, Reply, ReplyBody
from ai_gateway.errors import ClientDisconnected, GatewayError, InternalError, MethodNotAllowed, PermissionDenied
from ai_gateway.intake import client_of, read_arrival, request_id, too_large
from ai_gateway.protocols import DIALECTS
from ai_gateway.refusals import refuse, refuse_request
from ai_gateway.responses import EventStreamResponse, WholeResponse

BODIES = "ai_gateway.bodies"
"""Where `ai_gateway.asgi` puts a list into the ASGI scope, for the bodies of replies: it sees by them whether an answer
ended whole, and closes them when the request is over in any way. The scope of a request that nobody guards has none."""

ARRIVAL = "ai_gateway.arrival"
"""Where `ai_gateway.asgi` puts the request as it has read it, its body aside: that is Django's by then."""

CALLER = "ai_gateway.caller"
"""Where `ai_gateway.asgi` puts who is calling, if that is known by then."""

ENTRANT = "ai_gateway.entrant"
"""Where the ASGI scope holds the request as one that may need a place among the calls under way. Under Django's own
handler nobody gives places back for certain, and calls have no bound."""

REFUSAL = "ai_gateway.refusal"
"""Where the ASGI scope holds the error of a request that was refused for a reason that may be gone a moment later. Its
body is withheld by now, so that is not decided again."""

CLOSING = 10.0
"""Seconds that the end of a body may take that nobody has any more."""

PIECE = 64 * 1024
"""Bytes of a spooled upload that are read at a time."""


@login_not_required
@csrf_exempt
@non_atomic_requests
async def api(request: HttpRequest, path: str) -> HttpResponseBase:
    """Everything below /v1 and /v1beta."""
    if not isinstance(request, ASGIRequest):
        return await _refuse_wsgi(request)
    arrival = _read(request, f"/{path}")
    refusal: GatewayError | None = request.scope.get(REFUSAL)
    if refusal is not None:
        return await _respond(request, refuse_request(refusal, arrival))
    loop = asyncio.get_running_loop()
    transport = gateway.transport_of(loop)
    try:
        caller: Caller | None = request.scope.get(CALLER)
        reply = await gateway.handle(arrival, transport, caller, request.scope.get(ENTRANT), loop)
    except ClientDisconnected:
        return HttpResponse(status=499)
    return await _respond(request, reply)


@login_not_required
@csrf_exempt
@non_atomic_requests
async def alive(request: HttpRequest) -> HttpResponseBase:
    """`/health`: is the process up?"""
    return await _respond(request, _only_get(request) or health.alive(_request_id(request)))


@login_not_required
@csrf_exempt
@non_atomic_requests
async def ready(request: HttpRequest) -> HttpResponseBase:
    """`/health/ready`: should calls be sent here?"""
    if not isinstance(request, ASGIRequest):
        return await _refuse_wsgi(request)
    return await _respond(request, _only_get(request) or await health.ready(_request_id(request)))


@login_not_required
@csrf_exempt
@non_atomic_requests
async def providers(request: HttpRequest) -> HttpResponseBase:
    """`/health/providers`: how did each provider do last? For staff, or with the metrics token."""
    reply = _only_get(request)
    token = request.headers.get("authorization", "").encode()
    if reply is None and not (scraping.has_token(token) or await _is_staff(request)):
        denied = PermissionDenied("Only staff users and the metrics token may see the providers.")
        reply = refuse(denied, DIALECTS["openai"], _request_id(request))
    return await _respond(request, reply or health.providers(_request_id(request)))


@login_not_required
@csrf_exempt
@non_atomic_requests
async def metrics(request: HttpRequest) -> HttpResponseBase:
    """`/metrics`: for Prometheus. For staff, with the metrics token, or from a network that METRICS names."""
    if not isinstance(request, ASGIRequest):
        return await _refuse_wsgi(request)
    arrival = _read(request, "/metrics")
    if not (scraping.is_open_to(arrival) or await _is_staff(request)):
        denied = PermissionDenied("Only staff users and the metrics token may read the metrics.")
        return await _respond(request, refuse_request(denied, arrival))
    return await _respond(request, await scraping.answer(arrival))


@login_not_required
@csrf_exempt
@non_atomic_requests
async def hello(request: HttpRequest) -> HttpResponseBase:
    """`/api/hello`: what Claude Code asks for (HEAD) to see whether there is anybody."""
    return await _respond(request, _only_get(request) or health.hello(_request_id(request)))


async def _refuse_wsgi(request: HttpRequest) -> HttpResponseBase:
    error = InternalError("This site runs under WSGI. The gateway needs ASGI: start it with uvicorn.")
    return await _respond(request, refuse(error, DIALECTS["openai"], _request_id(request)))


def _only_get(request: HttpRequest) -> Reply | None:
    if request.method in ("GET", "HEAD"):
        return None
    error = MethodNotAllowed(f"{request.method} is not possible here. Use GET.")
    return refuse(error, DIALECTS["openai"], _request_id(request))


def _request_id(request: HttpRequest) -> str:
    return request_id(request.headers.get("x-request-id", "").encode())


async def _is_staff(request: HttpRequest) -> bool:
    if not hasattr(request, "auser"):  # The site has no authentication middleware.
        return False
    user = await request.auser()
    return user.is_active and bool(getattr(user, "is_staff", False))


def _read(request: ASGIRequest, path: str) -> Arrival:
    scope = request.scope
    known: Arrival | None = scope.get(ARRIVAL)
    if known is not None:
        return replace(known, body=SpooledBody(request))
    raw_path: bytes = scope.get("raw_path") or request.path.encode()
    return read_arrival(
        scope["method"],
        path,
        raw_path[len(request.path) - len(path) :],
        scope["query_string"],
        [(bytes(name), bytes(value)) for name, value in scope["headers"]],
        SpooledBody(request),
        client_of(scope),
        scope["http_version"],
    )


async def _respond(request: HttpRequest, reply: Reply) -> HttpResponseBase:
    if isinstance(reply.body, bytes):
        return WholeResponse(reply.body, status=reply.status, headers=reply.headers)
    body: ReplyBody = reply.body
    bodies: list[ReplyBody] | None = getattr(request, "scope", {}).get(BODIES)
    if bodies is not None:
        bodies.append(body)
    else:
        body = await _unguarded(body)
    # GZipMiddleware buffers a stream or makes it undecodable, by version. It looks at what the client accepts.
    request.META.pop("HTTP_ACCEPT_ENCODING", None)
    return EventStreamResponse(body, status=reply.status, headers=reply.headers)


async def _unguarded(body: ReplyBody) -> ReplyBody:
    """Make a body fit for Django's own handler: a thread and whatever database connections it holds belong to this
    request until the stream ends. The connections at least can go back now."""
    try:
        await sync_to_async(close_connections)()
    except BaseException:
        await body.aclose()  # The caller has left: nobody will stream it.
        raise
    return LeftBody(body)


class LeftBody(BodyAround):
    """A body that is closed at the latest when nobody has it any more. A caller who leaves while a middleware has the
    response ends the request, and Django's own handler closes nothing then."""

    __slots__ = ("__weakref__", "_lost")

    def __init__(self, body: ReplyBody) -> None:
        super().__init__(body)
        self._lost = finishing.close_when_lost(self, body, asyncio.get_running_loop(), CLOSING)

    async def __anext__(self) -> bytes:
        return await self._body.__anext__()

    async def aclose(self) -> None:
        """See ReplyBody.aclose()."""
        await self._body.aclose()
        self._lost.detach()


def close_connections() -> None:
    """Give back the database connections of this thread."""
    for connection in connections.all(initialized_only=True):
        connection.close()


class SpooledBody(IncomingBody):
    """A body that Django has read already, into memory or a temporary file."""

    def __init__(self, request: ASGIRequest) -> None:
        self._request = request

    async def read(self, limit: int, seconds: float) -> bytes:
        """See IncomingBody.read(). The time was spent before Django called the view."""
        # Not request.body: that is bound by DATA_UPLOAD_MAX_MEMORY_SIZE, which is meant for forms.
        body = await self._read(limit + 1)
        if len(body) > limit:
            raise too_large(limit)
        return body

    async def pieces(self, limit: int, seconds: float) -> AsyncIterator[bytes]:
        """See IncomingBody.pieces()."""
        total = 0
        while piece := await self._read(PIECE):
            total += len(piece)
            if total > limit:
                raise too_large(limit)
            yield piece

    async def _read(self, size: int) -> bytes:
        """Read without blocking the event loop: a body that is in memory at once, one on disk in a thread."""
        length = self._request.META.get("CONTENT_LENGTH", "")
        if length.isdigit() and int(length) <= settings.FILE_UPLOAD_MAX_MEMORY_SIZE:
            return bytes(self._request.read(size))
        return bytes(await sync_to_async(self._request.read, thread_sensitive=False)(size))
