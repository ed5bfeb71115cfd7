"""How servers are started: the gateway's own doors, and the yardsticks. The gateways of others are in `peers.py`.

One worker each, no access log, the same mock upstream.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from ai_gateway.crypto import generate_key
from tests.benchmarks.processes import Process, cpu_of_server, cpus_of_others, free_port
from tests.benchmarks.wire import CHAT_PATH, GATEWAY_KEY, PROVIDER_KEY, ROUTE_PREFIX

PROJECT = Path(__file__).parents[2]
OWN_CODE = {"PYTHONPATH": os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"))))}
SECONDS_TO_START = 90.0


ACCOUNTED = frozenset(("usage", "prices", "limits"))
EVERYTHING = ACCOUNTED | {"key", "route", "log"}


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is up: where it listens, what it costs, and the credential it wants."""

    name: str
    port: int
    process: Process
    credential: str
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str = CHAT_PATH
    prefix: str = ""
    """What it wants before the name of a model."""
    most: int = 1000
    """How many calls at once it can take."""
    started: float = 0.0
    """Seconds from its start until it listened."""


class Peer(ABC):
    """One kind of server. `name` is what `--only` takes; the others are for `Running`."""

    name: str
    description: str
    credential = PROVIDER_KEY
    headers: Mapping[str, str] = MappingProxyType({})
    path = CHAT_PATH
    prefix = ""
    most = 1000
    under: Sequence[str] = ()
    """The program that it is run by, with its arguments: something that watches it."""
    seconds_to_start = 90.0

    @abstractmethod
    def command(self, port: int, upstream: int, folder: Path) -> list[str]:
        """Say how to start it, writing into `folder` what files it needs. Both ports are on 127.0.0.1."""

    def environment(self, upstream: int) -> Mapping[str, str]:
        """Say what it needs in the environment."""
        return {}

    def why_not(self) -> str | None:
        """Say why it cannot run on this machine, or None."""
        return None

    @contextmanager
    def running(self, upstream: int, folder: Path) -> Iterator[Running]:
        """Run it on the CPU for servers."""
        port = free_port()
        command = [*self.under, *self.command(port, upstream, folder)]
        environment = {**OWN_CODE, **self.environment(upstream)}
        log = folder / f"{self.name}.log"
        with Process(command, environment=environment, cpus=self.cpus(), log=log) as process:
            began_at = time.monotonic()
            port = self.listening(process, port, folder)
            started = time.monotonic() - began_at
            credential = self.key(port, folder)
            yield Running(
                self.name, port, process, credential, self.headers, self.path, self.prefix, self.most, started
            )

    def cpus(self) -> set[int]:
        """Say where it runs."""
        return cpu_of_server()

    def listening(self, process: Process, port: int, folder: Path) -> int:
        """Wait until it listens, and give the port: not all take the one that they are told."""
        process.wait_until_it_listens(port, self.seconds_to_start)
        return port

    def key(self, port: int, folder: Path) -> str:
        """Give the credential that it wants, now that it is up."""
        return self.credential


class Uvicorn(Peer):
    """An ASGI application in one uvicorn worker, with uvloop and httptools."""

    def __init__(self, name: str, application: str, description: str, door: str = "", credential: str = PROVIDER_KEY):
        self.name = name
        self.application = application
        self.description = description
        self.door = door
        self.credential = credential

    def command(self, port: int, upstream: int, folder: Path) -> list[str]:
        """Start uvicorn of the Python that runs the benchmarks."""
        place = ["--host", "127.0.0.1", "--port", str(port), "--backlog", "4096"]
        kind = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
        return [sys.executable, "-m", "uvicorn", f"{self.application}:application", *place, *kind]

    def environment(self, upstream: int) -> Mapping[str, str]:
        """Name the upstream and the door."""
        return {"BENCHMARK_UPSTREAM": f"http://127.0.0.1:{upstream}", "BENCHMARK_DOOR": self.door}


class Gateway(Uvicorn):
    """The gateway, served as `manage.py rungateway` serves it."""

    def __init__(self, name: str, description: str, door: str, credential: str = PROVIDER_KEY, workers: int = 1):
        super().__init__(name, "tests.benchmarks.gateway", description, door, credential)
        self.workers = workers

    def command(self, port: int, upstream: int, folder: Path) -> list[str]:
        """Start the worker, or several."""
        return [sys.executable, "-m", "tests.benchmarks.serve", self.application, str(port), str(self.workers)]


