"""Fixtures for gateways whose configuration is in a database, which another process changes while they serve."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ai_gateway import crypto
from tests import databases
from tests.conftest import default_settings
from tests.gateway_process import Door, GatewayProcess, site_environment
from tests.raw_client import Answer, RawClient
from tests.site_shell import SiteShell
from tests.upstream import Upstream
from tests.wire.samples import CHAT, CHAT_PATH

LIVE = 5.0
"""Seconds in which a change must be in force everywhere."""


class ControlledGateway:
    """A gateway and a process that changes its database."""

    def __init__(self, process: GatewayProcess, shell: SiteShell) -> None:
        self.process = process
        self.shell = shell
        self.raw = RawClient(process.port)

    def issue(self, user: str, **fields: Any) -> str:
        """Make a key for a user, who is made too if need be."""
        code = """
user = User.objects.filter(username=name).first() or make_user(name)
result = make_key(user, **fields)[1]
"""
        return str(self.shell.run(code, name=user, fields=fields))

    def ask(self, token: str, model: str = "echo/echo-1", **headers: str) -> Answer:
        """Ask for a model with a key."""
        others = [(name.replace("_", "-"), value) for name, value in headers.items()]
        pairs = [("authorization", f"Bearer {token}"), *others]
        return self.raw.post(CHAT_PATH, {**CHAT, "model": model}, pairs)


Start = Callable[..., ControlledGateway]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, site_database: databases.Database, tmp_path: Path) -> databases.Database:
    """A database with tables: every test of the control plane runs with each kind."""
    if request.param == "postgresql":
        server: databases.PostgresServer = request.getfixturevalue("postgres_server")
        return server.database
    return databases.sqlite(Path(shutil.copy(site_database["NAME"], tmp_path / "db.sqlite3")))


@pytest.fixture
def start_controlled(upstream: Upstream, database: databases.Database, tmp_path: Path) -> Iterator[Start]:
    """Start gateways on that database, with one encryption key, and a process beside them."""
    started: list[ControlledGateway] = []
    key = crypto.generate_key()

    def start(
        door: Door = "direct",
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        clear: bool = True,
        **settings: Any,
    ) -> ControlledGateway:
        site = {"DATABASES": {"default": database}}
        chosen = {**default_settings(upstream), "POLL": 0.5, **settings}
        variables = {"AI_GATEWAY_ENCRYPTION_KEYS": key, **(environment or {})}
        shell = SiteShell({**site_environment(door, chosen, site), **variables})
        if clear:
            shell.run("[model.objects.all().delete() for model in (Route, Provider, VirtualKey, User)]")
        log = tmp_path / f"gateway-{len(started)}.log"
        try:
            process = GatewayProcess(door, chosen, log, site=site, environment=variables, arguments=arguments)
        except BaseException:
            shell.close()
            raise
        started.append(ControlledGateway(process, shell))
        return started[-1]

    yield start
    for each in started:
        each.shell.close()
        each.process.stop()
        each.process.assert_log_in_order()


@pytest.fixture
def controlled(start_controlled: Start, door: Door) -> ControlledGateway:
    """A gateway of one worker."""
    return start_controlled(door)
