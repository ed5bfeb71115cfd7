"""Django's handler as the gateway runs it: few threads, and none where none is wanted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core import signals
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.test import override_settings
from django.urls import path
from django.utils.decorators import async_only_middleware

from ai_gateway.handler import SharedThreadsHandler
from ai_gateway.views import BODIES

SCOPE = {
    "type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [], "http_version": "1.1",
    "client": ("127.0.0.1", 1), "server": ("testserver", 80),
}  # fmt: skip
GUARDED = {**SCOPE, BODIES: []}

View = Callable[[HttpRequest], Any]
urlpatterns: list[Any] = []


class Exchange:
    """What the server would give and take for one request; `closed` tells where responses were closed."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.incoming = [{"type": "http.request", "body": b"asked"}]
        self.began = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        if self.incoming:
            return self.incoming.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        self.began.set()


def served(view: View, scope: dict[str, Any] = GUARDED) -> list[dict[str, Any]]:
    """Have the handler answer a request with a view, and give what it sent."""

    async def main() -> list[dict[str, Any]]:
        exchange = Exchange()
        await SharedThreadsHandler()(dict(scope), exchange.receive, exchange.send)
        return exchange.sent

    with site(view):
        return asyncio.run(main())


@contextmanager
def site(view: View) -> Iterator[None]:
    """A site with one view and no middleware."""
    urlpatterns[:] = [path("", view)]
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[], ALLOWED_HOSTS=["*"]):
        yield


@contextmanager
def heard(signal: Any, receiver: Callable[..., None]) -> Iterator[None]:
    """Have somebody listen to a signal."""
    signal.connect(receiver)
    try:
        yield
    finally:
        signal.disconnect(receiver)


@pytest.fixture(autouse=True)
def djangos_receivers() -> None:
    """Let Django's own receiver listen, which pytest-django's client takes away."""
    for signal in (signals.request_started, signals.request_finished):
        signal.connect(close_old_connections)


async def hello(request: HttpRequest) -> HttpResponseBase:
    """Answer at once."""
    return HttpResponse(request.body + b" and answered")


def test_a_websocket_is_closed_before_it_is_open_and_anything_else_is_an_error() -> None:
    (closed,) = served(hello, {**SCOPE, "type": "websocket"})
    assert (closed["type"], closed["code"]) == ("websocket.close", 1008)
    with pytest.raises(ValueError, match="not lifespan"):
        served(hello, {**SCOPE, "type": "lifespan"})


def test_an_async_view_needs_no_thread() -> None:
    before = threading.active_count()
    after: list[int] = []

    async def view(request: HttpRequest) -> HttpResponseBase:
        after.append(threading.active_count())
        return await hello(request)

    assert served(view)[-1]["body"] == b"asked and answered"
    assert after == [before]


@pytest.mark.parametrize("scope", [SCOPE, GUARDED], ids=["the site's", "the gateway's"])
def test_synchronous_code_gets_a_thread_in_which_django_has_begun_and_ended(
    scope: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []

    def note(**kwargs: Any) -> None:
        threads.append(threading.current_thread().name)

    monkeypatch.setattr("ai_gateway.handler.AT_THE_BEGINNING", frozenset((note, close_old_connections)))

    async def view(request: HttpRequest) -> HttpResponseBase:
        await sync_to_async(note)()
        response = await hello(request)
        response._resource_closers.append(note)  # type: ignore[attr-defined]
        return response

    with heard(signals.request_started, note):
        served(view, scope)
    assert threads == [threads[0]] * 3
    assert threads[0].startswith("django-")


def test_a_response_is_closed_where_it_was_made_if_nothing_needed_a_thread() -> None:
    closed_in: list[str] = []

    async def view(request: HttpRequest) -> HttpResponseBase:
        response = await hello(request)
        response._resource_closers.append(lambda: closed_in.append(threading.current_thread().name))  # type: ignore[attr-defined]
        return response

    served(view)
    assert closed_in == [threading.current_thread().name]


@pytest.mark.parametrize("signal", [signals.request_started, signals.request_finished])
def test_who_listens_for_requests_is_called_in_a_thread(signal: Any) -> None:
    threads: list[str] = []

    def receiver(**kwargs: Any) -> None:
        threads.append(threading.current_thread().name)

    with heard(signal, receiver):
        served(hello)
    assert len(threads) == 1
    assert threads[0].startswith("django-")


def test_a_request_that_is_cancelled_ends_as_one_that_is_answered_does() -> None:
    told: list[str] = []

    async def chunks() -> Any:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            told.append("stream closed")

    async def view(request: HttpRequest) -> HttpResponseBase:
        return StreamingHttpResponse(chunks())

    def finished(**kwargs: Any) -> None:
        told.append("request finished")

    async def main() -> None:
        exchange = Exchange()
        task = asyncio.ensure_future(SharedThreadsHandler()(dict(GUARDED), exchange.receive, exchange.send))
        await exchange.began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with site(view), heard(signals.request_finished, finished):
        asyncio.run(main())
    assert sorted(told) == ["request finished", "stream closed"]


def asked(path: str, middleware: list[str]) -> list[dict[str, Any]]:
    """Ask the gateway for something that it refuses, twice, and give what was sent the second time."""

    async def main() -> list[dict[str, Any]]:
        handler = SharedThreadsHandler()
        for _ in range(2):
            exchange = Exchange()
            await handler({**GUARDED, "path": path, "raw_path": path.encode()}, exchange.receive, exchange.send)
        return exchange.sent

    with override_settings(ROOT_URLCONF="ai_gateway.urls", MIDDLEWARE=middleware, ALLOWED_HOSTS=["*"]):
        return asyncio.run(main())


@async_only_middleware
def renaming(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """A middleware that changes what the view is given, and a header of its answer."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = await get_response(request)
        assert request.resolver_match is not None
        request.resolver_match.kwargs["path"] = "changed"
        response.headers["X-Seen"] = request.resolver_match.view_name
        return response

    return middleware


def test_a_reply_that_nobody_touched_leaves_as_it_came() -> None:
    start, body = asked("/v1/chat/completions", [])
    assert (b"content-type", b"application/json") in start["headers"]
    assert (start["status"], b'"error"' in body["body"]) == (400, True)


def test_what_a_middleware_changes_is_sent_and_changes_no_other_request() -> None:
    start, body = asked("/v1/chat/completions", [f"{__name__}.renaming"])
    assert (b"X-Seen", b"api") in start["headers"]
    assert (start["status"], b'"error"' in body["body"]) == (400, True)


@pytest.mark.parametrize("path", ["/v1/nothing%", "/nowhere"])
def test_a_path_that_leads_nowhere_does_so_again(path: str) -> None:
    assert asked(path, [])[0]["status"] == 404


def test_what_fails_to_close_keeps_nothing_else_open() -> None:
    closed: list[str] = []

    def fail() -> None:
        raise RuntimeError

    async def view(request: HttpRequest) -> HttpResponseBase:
        response = await hello(request)
        response._resource_closers += [fail, lambda: closed.append("closed")]  # type: ignore[attr-defined]
        return response

    served(view)
    assert closed == ["closed"]


def test_a_caller_that_leaves_within_its_body_is_not_answered() -> None:
    async def main() -> list[dict[str, Any]]:
        exchange = Exchange()
        exchange.incoming = [{"type": "http.disconnect"}]
        await SharedThreadsHandler()(dict(GUARDED), exchange.receive, exchange.send)
        return exchange.sent

    with site(hello):
        assert asyncio.run(main()) == []
