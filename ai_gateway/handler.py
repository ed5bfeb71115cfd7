"""Django's handler, as the gateway runs it.

Django's own makes a thread for each open request and goes into it at least twice, at the beginning and at the end, to
close database connections that are too old; and it makes two tasks, one of which waits for the caller to hang up. Here
a few threads serve all requests, and a request on one of the gateway's paths

- goes into a thread only if something in it asks for one: a middleware or a view that is not async. What Django does
  at the beginning and at the end is done then, in that thread. Receivers of `request_started` and `request_finished`
  that are not Django's own are called as ever;
- is cancelled by the gateway's guard when the caller hangs up, so that nobody else needs to wait for it;
- finds the gateway's view without a search through the URLconf, if it did so before;
- sends the reply as it is, if nobody touched it on the way out (`responses.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from io import BytesIO
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core import signals
from django.core.cache import close_caches
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import reset_urlconf
from django.db import close_old_connections, reset_queries
from django.dispatch import Signal
from django.http import HttpResponseBase
from django.urls import ResolverMatch, URLResolver, get_resolver, set_script_prefix
from django.utils.translation import get_language

from ai_gateway.conf import settings
from ai_gateway.responses import EventStreamResponse, WholeResponse, untouched
from ai_gateway.sockets import turn_down
from ai_gateway.views import BODIES, api

AT_THE_BEGINNING: frozenset[Callable[..., Any]] = frozenset((reset_queries, close_old_connections))
AT_THE_END: frozenset[Callable[..., Any]] = frozenset((close_old_connections, close_caches, reset_urlconf))
"""What Django itself connects to its signals."""

LONGEST_REMEMBERED = 256
"""Characters of a path whose view is remembered. Those of the API are shorter, but for odd names of models."""


class Listeners:
    """Who listens to a signal: somebody besides Django? Found out again only when the receivers have changed."""

    def __init__(self, signal: Signal, djangos: frozenset[Callable[..., Any]]) -> None:
        self._signal = signal
        self._djangos = djangos
        self._seen: list[Any] = []
        self._are_others = False

    def are_others(self) -> bool:
        """Whether anybody but Django listens."""
        receivers = self._signal.receivers
        if receivers != self._seen:
            synchronous, asynchronous = self._signal._live_receivers(SharedThreadsHandler)
            self._seen = list(receivers)
            self._are_others = bool(asynchronous) or not self._djangos.issuperset(synchronous)
        return self._are_others


class RequestThread(Executor):
    """One of the shared threads, as a request sees it. What Django does there at the beginning of a request is done
    before the first thing that the request wants done."""

    def __init__(self, thread: Executor) -> None:
        self._thread = thread
        self.is_used = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See Executor.submit()."""
        if not self.is_used:
            self.is_used = True
            for each in AT_THE_BEGINNING:
                self._thread.submit(each)
        return self._thread.submit(fn, *args, **kwargs)


class SharedThreadsHandler(ASGIHandler):
    """Django's handler with a few threads for all requests.

    Each executor has one thread, and a request stays with one executor, so what Django keeps per thread (database
    connections above all) is used by one piece of synchronous code at a time, as Django needs it.
    """

    def __init__(self) -> None:
        super().__init__()
        executors = [
            ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"django-{number}")
            for number in range(settings.DJANGO_THREADS)
        ]
        self._executors = itertools.cycle(executors)
        self._started = Listeners(signals.request_started, AT_THE_BEGINNING)
        self._finished = Listeners(signals.request_finished, AT_THE_END)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request. A websocket is refused, which Django takes for an error."""
        if scope["type"] == "websocket":
            await turn_down(receive, send, "The site speaks HTTP here.")
            return
        if scope["type"] != "http":
            raise ValueError(f"Django can only handle ASGI/HTTP connections, not {scope['type']}.")
        executor = next(self._executors)
        if BODIES in scope:
            thread = RequestThread(executor)
            async with ThreadSensitiveContext(executor=thread):
                await self._serve_guarded(scope, receive, send, thread)
        else:
            async with ThreadSensitiveContext(executor=executor):
                await self.handle(scope, receive, send)

    async def read_body(self, receive: Any) -> Any:
        """Read a body as Django does. One that comes in one piece needs no file."""
        first = await receive()
        if first["type"] == "http.request" and not first.get("more_body", False):
            return BytesIO(first.get("body", b""))
        unread = [first]

        async def again() -> Any:
            return unread.pop() if unread else await receive()

        return await super().read_body(again)

    def resolve_request(self, request: Any) -> ResolverMatch:
        """Find the view as Django does. A path that led to the gateway's does so again."""
        path: str = request.path_info
        if BODIES in request.scope and len(path) <= LONGEST_REMEMBERED and not hasattr(request, "urlconf"):
            found = match_of_api(get_resolver(), get_language(), path)
            if found is not None:
                request.resolver_match = match = copied(found)
                return match
        resolved: ResolverMatch = super().resolve_request(request)
        return resolved

    async def send_response(self, response: HttpResponseBase, send: Any) -> None:
        """Send a response as Django does. A reply of the gateway's that nobody touched leaves as it came."""
        headers = untouched(response)
        if headers is None:
            await super().send_response(response, send)
            return
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        if isinstance(response, EventStreamResponse):
            try:
                async for chunk in response.body:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            finally:
                await response.body.aclose()
            await send({"type": "http.response.body"})
        elif isinstance(response, WholeResponse):
            await send({"type": "http.response.body", "body": response.content})

    async def _serve_guarded(self, scope: Any, receive: Any, send: Any, thread: RequestThread) -> None:
        """Do what `handle` does, for a request whose task is cancelled when its caller hangs up."""
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        with body:
            set_script_prefix(get_script_prefix(scope))
            if self._started.are_others():
                thread.is_used = True
                await signals.request_started.asend(sender=type(self), scope=scope)
            response: Any = None
            try:
                request, response = self.create_request(scope, body)
                if request is not None:
                    response = await self.run_get_response(request)
                await self.send_response(response, send)
            finally:
                await self._finish(response, thread)

    async def _finish(self, response: HttpResponseBase | None, thread: RequestThread) -> None:
        """Close the response, which sends `request_finished`; or do what that comes to, if only Django listens."""
        if response is None:
            await signals.request_finished.asend(sender=type(self))
        elif thread.is_used or self._finished.are_others():
            await sync_to_async(response.close)()
        else:
            release(response)


@lru_cache(maxsize=1024)
def match_of_api(resolver: URLResolver, language: str | None, path: str) -> ResolverMatch | None:
    """Resolve a path. Only the gateway's own view is remembered: any other may be looked up by what changes."""
    match = resolver.resolve(path)
    return match if match.func is api else None


def copied(match: ResolverMatch) -> ResolverMatch:
    """Copy a match for one more request, whose middleware may change the arguments of the view. By hand: Django has
    this class refuse to be copied."""
    copy = object.__new__(ResolverMatch)
    copy.__dict__.update(match.__dict__, kwargs=dict(match.kwargs))
    return copy


def release(response: HttpResponseBase) -> None:
    """Close a response whose request was in no thread, so that it has no database connection to give back. Its URLconf
    ends with its task."""
    for close in response._resource_closers:  # type: ignore[attr-defined]
        with suppress(Exception):  # As Django has it: what fails must not keep the others open.
            close()
    response._resource_closers.clear()  # type: ignore[attr-defined]
    response.closed = True
    close_caches()
