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


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mariadb"])
def environment(request: pytest.FixtureRequest) -> dict[str, str]:
    """A site whose limits are counted in its database."""
    name = {"sqlite": "site_database", "postgresql": "postgres_server", "mariadb": "mariadb_server"}[request.param]
    found: Any = request.getfixturevalue(name)
    database: databases.Database = found if request.param == "sqlite" else found.database
    # Calls wait for each other here, and the machine may be busy: nobody is to lose patience.
    settings = {"LIMIT_STORE": {"BACKEND": "database", "TIMEOUT": 60}}
    return site_environment("direct", settings, {"DATABASES": {"default": database}})


@pytest.fixture(scope="module")
def shell(environment: dict[str, str]) -> Iterator[SiteShell]:
    shell = SiteShell(environment)
    yield shell
    shell.close()


class Flooders:
    """Processes that ask when they are told to."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._running = [
            subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "tests.limits.flood"],
                cwd=ROOT,
                env=environment,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=1,
            )
            for _ in range(PROCESSES)
        ]
        assert self._lines() == ["ready\n"] * PROCESSES

    def _lines(self) -> list[str]:
        return [process.stdout.readline() for process in self._running if process.stdout is not None]

    def flood(self, calls: int, counter: str, ceiling: int) -> list[int]:
        """Let all of them ask at the same time, and give how many calls of each were admitted."""
        for process in self._running:
            assert process.stdin is not None
            process.stdin.write(f"{calls} {counter} {ceiling}\n")
        return [int(line) for line in self._lines()]

    def close(self) -> None:
        """End them, all in good order."""
        for process in self._running:
            process.communicate()
        assert [process.returncode for process in self._running] == [0] * PROCESSES


@pytest.fixture(scope="module")
def flooders(environment: dict[str, str]) -> Iterator[Flooders]:
    flooders = Flooders(environment)
    yield flooders
    flooders.close()


def test_of_200_calls_exactly_20_are_admitted(flooders: Flooders, shell: SiteShell) -> None:
    admitted = flooders.flood(200 // PROCESSES, "few", 20)
    assert sum(admitted) == 20
    assert shell.run(STAND, counter="few") == {"quota": [40, 0], "rate": [0, 0], "concurrency": [0, 0]}


def test_16_writers_of_one_row_all_have_their_turn(flooders: Flooders, shell: SiteShell) -> None:
    """Each process writes with four connections."""
    admitted = flooders.flood(25, "busy", 10_000)
    assert admitted == [25] * PROCESSES
    assert shell.run(STAND, counter="busy") == {"quota": [200, 0], "rate": [0, 0], "concurrency": [0, 0]}
