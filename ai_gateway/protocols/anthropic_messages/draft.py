"""A request while it is being written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ai_gateway.protocols.capabilities import Capabilities, Destination
from ai_gateway.protocols.conversation import Request


class Draft:
    """What the writers of a request's portions have in common: what is asked for, what the model can do, the body so
    far, what had to be left out, and the beta features that the body needs."""

    def __init__(self, request: Request, destination: Destination, sent_names: dict[str, str]) -> None:
        self.request = request
        self.destination = destination
        self.body: dict[str, Any] = {"model": destination.model}
        self.dropped: list[str] = []
        self.betas: list[str] = []
        self.sent_names = sent_names
        """Names of tools that have to be changed: as the caller knows them, and as they are sent."""
        self.json_tool = ""
        """The name of the tool that takes the answer (see `Emulation`)."""
        self.unsent_stop: tuple[str, ...] = ()
        """Stop sequences that are not sent."""

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do."""
        return self.destination.capabilities

    def drop(self, field: str) -> None:
        """Leave out what the caller said in a field."""
        self.drop_names((self.request.name_of(field),))

    def drop_names(self, names: Iterable[str]) -> None:
        """Leave out members, by the caller's names."""
        self.dropped += [name for name in names if name not in self.dropped]

    def need(self, *betas: str) -> None:
        """Ask for beta features."""
        self.betas += [beta for beta in betas if beta not in self.betas]

    @property
    def is_thinking(self) -> bool:
        """Whether the model will think, as far as the body says it or the model does so by itself."""
        thinking = self.body.get("thinking")
        if isinstance(thinking, dict):
            return thinking.get("type") != "disabled"
        return self.capabilities.reasons_by_default

    @property
    def is_thinking_on_budget(self) -> bool:
        """Whether thinking is asked for with a number of tokens, Anthropic's older way."""
        thinking = self.body.get("thinking")
        return isinstance(thinking, dict) and thinking.get("type") == "enabled"
