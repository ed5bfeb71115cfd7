"""The servers that are compared, and how each is started. One worker each, no access log, the same mock upstream."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.processes import Process, cpu_of_server, cpus_of_others, free_port
from tests.benchmarks.wire import GATEWAY_KEY, PROVIDER_KEY

PROJECT = Path(__file__).parents[2]
OWN_CODE = {"PYTHONPATH": os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"))))}
SECONDS_TO_START = 90.0
LITELLM_KEY = "sk-benchmark-only-9a7d0c5e41f2b683"


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is up: where it listens, what it costs, and the credential it wants."""

    name: str
    port: int
    process: Process
    credential: str


class Peer(ABC):
    """One kind of server. `name` is what `--only` takes."""

    name: str
    description: str
    credential = PROVIDER_KEY

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
        command = self.command(port, upstream, folder)
        environment = {**OWN_CODE, **self.environment(upstream)}
        log = folder / f"{self.name}.log"
        with Process(command, environment=environment, cpus=cpu_of_server(), log=log) as process:
            process.wait_until_it_listens(port, SECONDS_TO_START)
            yield Running(self.name, port, process, self.credential)


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
    """The gateway in one worker, served as `manage.py rungateway` serves it."""

    def command(self, port: int, upstream: int, folder: Path) -> list[str]:
        """Start the worker."""
        return [sys.executable, "-m", "tests.benchmarks.serve", self.application, str(port)]


class Accounted(Gateway):
    """The gateway with everything written down, priced and limited."""

    def environment(self, upstream: int) -> Mapping[str, str]:
        """Name a database besides."""
        return {**super().environment(upstream), "BENCHMARK_DATABASE": str(self._folder / f"{self.name}.sqlite3")}

    @contextmanager
    def running(self, upstream: int, folder: Path) -> Iterator[Running]:
        """Run it with a database in this folder, a new one each time."""
        with tempfile.TemporaryDirectory(dir=folder) as own:
            self._folder = Path(own)
            with super().running(upstream, folder) as running:
                yield running


class AccountedInRedis(Accounted):
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


class LiteLLM(Peer):
    """The LiteLLM proxy with one model, one worker and its master key."""

    name = "litellm"
    description = "LiteLLM proxy"
    credential = LITELLM_KEY
    template = """
model_list:
  - model_name: "*"
    litellm_params: {{model: "openai/*", api_base: "http://127.0.0.1:{upstream}/v1", api_key: {key}}}
general_settings: {{master_key: {master_key}}}
litellm_settings: {{num_retries: 0, request_timeout: 900}}
"""

    def why_not(self) -> str | None:
        """It must be on the PATH; an environment of its own is best."""
        return None if shutil.which("litellm") else "litellm is not on the PATH"

    def environment(self, upstream: int) -> Mapping[str, str]:
        """Keep it off the network."""
        return {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "PYTHONPATH": ""}

    def command(self, port: int, upstream: int, folder: Path) -> list[str]:
        """Write the configuration."""
        file = folder / "litellm.yaml"
        file.write_text(self.template.format(upstream=upstream, key=PROVIDER_KEY, master_key=LITELLM_KEY))
        place = ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
        return [shutil.which("litellm") or "litellm", "--config", str(file), "--telemetry", "False", *place]


BARE, OBVIOUS, DIRECT, DJANGO = "bare", "obvious", "direct-door", "django-door"
PLAIN = "direct-plain-uvicorn"
PASSTHROUGH = "direct-passthrough"
ACCOUNTED, ACCOUNTED_IN_REDIS = "direct-accounted", "direct-accounted-redis"

PEERS: Mapping[str, Peer] = {
    peer.name: peer
    for peer in (
        Uvicorn(BARE, "tests.benchmarks.bare", "bare ASGI app, calls nobody"),
        Uvicorn(OBVIOUS, "tests.benchmarks.obvious", "Django async view + httpx.AsyncClient"),
        Gateway(DIRECT, "tests.benchmarks.gateway", "ai_gateway, direct door", "direct", GATEWAY_KEY),
        Gateway(PASSTHROUGH, "tests.benchmarks.gateway", "the same, caller's own credential", "direct"),
        Accounted(ACCOUNTED, "tests.benchmarks.gateway", "usage, prices, 4 limits in memory", "direct", GATEWAY_KEY),
        AccountedInRedis(
            ACCOUNTED_IN_REDIS, "tests.benchmarks.gateway", "the same, limits in Redis", "direct", GATEWAY_KEY
        ),
        Uvicorn(PLAIN, "tests.benchmarks.gateway", "the same, under plain uvicorn", "direct", GATEWAY_KEY),
        Gateway(DJANGO, "tests.benchmarks.gateway", "ai_gateway, Django door", "django", GATEWAY_KEY),
        Nginx(),
        LiteLLM(),
    )
}


@contextmanager
def upstream_running(folder: Path) -> Iterator[int]:
    """Run the mock upstream on the CPUs for everything else, and give its port."""
    port = free_port()
    command = [sys.executable, "-m", "tests.benchmarks.upstream", str(port)]
    with Process(command, environment=OWN_CODE, cpus=cpus_of_others(), log=folder / "upstream.log") as process:
        process.wait_until_it_listens(port, SECONDS_TO_START)
        yield port
