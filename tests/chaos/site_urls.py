"""The site of the wire tests, with a look at everything that a call could leave behind in the process."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import traceback
from collections import Counter
from io import StringIO

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from ai_gateway import breakers, finishing, gateway, live, mirrors, overload, traffic
from ai_gateway.retries import budget
from ai_gateway.transports.pooled import PooledTransport
from tests.wire import site_urls

OF_THE_SERVER = ("LifespanOn.main", "Server.serve")
OF_A_REQUEST = ("RequestResponseCycle.run_asgi", "ASGIHandler.listen_for_disconnect")
"""The coroutines of tasks that are always there, and that a request of Django's has beside its own."""


async def inside(request: HttpRequest) -> HttpResponse:
    """Tell what there is in the process that belongs to calls: all of it is 0 when there are none."""
    found = {
        **tasks(),
        "calls under way": budget.calls,
        "repetitions under way": budget.repetitions,
        "calls listed": live.count(),
        "targets asked": sum(count.calls for count in traffic._under_way.values()),
        "places taken": overload.calls.taken,
        "calls waiting": overload.calls.waiting,
        "places taken at providers": sum(each.taken for each in overload.at_providers.values()),
        "copies": mirrors.copies.taken,
        "read on": len(finishing._tasks),
        "probes": sum(breaker.is_probing for breaker in breakers._breakers.values()),
        **pools(),
    }
    if "collect" in request.GET:
        gc.collect()
    process = {"threads": threading.active_count(), "files": len(os.listdir("/proc/self/fd")) - 1}
    return JsonResponse({"left": found, "process": process})


async def stacks(request: HttpRequest) -> HttpResponse:
    """Tell where every task and every thread is at the moment."""
    found = StringIO()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.print_stack(file=found)
    for frame in sys._current_frames().values():
        traceback.print_stack(frame, file=found)
    return HttpResponse(found.getvalue(), content_type="text/plain")


def tasks() -> dict[str, int]:
    """Count the tasks by the name of their coroutine, without those of the request that asks and of the server."""
    current = asyncio.current_task()
    assert current is not None
    found = Counter(name_of(task) for task in asyncio.all_tasks() - {current})
    found.subtract(OF_THE_SERVER)
    # Before Django 6.1, a view runs in a task beside these.
    found.subtract(name for name in OF_A_REQUEST if name != name_of(current))
    return {f"task {name}": number for name, number in found.items()}


def name_of(task: asyncio.Task[object]) -> str:
    """Name the coroutine of a task."""
    return getattr(task.get_coro(), "__qualname__", "")


def pools() -> dict[str, int]:
    """Count what is not idle in the pools of connections, and the slots that nobody has."""
    transport = gateway._transports[asyncio.get_running_loop()]
    assert isinstance(transport, PooledTransport)
    all_pools = list(transport._pools.values())
    return {
        "connections busy": sum(len(pool._busy) for pool in all_pools),
        "waiting for a connection": sum(not waiter.done() for pool in all_pools for waiter in pool._waiters),
        "slots lost": sum(pool._opened - len(pool._connections) for pool in all_pools),
        "connections of nobody": sum(len(pool._connections) - len(pool._idle) - len(pool._busy) for pool in all_pools),
    }


urlpatterns = [path("inside", inside), path("stacks", stacks), *(pattern for pattern in site_urls.urlpatterns)]
