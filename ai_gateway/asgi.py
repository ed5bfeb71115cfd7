"""The direct door: an ASGI application around Django's.

    from ai_gateway.asgi import get_asgi_application

    application = get_asgi_application()

Gateway paths are answered straight from the ASGI scope, with no thread hop and no middleware. What needs the site goes
to Django: every other path, and a request that browsers' CORS rules apply to (one with `Origin`, preflights included),
which then comes to the gateway through its views. Four more things can only be done here:

- the size and time of a request body are limited before anything is buffered (`guard.py`, `site.py`);
- Django's handler gets threads that are shared, and few tasks (`handler.py`);
- websockets, which Django does not speak either (`realtime.py`);
- `lifespan`, which Django does not speak: the gateway starts and drains there (`lifespan.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import django

from ai_gateway import gateway, health, overload, realtime, scraping
from ai_gateway.calls import Arrival, Reply, WholeBody
from ai_gateway.conf import settings
from ai_gateway.errors import ClientDisconnected, MethodNotAllowed, SocketsUnsupported
from ai_gateway.guard import Guard, Receive, Send, Watch
from ai_gateway.handler import SharedThreadsHandler
from ai_gateway.intake import client_of, has_body, is_api_path, read_arrival
from ai_gateway.lifespan import LOOP, TRANSPORT, WATCH, Lifespan
from ai_gateway.protocols.realtime import PATH as REALTIME
from ai_gateway.refusals import refuse_request
from ai_gateway.site import SiteExchange
from ai_gateway.sockets import DRAINS, CallerSocket, turn_down

Scope = dict[str, Any]

NO_SOCKETS = "This site has all calls go through Django (DIRECT_DOOR), which has no websockets."

NO_STATE: dict[str, Any] = {}

NO_BODY = WholeBody()
"""What comes with a handshake."""

LOCAL_PATHS = frozenset(("/health", "/health/", "/health/ready", "/health/ready/", "/api/hello", "/api/hello/"))
"""Answered here without a call, for GET and HEAD."""

SITE_PATHS = frozenset(("/health/providers", "/health/providers/"))
"""Answered by the site, which knows its staff: guarded like every other path of the gateway, and in JSON like them. So
are metrics, if they are collected, unless who asks may have them anyway."""


def get_asgi_application() -> GatewayApplication:
    """Set Django up and give the site's ASGI application with the gateway's direct door in front."""
    django.setup(set_prefix=False)
    return GatewayApplication(SharedThreadsHandler())


class GatewayApplication:
    """The ASGI application. `site` gets what is not the gateway's."""

    def __init__(self, site: Callable[[Scope, Receive, Send], Any]) -> None:
        self._site = site
        self._prefix = settings.PREFIX
        self._is_direct = settings.DIRECT_DOOR
        self._send_timeout = settings.SEND_TIMEOUT
        self._site_paths = SITE_PATHS | scraping.PATHS if settings.METRICS else SITE_PATHS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await Lifespan(scope.get("state", {})).run(receive, send)
            return
        path = self._own_path(scope)
        if path is None:
            await self._site(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(path, scope, receive, send)
        elif path.removesuffix("/") == REALTIME:
            await self._serve_socket(path, scope, receive, send)
        else:
            # Some clients try a websocket first and fall back to HTTP when they are refused at once.
            await turn_down(receive, send, "The gateway speaks HTTP here.")

    def _own_path(self, scope: Scope) -> str | None:
        """Give the path relative to the gateway's mount if it is the gateway's, else None."""
        path: str = scope["path"]
        prefix = self._prefix
        root: str | None = scope.get("root_path")
        if root and path.startswith(f"{root}{prefix}/"):
            prefix = root + prefix  # Where the server itself is mounted, which Django takes away, too.
        if prefix:
            if not path.startswith(prefix + "/"):
                return None
            path = path[len(prefix) :]
        return path if is_api_path(path) or path in LOCAL_PATHS or path in self._site_paths else None

    async def _serve(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.get("state", NO_STATE)
        loop = state.get(LOOP) or asyncio.get_running_loop()
        guard = Guard(receive, send, loop, send_timeout=self._send_timeout)
        arrival = read_arrival(
            scope["method"],
            path,
            _raw_path(scope, path),
            scope["query_string"],
            scope["headers"],
            guard,
            client_of(scope),
            scope["http_version"],
        )
        if scope["http_version"] == "1.0":
            guard.give_lengths(lambda error: refuse_request(error, arrival))
        is_direct = self._is_direct and b"origin" not in arrival.fields
        if path in self._site_paths:
            is_direct = is_direct and path in scraping.PATHS and scraping.is_open_to(arrival)
        if is_direct and not has_body(arrival.fields):
            guard.is_finished = True  # Nobody will read it, so the watch may wait for the end of the connection.
        watch = state.get(WATCH) or Watch(loop)
        watch.begin(guard.watched())
        try:
            if not is_direct:
                await SiteExchange(scope, arrival, guard, loop).run(self._site)
            elif path in scraping.PATHS:
                await guard.reply(await scraping.answer(arrival), arrival)
            elif path in LOCAL_PATHS:
                await guard.reply(await _answer(arrival), arrival)
            else:
                transport = state.get(TRANSPORT) or gateway.transport_of(loop)
                await guard.reply(await gateway.handle(arrival, transport, entrant=guard, loop=loop), arrival)
        except ClientDisconnected:
            return
        except asyncio.CancelledError:
            # The watch cancels this task when the caller is gone or the time for the call is over. Anybody else who
            # does (the server) means it.
            if guard.ended_by is not None and not guard.has_begun:
                await guard.reply(refuse_request(guard.ended_by, arrival), arrival)
            elif not guard.is_gone:
                raise
        finally:
            watch.end(guard)
            if guard.has_place:
                overload.calls.leave()

    async def _serve_socket(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a realtime session. A site that wants to see all calls by its middleware has none: Django knows no
        websockets."""
        scope[DRAINS] = True
        state = scope.get("state", NO_STATE)
        loop = state.get(LOOP) or asyncio.get_running_loop()
        caller = CallerSocket(scope, receive, send, loop, self._send_timeout)
        headers = realtime.with_credential(scope["headers"], scope.get("subprotocols", []))
        query, client = scope["query_string"], client_of(scope)
        arrival = read_arrival("GET", path, _raw_path(scope, path), query, headers, NO_BODY, client)
        watch = state.get(WATCH) or Watch(loop)
        watch.begin(caller)
        try:
            if self._is_direct:
                transport = state.get(TRANSPORT) or gateway.transport_of(loop)
                await realtime.serve(arrival, caller, transport, loop)
            else:
                await caller.refuse(refuse_request(SocketsUnsupported(NO_SOCKETS), arrival))
        finally:
            watch.end(caller)
            if caller.has_place:
                overload.calls.leave()


def _raw_path(scope: Scope, path: str) -> bytes:
    """Give the end of the path that is the gateway's as it was sent."""
    full: str = scope["path"]
    raw: bytes = scope.get("raw_path") or full.encode()
    return raw[len(full) - len(path) :]


async def _answer(arrival: Arrival) -> Reply:
    """Answer one of the LOCAL_PATHS."""
    if arrival.method not in ("GET", "HEAD"):
        error = MethodNotAllowed(f"{arrival.method[:32]} is not possible here. Use GET.")
        return refuse_request(error, arrival)
    if arrival.path == "/health":
        return health.alive(arrival.request_id)
    if arrival.path == "/health/ready":
        return await health.ready(arrival.request_id)
    return health.hello(arrival.request_id)
