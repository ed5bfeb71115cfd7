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

CLEAR = "[model.objects.all().delete() for model in (Route, Provider, VirtualKey, User)]"


class ControlledGateway:
    """A gateway and a process that changes its database."""

    def __init__(self, process: GatewayProcess, shell: SiteShell) -> None:
        self.process = process
        self.shell = shell
        self.raw = RawClient(process.port)

    @classmethod
    def start(
        cls,
        door: Door,
        database: databases.Database,
        settings: Mapping[str, Any],
        log: Path,
        environment: Mapping[str, str],
        arguments: tuple[str, ...] = (),
        *,
        clear: bool = True,
    ) -> ControlledGateway:
        """Start both."""
        site = {"DATABASES": {"default": database}}
        chosen = {"POLL": 0.5, **settings}
        shell = SiteShell({**site_environment(door, chosen, site), **environment})
        try:
            if clear:
                shell.run(CLEAR)
            process = GatewayProcess(door, chosen, log, site=site, environment=environment, arguments=arguments)
        except BaseException:
            shell.close()
            raise
        return cls(process, shell)

    def stop(self) -> None:
        """End both. The log must be in order."""
        self.shell.close()
        self.process.stop()
        self.process.assert_log_in_order()

    def clear(self) -> None:
        """Delete what people have made."""
        self.shell.run(CLEAR)

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
        variables = {"AI_GATEWAY_ENCRYPTION_KEYS": key, **(environment or {})}
        chosen = {**default_settings(upstream), **settings}
        log = tmp_path / f"gateway-{len(started)}.log"
        started.append(ControlledGateway.start(door, database, chosen, log, variables, arguments, clear=clear))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture(scope="module")
def _shared() -> Iterator[dict[tuple[Door, str], ControlledGateway]]:
    shared: dict[tuple[Door, str], ControlledGateway] = {}
    yield shared
    for each in shared.values():
        each.stop()


@pytest.fixture
def controlled(
    _shared: dict[tuple[Door, str], ControlledGateway],
    door: Door,
    upstream: Upstream,
    database: databases.Database,
    tmp_path: Path,
) -> Iterator[ControlledGateway]:
    """A gateway of one worker, with nothing in its database. The tests of a module share it, and the database of the
    first of them that has this door and this kind of database."""
    name = (door, database["ENGINE"])
    if name not in _shared:
        variables = {"AI_GATEWAY_ENCRYPTION_KEYS": crypto.generate_key()}
        _shared[name] = ControlledGateway.start(door, database, default_settings(upstream), tmp_path / "log", variables)
    else:
        _shared[name].clear()
    yield _shared[name]
    _shared[name].process.assert_log_in_order()
