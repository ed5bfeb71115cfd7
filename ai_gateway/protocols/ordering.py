"""Parts one after the other, for formats that cannot have two open at once (Anthropic, Gemini, Bedrock).

The part that was opened first passes live. What comes for the others meanwhile is held back until it is closed: at most
what the upstream sends, once. Clients of these formats act on whole calls, so nothing is lost by it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ai_gateway.protocols.events import Cited, Closed, Event, Failed, Finished, Grown, Opened, Signed


class InOrder:
    """Puts the events of one stream in order."""

    def __init__(self) -> None:
        self._head: int | None = None
        self._held: dict[int, list[Event]] = {}
        self._order: deque[int] = deque()

    def feed(self, event: Event) -> Iterable[Event]:
        """Take the next event; give what may pass now."""
        if isinstance(event, Opened):
            return self._opened(event)
        if isinstance(event, Grown | Signed | Cited | Closed):
            return self._belonging(event.key, event)
        if isinstance(event, Finished | Failed):
            return [*self._rest(), event]
        return (event,)

    def _opened(self, event: Opened) -> Iterable[Event]:
        if self._head is None:
            self._head = event.key
            return (event,)
        self._held[event.key] = [event]
        self._order.append(event.key)
        return ()

    def _belonging(self, key: int, event: Event) -> Iterable[Event]:
        if key != self._head:
            if key in self._held:
                self._held[key].append(event)
            return ()
        if not isinstance(event, Closed):
            return (event,)
        return [event, *self._advance()]

    def _advance(self) -> Iterable[Event]:
        """The head is closed: let pass what waits, up to the next part that is not whole yet."""
        passing: list[Event] = []
        self._head = None
        while self._order and self._head is None:
            key = self._order.popleft()
            events = self._held.pop(key)
            passing += events
            if not isinstance(events[-1], Closed):
                self._head = key
        return passing

    def _rest(self) -> Iterable[Event]:
        """The stream ends: nothing is held back any longer. A reader closes its parts, so normally nothing is."""
        passing: list[Event] = []
        if self._head is not None:
            passing.append(Closed(key=self._head))
        for key in self._order:
            passing += self._held[key]
            if not isinstance(self._held[key][-1], Closed):
                passing.append(Closed(key=key))
        self._head, self._held, self._order = None, {}, deque()
        return passing
