"""docs/clients.md says what the tests of this folder declare, and nothing else."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, Literal, cast

import pytest

from tests.clients import matrix
from tests.clients.catalogue import AGENT_FEATURES, AGENTS, FEATURES, Agent, Client
from tests.clients.libraries import CLIENTS
from tests.clients.packages import DRIVERS, HERE, pinned
from tests.clients.test_configuration import EXAMPLE, examples

PAGE = matrix.PAGE.read_text(encoding="utf-8")


def test_the_tables_tell_what_is_declared() -> None:
    """What was not tried yet, in this version, may be left open; nothing may be told that is not so."""
    left_open = {cell: mark for cell, mark in matrix.told(PAGE).items() if mark == matrix.NOT_TRIED}
    assert matrix.page_with(PAGE, {**matrix.declared(), **left_open}) == PAGE, "run `python -m tests.clients`"


def test_a_cell_that_a_run_found_otherwise_is_told() -> None:
    cells = {**matrix.declared(), (CLIENTS[0].title, "stream"): matrix.FAILS}
    assert matrix.told(matrix.page_with(PAGE, cells))[CLIENTS[0].title, "stream"] == matrix.FAILS


def test_what_was_not_tried_stays_as_it_was() -> None:
    cells = matrix.declared()
    told = matrix.told(matrix.page_with(PAGE, cells))
    assert {cell: told[cell] for cell in cells} == cells


def report(cell: str, outcome: Literal["passed", "failed", "skipped"], when: Literal["call", "teardown"]) -> Any:
    return pytest.TestReport("a test", ("", 0, ""), {}, outcome, None, when, user_properties=[("shows", cell)])


@pytest.mark.parametrize(
    ("calls", "ends", "mark"),
    [
        (["passed", "passed"], ["passed", "passed"], matrix.WORKS),
        (["passed", "failed"], ["passed", "passed"], matrix.FAILS),
        (["passed", "passed"], ["failed", "passed"], matrix.FAILS),
        (["skipped", "skipped"], ["passed", "passed"], matrix.NOT_TRIED),
    ],
)
def test_a_cell_is_kept_as_soon_as_its_tests_are_done(calls: list[Any], ends: list[Any], mark: str) -> None:
    kept: list[matrix.Cells] = []
    recorder = matrix.Recorder(kept.append)
    tests = [SimpleNamespace(user_properties=[("shows", "a client|stream")]) for _ in calls]
    recorder.pytest_collection_finish(cast(pytest.Session, SimpleNamespace(items=tests)))
    for call, end in zip(calls, ends, strict=True):
        assert kept == []
        recorder.pytest_runtest_logreport(report("a client|stream", call, "call"))
        recorder.pytest_runtest_logreport(report("a client|stream", end, "teardown"))
    assert kept == [{("a client", "stream"): mark}]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.title)
def test_a_client_is_declared_in_order(client: Client) -> None:
    assert (DRIVERS / client.driver).exists()
    assert client.package in pinned(client.environment)
    assert client.other != client.format
    told = [*client.lacks, *client.fails, *client.notes]
    assert set(told) <= set(FEATURES)
    assert len(told) == len(set(told))


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_what_an_agent_shows_has_a_test(agent: Agent) -> None:
    assert agent.package in pinned(agent.environment)
    shown = re.findall(rf'shows\("{agent.name}", "(\w+)"\)', "".join(map(str, read_tests())))
    assert set(shown) == set(agent.shows) <= set(AGENT_FEATURES)


def read_tests() -> list[str]:
    return [file.read_text(encoding="utf-8") for file in HERE.glob("test_*.py")]


def test_each_client_has_an_example_of_its_configuration() -> None:
    assert len(examples()) == len(EXAMPLE.findall(PAGE))
    sections = {example.client for example in examples()}
    wanted = {client.name for client in CLIENTS} | {agent.name for agent in AGENTS}
    assert wanted <= sections