class Featured(Gateway):
    """The gateway with a database and what `features` name: see `gateway.py`."""

    features: frozenset[str] = EVERYTHING

    def __init__(self, name: str, description: str, door: str, features: frozenset[str] = EVERYTHING, workers: int = 1):
        super().__init__(name, description, door, GATEWAY_KEY, workers)
        self.features = features
        self.prefix = ROUTE_PREFIX if "route" in features else ""

    def environment(self, upstream: int) -> Mapping[str, str]:
        """Name the database and the features besides, and a key to encrypt secrets with."""
        return {
            **super().environment(upstream),
            "BENCHMARK_DATABASE": str(self._folder / f"{self.name}.sqlite3"),
            "BENCHMARK_FEATURES": " ".join(sorted(self.features)),
            "AI_GATEWAY_ENCRYPTION_KEYS": self._encryption_key,
        }

    def cpus(self) -> set[int]:
        """Let several workers run everywhere."""
        return cpu_of_server() if self.workers == 1 else cpu_of_server() | cpus_of_others()

    @contextmanager
    def running(self, upstream: int, folder: Path) -> Iterator[Running]:
        """Run it with a database in this folder, a new one each time."""
        with tempfile.TemporaryDirectory(dir=folder) as own:
            self._folder = Path(own)
            self._encryption_key = generate_key()
            environment = {**os.environ, **OWN_CODE, **self.environment(upstream)}
            prepared = subprocess.run(
                [sys.executable, "-m", self.application], env=environment, check=True, capture_output=True, text=True
            )
            self._virtual_key = prepared.stdout.split()[-1]
            with super().running(upstream, folder) as running:
                yield running

    def key(self, port: int, folder: Path) -> str:
        """Give the virtual key, if one is used."""
        return self._virtual_key if "key" in self.features else self.credential


class FeaturedInRedis(Featured):
    """The same, with its limits counted in a Redis of its own, on the CPUs for everything else."""

    def why_not(self) -> str | None:
        """It must be installed."""
        return None if shutil.which("redis-server") else "redis-server is not installed"

    def environment(self, upstream: int) -> Mapping[str, str]:
        """Name the Redis besides."""
        return {**super().environment(upstream), "BENCHMARK_REDIS": f"redis://127.0.0.1:{self._redis}/0"}

    @contextmanager
    def running(self, upstream: int, folder: Path) -> Iterator[Running]:
        """Run it beside a Redis."""
        self._redis = free_port()
        command = ["redis-server", "--port", str(self._redis), "--save", "", "--appendonly", "no", "--dir", str(folder)]
        with Process(command, environment={}, cpus=cpus_of_others(), log=folder / "redis.log") as process:
            process.wait_until_it_listens(self._redis, SECONDS_TO_START)
            with super().running(upstream, folder) as running:
                yield running


class Nginx(Peer):
    """nginx as a reverse proxy with kept-alive upstream connections: what passing bytes on costs in C."""

    name = "nginx"
    description = "nginx, reverse proxy"
    template = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log; {user}
events {{ worker_connections 8192; }}
http {{
    access_log off; client_max_body_size 100m; client_body_buffer_size 8m; keepalive_requests 1000000;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream mock {{ server 127.0.0.1:{upstream}; keepalive 256; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_buffering off; proxy_read_timeout 900s;
        }}
    }}
}}
"""

    def why_not(self) -> str | None:
        """It must be installed."""
        return None if self._program() else "nginx is not installed"

    def _program(self) -> str | None:
        return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

    def command(self, port: int, upstream: int, folder: Path) -> list[str]:
        """Write the configuration."""
        user = "user root;" if os.geteuid() == 0 else ""
        file = folder / "nginx.conf"
        file.write_text(self.template.format(folder=folder, port=port, upstream=upstream, user=user))
        return [self._program() or "nginx", "-c", str(file), "-p", str(folder), "-e", str(folder / "nginx-error.log")]


@contextmanager
def upstream_running(folder: Path) -> Iterator[int]:
    """Run the mock upstream on the CPUs for everything else, and give its port."""
    port = free_port()
    command = [sys.executable, "-m", "tests.benchmarks.upstream", str(port)]
    with Process(command, environment=OWN_CODE, cpus=cpus_of_others(), log=folder / "upstream.log") as process:
        process.wait_until_it_listens(port, SECONDS_TO_START)
        yield port
