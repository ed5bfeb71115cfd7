"""Names of functions in the alphabet that Google demands.

"Must be a-z, A-Z, 0-9, or contain underscores, colons, dots, and dashes", beginning with a letter or an underscore, and
64 characters at most (`FunctionDeclaration.name` in the Gemini API's reference).
"""

from __future__ import annotations

import re

from ai_gateway.protocols.tool_ids import made_id

_ALLOWED = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}")
_OTHERS = re.compile(r"[^a-zA-Z0-9_.:-]")
MAX_LENGTH = 64


class ToolNames:
    """The names of one request: as they are sent, and as the caller knows them."""

    def __init__(self) -> None:
        self._sent: dict[str, str] = {}
        self.changed: dict[str, str] = {}
        """Names that had to be changed: as sent, and as the caller knows them."""

    def sent(self, name: str) -> str:
        """Give the name to send. One that is not allowed is made readable, and told apart by a part of its hash."""
        if _ALLOWED.fullmatch(name):
            return name
        if name not in self._sent:
            ending = made_id("_", name, length=8)
            readable = _OTHERS.sub("_", name)
            start = readable if _ALLOWED.match(readable) else f"_{readable}"
            self._sent[name] = start[: MAX_LENGTH - len(ending)] + ending
            self.changed[self._sent[name]] = name
        return self._sent[name]
