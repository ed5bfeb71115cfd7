"""Several processes and one budget: what is there once is given once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests import databases
from tests.gateway_process import ROOT, site_environment
from tests.site_shell import SiteShell

PROCESSES = 4

STAND = """
from ai_gateway.models import LimitCounter, Reservation
rows = LimitCounter.objects.filter(name__contains=f":{counter}:").values_list("name", "spent", "reserved")
result = {name.partition(":")[0]: [spent, reserved] for name, spent, reserved in rows}
assert not Reservation.objects.filter(counter__contains=f":{counter}:").exists()
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def environment(request: pytest.FixtureRequest) -> dict[str, str]:
    """A site whose limits are counted in its database."""
    name = "site_database" if request.param == "sqlite" else "postgres_server"
    found: Any = request.getfixturevalue(name)
    database: databases.Database = found if request.param == "sqlite" else found.database
    # Calls wait for each other here, and the machine may be busy: nobody is to lose patience.
    settings = {"LIMIT_STORE": {"BACKEND": "database", "TIMEOUT": 60}}
    return site_environment("direct", settings, {"DATABASES": {"default": database}})


@pytest.fixture
def shell(environment: dict[str, str]) -> Iterator[SiteShell]:
    shell = SiteShell(environment)
    yield shell
    shell.close()


def flood(environment: dict[str, str], calls: int, counter: str, ceiling: int) -> list[int]:
    """Let all processes ask at the same time, and give how many calls of each were admitted."""
    command = [sys.executable, "-W", "error", "-m", "tests.limits.flood", str(calls), counter, str(ceiling)]
    running = [
        subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1
        )
        for _ in range(PROCESSES)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
    outputs = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * PROCESSES
    return [int(output) for output in outputs]


def test_of_200_calls_exactly_20_are_admitted(environment: dict[str, str], shell: SiteShell) -> None:
    admitted = flood(environment, 200 // PROCESSES, "few", 20)
    assert sum(admitted) == 20
    assert shell.run(STAND, counter="few") == {"quota": [40, 0], "rate": [0, 0], "concurrency": [0, 0]}


def test_16_writers_of_one_row_all_have_their_turn(environment: dict[str, str], shell: SiteShell) -> None:
    """Each process writes with four connections."""
    admitted = flood(environment, 25, "busy", 10_000)
    assert admitted == [25] * PROCESSES
    assert shell.run(STAND, counter="busy") == {"quota": [200, 0], "rate": [0, 0], "concurrency": [0, 0]}
