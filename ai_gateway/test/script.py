"""What providers answer, one request after the other, and what they were sent: in the process or on a socket."""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ai_gateway.test.answers import Answer, Written, says
from ai_gateway.test.sent import Sent

Reaction = Answer | Callable[[Sent], Answer]
"""What is answered, or what tells it when it sees the request."""

CREDENTIAL = "sk-test"

USUAL = ("openai", "anthropic", "gemini")
"""Providers that have a credential in any case, so that they can be asked."""

NO_MODELS = Written(200, {"content-type": "application/json"}, [json.dumps({"object": "list", "data": []}).encode()])


class Scripted(ABC):
    """Providers that answer by a script, whatever way they are asked. As a context manager, or with `start` and
    `stop`."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        """The requests that providers got, in their order. Lists of models are not among them: those are empty."""
        self._first: deque[Reaction] = deque()
        self._last: Reaction = says("Hello from the test's provider.")
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        """What went wrong in the script. The code under test sees an error of the gateway's, and may bear it."""

    def answer(self, *reactions: Reaction) -> None:
        """Answer the next requests so, one each; the last one serves all further requests as well."""
        for each in reactions:
            if not isinstance(each, Answer) and not callable(each):
                raise TypeError(f"{each!r} is no answer. Say says({each!r}), or sends(...) for exactly this.")
        if not reactions:
            raise TypeError("Say what is answered: answer(says('Hello')).")
        *first, last = reactions
        with self._lock:
            self._first, self._last = deque(first), last

    def answer_to(self, sent: Sent) -> Written:
        """Answer a request. Raises what goes wrong in the script; so do `request` and the end of the block, later."""
        if sent.method == "GET" and sent.path.endswith("/models"):
            return NO_MODELS
        with self._lock:
            self.sent.append(sent)
            reaction = self._first.popleft() if self._first else self._last
        try:
            return (reaction if isinstance(reaction, Answer) else reaction(sent)).to(sent)
        except BaseException as error:
            self._failure = self._failure or error
            raise

    def _check_script(self) -> None:
        """Raise what went wrong in the script, once."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    @property
    def request(self) -> Sent:
        """The only request that providers got. Raises what went wrong in the script."""
        self._check_script()
        assert len(self.sent) == 1, f"{len(self.sent)} requests were sent: {[each.url for each in self.sent]}"
        return self.sent[0]

    @abstractmethod
    def start(self) -> Self:
        """Begin. Raises RuntimeError if it has begun."""

    @abstractmethod
    def stop(self) -> None:
        """End. Raises what went wrong in the script."""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
