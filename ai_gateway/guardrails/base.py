"""What a guardrail is: it sees the texts of a call, before it is sent or when it is answered, and says what is to be
done.

It sees texts, and need not know in which of the APIs they stand. It may let them pass (None), block the call, or change
letters. It does nothing itself: whether a block blocks, or is only noted, is the operator's choice (`guarding.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

import msgspec

from ai_gateway.edits import Edit
from ai_gateway.passages import Passage, passages_of
from ai_gateway.texts import Text

REQUEST, ANSWER = "request", "answer"

STAGES = (REQUEST, ANSWER)
"""When a guardrail may be asked."""

Ask = Callable[[str, str, Mapping[str, Any]], Awaitable[Any]]
"""Asks a provider, by its alias, at a path, with a JSON body, and gives the JSON of its answer. Raises GatewayError."""


class View(msgspec.Struct, kw_only=True):
    """What a guardrail sees of a call.

    `texts` are those of the request, or of the answer; of a streamed answer some of a text that is still coming, with a
    little of what came before it. An upload has none.
    """

    stage: str
    texts: Sequence[Text]
    path: str
    """The endpoint: "/v1/chat/completions"."""
    model: str = ""
    """The model, as the caller named it."""
    key_name: str = ""
    body: bytes = b""
    """The JSON document, or nothing if it is none, or comes in a stream."""
    is_upload: bool = False
    memory: MutableMapping[str, Any]
    """What the guardrail may keep from the request to the answer of the same call."""
    ask: Ask

    @property
    def passages(self) -> Sequence[Passage]:
        """The texts as they are read: the parts of a message are one, and so are messages of one side in a row."""
        return passages_of(self.texts)

    @property
    def length(self) -> int:
        """About how long it is to look through it: bytes of the document, or letters of the texts if there is none."""
        return len(self.body) or sum(len(text.value) for text in self.texts)

    @property
    def document(self) -> Any:
        """The JSON document, read; None if there is none."""
        return msgspec.json.decode(self.body) if self.body else None


class Block(NamedTuple):
    """The call must not go on. The caller is told why, and it is written down: a reason must not repeat what was
    found."""

    reason: str


class Change(NamedTuple):
    """Texts are to read otherwise: the edits of each, by its number in `View.texts`. What was found is said in
    `reason`, without repeating it."""

    edits: Mapping[int, Sequence[Edit]]
    reason: str


Verdict = Block | Change | None


class Guardrail(ABC):
    """Says what is to become of the texts of a call. There is one for all calls, in all event loops."""

    stages: Sequence[str] = STAGES
    """When it is asked, unless the settings say something else."""

    @abstractmethod
    async def review(self, view: View) -> Verdict:
        """Say what is to be done. Whatever it raises is a failure, and the settings say what follows from one."""

    def check(self) -> None:  # noqa: B027 - most have nothing to check.
        """Raise ValueError, saying why, if it cannot work as it is set up."""
