"""Writing how much the model shall think, in the efforts that it takes."""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.capabilities import Capabilities
from ai_gateway.protocols.conversation import Reasoning, Request
from ai_gateway.protocols.efforts import effort_of, nearest


class ReasoningWriter:
    """Writes the reasoning of one request. `is_on` says whether the model is going to reason."""

    def __init__(self, request: Request, capabilities: Capabilities) -> None:
        self._name = request.name_of("reasoning")
        self._asked = request.reasoning or Reasoning()
        self._capabilities = capabilities
        self.dropped: list[str] = []
        self.effort = self._effort()
        self.is_on = self._is_on()

    def write(self) -> dict[str, Any]:
        """Write `reasoning`; nothing if there is nothing to say."""
        reasoning: dict[str, Any] = {}
        if self.effort is not None:
            reasoning["effort"] = self.effort
        if self._asked.is_shown and self.is_on:
            reasoning["summary"] = "auto"
        return {"reasoning": reasoning} if reasoning else {}

    def _is_on(self) -> bool:
        if self._capabilities.reasoning == "none":
            return False
        return self._capabilities.reasons_by_default if self.effort is None else self.effort != "none"

    def _effort(self) -> str | None:
        wanted = self._wanted()
        if wanted is None:
            return None
        if self._capabilities.reasoning == "none":
            if wanted != "none":
                self.dropped.append(self._name)
            return None
        efforts = self._capabilities.efforts
        if not efforts or wanted in efforts:
            return wanted
        if wanted == "none":
            self.dropped.append(self._name)
        return nearest(wanted, efforts)

    def _wanted(self) -> str | None:
        """What effort the caller wants, by name, by a number of tokens, or by switching it off."""
        if self._asked.effort is not None:
            return self._asked.effort
        if self._asked.mode == "disabled" or self._asked.budget == 0:
            return "none"
        if self._asked.budget is None:
            return None
        return effort_of(self._asked.budget)
