"""Fixtures for gateways whose configuration is in a database, which another process changes while they serve."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ai_gateway import crypto
from tests import databases
from tests.conftest import StartGateway, default_settings
from tests.gateway_process import Door, GatewayProcess, site_environment
from tests.mysql_server import MysqlServer
from tests.raw_client import Answer, RawClient
from tests.site_shell import SiteShell
from tests.upstream import Upstream
from tests.wire.samples import CHAT, CHAT_PATH

LIVE = 5.0
"""Seconds in which a change must be in force everywhere."""

CLEAR = "[model.objects.all().delete() for model in (Route, Provider, VirtualKey, User)]"


STRICT: dict[str, Any] = {
    "MAX_BODY_BYTES": 100_000,
    "MAX_UPLOAD_BYTES": 200_000,
    "BODY_TIMEOUT": 0.5,
    "SEND_TIMEOUT": 0.5,
    "TIMEOUTS": {"connect": 0.5, "pool": 0.4, "first_byte": 1.0, "idle": 0.4},
    "KEEP_ALIVE_INTERVAL": 0,
    "TRANSPORT": {"OPTIONS": {"max_connections": 4}},
    "METRICS_TOKEN": "token-for-metrics",
    "ROUTES": {"both": ["dead/a", "openai/b"]},
    "PROBES": {"providers": ["probed"], "interval": 0.3},
}


@pytest.fixture
def strict(start_gateway: StartGateway, upstream: Upstream) -> RawClient:
    """A caller of a gateway that takes little and waits for nothing long; one for all tests of what is too much or too
    late. It knows a provider that is away, one that is away and asked whether it is, and one that waits for plain HTTP
    where TLS is due."""
    stored = {"allow_private": True, "api_key": "sk-x"}
    others = {
        "dead": {"BACKEND": "custom", "OPTIONS": {**stored, "base_url": "http://127.0.0.1:9/v1"}},
        "probed": {"BACKEND": "custom", "OPTIONS": {**stored, "base_url": "http://127.0.0.1:9/v1"}},
        "no-tls": {"BACKEND": "custom", "OPTIONS": {**stored, "base_url": f"https://127.0.0.1:{upstream.port}/v1"}},
    }
    providers = {**default_settings(upstream)["PROVIDERS"], **others}
    return RawClient(start_gateway(PROVIDERS=providers, **STRICT).port)


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
Share = Callable[..., ControlledGateway]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, empty_database: databases.Database, tmp_path: Path) -> databases.Database:
    """A database with tables: every test of the control plane runs with each kind."""
    if request.param == "postgresql":
        server: databases.PostgresServer = request.getfixturevalue("postgres_server")
        return server.database
    if request.param == "mariadb":
        found: MysqlServer = request.getfixturevalue("mariadb_server")
        return found.database
    return databases.copy_of(empty_database, tmp_path)


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
def _shared() -> Iterator[dict[str, ControlledGateway]]:
    shared: dict[str, ControlledGateway] = {}
    yield shared
    for each in shared.values():
        each.stop()


@pytest.fixture
def share(
    _shared: dict[str, ControlledGateway], upstream: Upstream, database: databases.Database, tmp_path: Path
) -> Iterator[Share]:
    """Give gateways that the tests of a module share, each with nothing in its database: that of the first test which
    wants this door, these settings and this kind of database."""
    used: list[ControlledGateway] = []

    def share(door: Door, *arguments: str, **settings: Any) -> ControlledGateway:
        name = json.dumps([door, arguments, settings, database["ENGINE"]])
        if name in _shared:
            _shared[name].clear()
        else:
            key = {"AI_GATEWAY_ENCRYPTION_KEYS": crypto.generate_key()}
            chosen = {**default_settings(upstream), **settings}
            log = tmp_path / f"shared-{len(_shared)}.log"
            _shared[name] = ControlledGateway.start(door, database, chosen, log, key, arguments)
        used.append(_shared[name])
        return _shared[name]

    yield share
    for each in used:
        each.process.assert_log_in_order()


@pytest.fixture
def controlled(share: Share, door: Door) -> ControlledGateway:
    """A gateway of one worker."""
    return share(door)
