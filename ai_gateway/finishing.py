"""What goes on without a caller: above all, answers whose caller has hung up, if the provider bills all of them anyway
(Amazon Bedrock does).

As a rule the provider is hung up on too, and stops. One whose `finish_within` says so is read on instead, for so many
seconds at most, to learn what the answer used: the count that is billed is better than an estimate of ours. What goes
on without a caller is a task of its own, and ends with the process at the latest.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from typing import Any
from weakref import finalize

from ai_gateway.calls import Reply, ReplyBody
from ai_gateway.errors import GatewayError

logger = logging.getLogger("ai_gateway")

_tasks: set[asyncio.Task[None]] = set()
"""What goes on: asyncio itself holds tasks only weakly."""


async def despite_its_caller(work: asyncio.Future[Reply], seconds: float, when_over: Callable[[], None]) -> Reply:
    """Wait for a reply. If the caller hangs up meanwhile, the work goes on for so many seconds; its answer is read to
    the end and thrown away, and then `when_over` is called. The cancellation is raised all the same."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        if work.cancelled():
            raise
        go_on(_read_reply(work), seconds, when_over)
        raise


def read_on(body: ReplyBody, seconds: float, when_over: Callable[[], None]) -> None:
    """Read a body to its end without its caller, for so many seconds at most, close it, and call `when_over`."""
    go_on(_read_body(body), seconds, when_over)


def go_on(work: Coroutine[Any, Any, None], seconds: float, when_over: Callable[[], None]) -> None:
    """Do something after the caller has left."""
    loop = asyncio.get_running_loop()
    # Not in the context of the request, which Django ends with it.
    task = loop.create_task(_bounded(work, seconds, when_over), context=Context())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


def close_when_lost(
    holder: object, body: ReplyBody, loop: asyncio.AbstractEventLoop, seconds: float
) -> finalize[[ReplyBody, asyncio.AbstractEventLoop, float, int], object]:
    """Have a body closed, on its own event loop and within so many seconds, when nobody has `holder` any more, in
    whatever thread that is found. Who closes it in another way detaches what is given, and who calls that has it closed
    now. In a forked process it is the parent's."""
    lost = finalize(holder, _close_soon, body, loop, seconds, os.getpid())
    lost.atexit = False
    return lost


def _close_soon(body: ReplyBody, loop: asyncio.AbstractEventLoop, seconds: float, process: int) -> None:
    if os.getpid() == process:
        with suppress(RuntimeError):  # The loop is closed, and has ended its calls.
            loop.call_soon_threadsafe(_close_now, body, seconds)


def _close_now(body: ReplyBody, seconds: float) -> None:
    go_on(body.aclose(), seconds, lambda: None)


async def _bounded(work: Coroutine[Any, Any, None], seconds: float, when_over: Callable[[], None]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await work
    except (TimeoutError, GatewayError) as error:
        logger.info("An answer without a caller was not read to its end: %s", error or "it took too long")
    except Exception:
        logger.exception("Reading on without a caller failed")
    finally:
        when_over()


async def _read_reply(work: asyncio.Future[Reply]) -> None:
    await read(await work)


async def read(reply: Reply) -> None:
    """Read a reply to its end, throw it away and close it."""
    if isinstance(reply.body, ReplyBody):
        await _read_body(reply.body)


async def _read_body(body: ReplyBody) -> None:
    try:
        async for _ in body:
            pass
    finally:
        await body.aclose()


async def end(loop: asyncio.AbstractEventLoop) -> None:
    """End what still goes on in an event loop."""
    tasks = [task for task in _tasks if task.get_loop() is loop]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
