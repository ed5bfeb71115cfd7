"""What the Python programs in this folder share: they are told jobs on standard input and tell what came of them.

Each program runs in an environment of its own that has one client and nothing of this project. It says which versions
it has, and then answers each line, a job in JSON, by a line, what the client made of it, in the same words for all
clients. To load a client takes seconds, a job takes milliseconds: so one program does many.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import inspect
import json
import os
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any


class Job:
    """What is to be done: the scenario, where the gateway is, and what is asked."""

    def __init__(self, members: Mapping[str, Any]) -> None:
        self.api: str = members["api"]
        self.scenario: str = members["scenario"]
        self.url: str = members["url"]
        """The gateway, without a path."""
        self.key: str = members["key"]
        self.model: str = members["model"]
        self.prompt: str = members["prompt"]
        self.tool: dict[str, Any] = members["tool"]
        self.schema: dict[str, Any] = members["schema"]
        self.image: str = members["image"]
        """A PNG in base64."""
        self.texts: list[str] = members["texts"]
        """What is to be embedded."""

    @property
    def data_url(self) -> str:
        return f"data:image/png;base64,{self.image}"

    @property
    def png(self) -> bytes:
        return base64.b64decode(self.image)


def price_of(fruit: str, count: int) -> str:
    """Tells the price of a fruit.

    Args:
        fruit: Its name.
        count: How many.
    """
    return f"{count} {fruit} cost {count * 3} crowns"


def errors_of(error: BaseException) -> Iterator[BaseException]:
    """Give an error and what it came of."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def status_of(error: BaseException) -> int | None:
    """Give the HTTP status that an error was made of, wherever the client has put it."""
    for cause in errors_of(error):
        for name in ("status_code", "status", "code"):
            if isinstance(status := getattr(cause, name, None), int):
                return status
    return None


def of_error(error: BaseException) -> dict[str, Any]:
    return {"error": type(error).__name__, "status": status_of(error), "message": str(error)}


def serve(apis: Mapping[str, type], *packages: str) -> None:
    """Do jobs until there are no more. `apis` are classes whose methods are the scenarios, by the API they speak."""
    # What a client prints is no answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    print(json.dumps({package: version(package) for package in packages}), file=answers, flush=True)
    for line in sys.stdin:
        job = Job(json.loads(line))
        print(json.dumps(done(job, apis)), file=answers, flush=True)


def done(job: Job, apis: Mapping[str, type]) -> Any:
    try:
        said = getattr(apis[job.api](job), job.scenario)()
        said = asyncio.run(said) if inspect.iscoroutine(said) else said
        # A client that was left in mid-stream may only let go of its connection with its last object.
        gc.collect()
        return said
    except Exception as error:
        return of_error(error)
