"""The gateway at the root of a site that has a page and a form of its own."""

from __future__ import annotations

import asyncio
import threading

import msgspec
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

from ai_gateway import playground, roster


def page(request: HttpRequest) -> HttpResponse:
    """An ordinary page."""
    return HttpResponse("a page of the site")


def form(request: HttpRequest) -> HttpResponse:
    """A page that takes a form, which Django protects against CSRF."""
    return HttpResponse("taken")


async def inside(request: HttpRequest) -> HttpResponse:
    """Tell how many tasks and threads the process has, without the task that asks."""
    return JsonResponse(
        {"tasks": len(asyncio.all_tasks()) - 1, "threads": sorted(thread.name for thread in threading.enumerate())}
    )


@csrf_exempt
async def calls(request: HttpRequest) -> HttpResponse:
    """Tell which calls are under way; end the one that is posted."""
    if request.method == "POST":
        return JsonResponse({"found": await roster.cancel(request.GET["id"], "the test")})
    found = await roster.read()
    return JsonResponse({"calls": [msgspec.to_builtins(call) for call in found.calls], "processes": found.processes})


def admit(request: HttpRequest) -> bool:
    """Let anybody use the playground, as one and the same user."""
    request.user = User(pk=4711, username="player", is_superuser=True)
    return True


urlpatterns = [
    path("playground/", include(playground.views(admit))),
    path("page", page),
    path("form", form),
    path("inside", inside),
    path("calls", calls),
    path("", include("ai_gateway.urls")),
]
