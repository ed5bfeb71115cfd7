"""The tables of docs/clients.md: what the tests of this folder declare, and what a run of all of them saw.

`python -m tests.clients` writes them. A test holds the page to the declarations: a cell that a run found otherwise is
seen in a review and not committed as if it were true.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.clients.catalogue import AGENT_FEATURES, AGENT_MEANINGS, AGENTS, FEATURES, MEANINGS, TITLES, Agent, Client
from tests.clients.libraries import CLIENTS
from tests.clients.packages import pinned

IS_WHOLE = os.environ.get("GATEWAY_CLIENTS") == "all"
"""Whether this run is of all clients."""

only_in_a_run_of_everything = pytest.mark.skipif(not IS_WHOLE, reason="only `python -m tests.clients` installs it")

PAGE = Path(__file__).parent.parent.parent / "docs" / "clients.md"
BEGIN, END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"
WORKS, FAILS, HAS_NOT, NOT_TRIED = "✓", "✗", "—", "?"

NOTE = re.compile(r" <sup>\d+</sup>$")

Cells = Mapping[tuple[str, str], str]
"""What is told of a client and a feature."""


class Recorder:
    """A plugin of pytest: it keeps what the tests show of clients, each cell as soon as all tests of it are done.

    A run takes so long that it must not be lost if something ends it.
    """

    def __init__(self, keep: Callable[[Cells], None]) -> None:
        self._keep = keep
        self._outcomes: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self._to_come: Counter[tuple[str, str]] = Counter()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the tests of each cell."""
        self._to_come.update(cell for item in session.items for cell in _cells_of(item))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take down what became of a test, unless it only went well until the next phase of it."""
        for cell in _cells_of(report):
            if report.when == "call" or not report.passed:
                self._outcomes[cell].add("expected" if hasattr(report, "wasxfail") else report.outcome)
            if report.when == "teardown":
                self._to_come[cell] -= 1
                if not self._to_come[cell]:
                    self._keep({cell: _mark(self._outcomes[cell])})


def _cells_of(test: pytest.Item | pytest.TestReport) -> Iterator[tuple[str, str]]:
    for name, value in test.user_properties:
        if name == "shows":
            client, feature = str(value).split("|")
            yield client, feature


def _mark(outcomes: set[str]) -> str:
    if outcomes == {"passed"}:
        return WORKS
    return NOT_TRIED if outcomes == {"skipped"} else FAILS


def declared() -> Cells:
    """What the tests claim: what has to be seen if all of them pass."""
    of_clients = {
        (client.title, feature): FAILS if feature in client.fails else WORKS
        for client in CLIENTS
        for feature in FEATURES
        if feature not in client.lacks
    }
    return of_clients | {(agent.name, feature): WORKS for agent in AGENTS for feature in agent.shows}


def tables(cells: Cells) -> str:
    """Write the tables, and the notes on them."""
    notes = Notes()
    parts = [
        *("### Libraries in Python", "", *_of_clients("Python", cells, notes), ""),
        *("### Libraries in JavaScript", "", *_of_clients("JavaScript", cells, notes), ""),
        *(_meanings(MEANINGS), ""),
        *("### Coding agents", "", *_of_agents(cells, notes), ""),
        *(_meanings(AGENT_MEANINGS), ""),
        *notes.lines(),
    ]
    return "\n".join(parts) + "\n"


class Notes:
    """The notes on the tables, each once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, text: str) -> str:
        """Give the mark that leads to a note; "" for no note."""
        return f" <sup>{self._numbers.setdefault(text, len(self._numbers) + 1)}</sup>" if text else ""

    def lines(self) -> Iterator[str]:
        """Write the notes."""
        for text, number in self._numbers.items():
            yield f"{number}. {text}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _head(first: Sequence[str], features: Iterable[str]) -> Iterator[str]:
    titles = [*first, *features]
    yield _row(*titles)
    yield _row(*("---" if title in first else ":-:" for title in titles))


def _start_of(client: Client) -> tuple[str, ...]:
    """The cells that a client's row begins with."""
    formats = f"{TITLES[client.format]}, {TITLES[client.other]}"
    return (client.name, pinned(client.environment)[client.package], f"`{client.via}`", formats)


def _start_of_agent(agent: Agent) -> tuple[str, ...]:
    formats = ", ".join(TITLES[format] for format in agent.formats)
    return (agent.name, pinned(agent.environment)[agent.package], formats)


def _of_clients(language: str, cells: Cells, notes: Notes) -> Iterator[str]:
    yield from _head(("Client", "Version", "By", "Formats"), FEATURES.values())
    for client in CLIENTS:
        if client.language == language:
            found = (_cell(client, feature, cells, notes) for feature in FEATURES)
            yield _row(*_start_of(client), *found)


def _cell(client: Client, feature: str, cells: Cells, notes: Notes) -> str:
    if feature in client.lacks:
        return HAS_NOT + notes.mark(client.lacks[feature])
    note = client.fails.get(feature) or client.notes.get(feature, "")
    return cells.get((client.title, feature), NOT_TRIED) + notes.mark(note)


def _of_agents(cells: Cells, notes: Notes) -> Iterator[str]:
    yield from _head(("Agent", "Version", "Formats"), AGENT_FEATURES.values())
    for agent in AGENTS:
        found = (
            cells.get((agent.name, feature), NOT_TRIED) if feature in agent.shows else HAS_NOT
            for feature in AGENT_FEATURES
        )
        *start, last = _start_of_agent(agent)
        yield _row(*start, last + notes.mark(agent.note), *found)


def _meanings(meanings: Mapping[str, str]) -> str:
    return "; ".join(f"*{title}*: {meaning}" for title, meaning in meanings.items()) + "."


def told(text: str) -> Cells:
    """Read what a page tells. A client that has changed since, and be it only its version, is not told of."""
    rows = {}
    for line in text.split(BEGIN)[1].split(END)[0].splitlines():
        cells = [NOTE.sub("", cell.strip()) for cell in line.strip("|").split("|")]
        rows[tuple(cells[: -len(FEATURES)])] = rows[tuple(cells[: -len(AGENT_FEATURES)])] = cells
    starts = {client.title: (_start_of(client), FEATURES) for client in CLIENTS}
    starts |= {agent.name: (_start_of_agent(agent), AGENT_FEATURES) for agent in AGENTS}
    return {
        (name, feature): mark
        for name, (start, features) in starts.items()
        for feature, mark in zip(features, rows.get(start, ())[len(start) :], strict=False)
    }


def page_with(text: str, cells: Cells) -> str:
    """Put the tables into the page's text."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{tables(cells)}\n{END}{after}"


def write(cells: Cells) -> None:
    """Write what was seen into the page."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(page_with(text, {**told(text), **cells}), encoding="utf-8")
