"""The gateways of others: how each is installed from a registry, and how it is started.

    python -m tests.benchmarks.peers --install [DIR] [--only NAME ...]

Each gets a folder of its own below DIR, outside of this project: their requirements are not ours. Versions are pinned;
what was installed stands in `DIR/NAME/versions.txt`. What does not install or start is left out of the comparison, with
the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.benchmarks.processes import Process
from tests.benchmarks.servers import Peer
from tests.benchmarks.wire import MODELS, PROVIDER_KEY

SECONDS_TO_INSTALL = 900
PACKAGE_NAME = re.compile(r"@?[^@=\[]+")
MASTER_KEY = "sk-benchmark-only-9a7d0c5e41f2b683"
"""The key of a peer that insists on one. It opens nothing but a server on the loopback address."""


def folder_of_peers() -> Path:
    """Give the folder in which the peers are."""
    return Path(os.environ.get("BENCHMARK_PEERS") or Path(tempfile.gettempdir()) / "ai-gateway-peers").absolute()


def read_json(url: str, body: Mapping[str, object], headers: Mapping[str, str]) -> dict[str, str]:
    """POST an object to a peer, and give the object that it answers with."""
    fields = {"content-type": "application/json", **headers}
    request = urllib.request.Request(url, json.dumps(body).encode(), fields)
    with urllib.request.urlopen(request, timeout=30) as answer:
        given: dict[str, str] = json.load(answer)
    return given


class Installed(Peer):
    """A peer from a registry. `package` is what is asked for, by name and version."""

    package: str
    program: str
    """The path of what is started, below the peer's folder."""

    @property
    def home(self) -> Path:
        """Its folder."""
        return folder_of_peers() / self.name

    def why_not(self) -> str | None:
        """It must have been installed."""
        if (self.home / self.program).exists():
            return None
        return f"{self.package} is not installed: python -m tests.benchmarks.peers --install --only {self.name}"

    def version(self) -> str:
        """Tell what is installed."""
        with suppress(OSError):
            return (self.home / "versions.txt").read_text().partition("\n")[0]
        return "not installed"

    def install(self) -> None:
        """Install it, and write down what came. Raises CalledProcessError if that does not work."""
        self.home.mkdir(parents=True, exist_ok=True)
        versions = self.installed()
        own = PACKAGE_NAME.match(self.package)
        versions.sort(key=lambda line: own is None or line.split()[0] != own[0])
        (self.home / "versions.txt").write_text("\n".join(versions) + "\n")

    @abstractmethod
    def installed(self) -> list[str]:
        """Install it and list the versions."""

    def run(self, *command: str) -> str:
        """Run a step of the installation in the peer's folder."""
        done = subprocess.run(
            command, cwd=self.home, check=True, capture_output=True, text=True, timeout=SECONDS_TO_INSTALL
        )
        return done.stdout


class FromPyPI(Installed):
    """A peer that is a Python package, in a virtual environment."""

    also: Sequence[str] = ()

    def installed(self) -> list[str]:
        """Make the environment."""
        self.run(sys.executable, "-m", "venv", ".")
        self.run("bin/pip", "install", "--quiet", "--disable-pip-version-check", self.package, *self.also)
        return [line.replace("==", " ") for line in self.run("bin/pip", "freeze").splitlines()]


class FromNpm(Installed):
    """A peer that is a Node package. Scripts of packages are not run."""

    overrides: Mapping[str, str] = {}

    def installed(self) -> list[str]:
        """Make a project that depends on it."""
        name, _, version = self.package.rpartition("@")
        project = {"private": True, "dependencies": {name: version}, "overrides": dict(self.overrides)}
        (self.home / "package.json").write_text(json.dumps(project, indent=1))
        self.run("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error")
        locked = json.loads((self.home / "package-lock.json").read_text())["packages"]
        return [f"{path.removeprefix('node_modules/')} {entry['version']}" for path, entry in locked.items() if path]


class LiteLLM(FromPyPI):
    """The LiteLLM proxy with one model and its master key. Its keys, limits and spend need PostgreSQL: they are off."""

    name = "litellm"
    description = "LiteLLM proxy (Python)"
    package = "litellm[proxy]==1.106.2"
    program = "bin/litellm"
    credential = MASTER_KEY
    template = """
model_list:
  - model_name: "*"
    litellm_params: {{model: "openai/*", api_base: "http://127.0.0.1:{upstream}/v1", api_key: {key}}}
general_settings: {{master_key: {master_key}}}
litellm_settings: {{num_retries: 0, request_timeout: 900}}
"""

    def environment(self, upstream: int) -> Mapping[str, str]:
        """Keep it off the network."""
        return {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "PYTHONPATH": ""}

    def command(self, port: int, upstream: int, folder: Path) -> list[str]:
        """Write the configuration."""
        file = folder / "litellm.yaml"
        file.write_text(self.template.format(upstream=upstream, key=PROVIDER_KEY, master_key=MASTER_KEY))
        place = ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
        return [str(self.home / self.program), "--config", str(file), "--telemetry", "False", *place]


class TensorZero(FromPyPI):
    """TensorZero's gateway as its Python wheel ships it: a whole HTTP server in Rust, on a port that it chooses.

    The Python around it starts it and sleeps, so the CPU time of the process is the gateway's. Observability is off:
    nothing is written down, counted or limited.
    """

    name = "tensorzero"
    description = "TensorZero (Rust)"
    package = "tensorzero==2026.6.0"
    also = ("openai", "httpx")
    program = "bin/python"
    path = "/openai/v1/chat/completions"
    prefix = "tensorzero::model_name::"
    template = """
[gateway]
observability.enabled = false
disable_pseudonymous_usage_analytics = true
[object_storage]
type = "disabled"
"""
    model = """
[models.{model}]
routing = ["mock"]
[models.{model}.providers.mock]
type = "openai"
model_name = "{model}"
api_base = "http://127.0.0.1:{upstream}/v1/"
api_key_location = "env::BENCHMARK_PROVIDER_KEY"
"""
    start = """
import pathlib, sys, threading
from openai import OpenAI
from tensorzero import patch_openai_client

client = patch_openai_client(OpenAI(api_key="none"), config_file=sys.argv[1], async_setup=False)
written = pathlib.Path(sys.argv[2] + ".new")
written.write_text(str(client.base_url.port))
written.rename(sys.argv[2])
threading.Event().wait()
"""

    def environment(self, upstream: int) -> Mapping[str, str]:
        """Give it the credential for the upstream."""
        return {"BENCHMARK_PROVIDER_KEY": PROVIDER_KEY, "PYTHONPATH": "", "RUST_LOG": "error"}

    def command(self, port: int, upstream: int, folder: Path) -> list[str]:
        """Write the configuration, with every model that will be asked for."""
        file, told = folder / "tensorzero.toml", folder / "tensorzero.port"
        told.unlink(missing_ok=True)
        models = "".join(self.model.format(model=model, upstream=upstream) for model in MODELS)
        file.write_text(self.template + models)
        return [str(self.home / self.program), "-W", "ignore", "-c", self.start, str(file), str(told)]

    def listening(self, process: Process, port: int, folder: Path) -> int:
        """Wait for the port that it chose."""
        told = folder / "tensorzero.port"
        give_up_at = time.monotonic() + self.seconds_to_start
        while not told.exists():
            if time.monotonic() > give_up_at or process.popen.poll() is not None:
                raise RuntimeError(f"TensorZero does not start: {process.log.read_text()[-2000:]}")
            time.sleep(0.01)
        return super().listening(process, int(told.read_text()), folder)


class Ferro(FromPyPI):
    """Ferro Labs' gateway in Go, from the wheel that carries its binary. The provider is the one that takes any model
    name."""

    name = "ferro"
    description = "Ferro Labs AI Gateway (Go)"
    package = "ferrogw==1.5.10"
    program = "bin/ferrogw"
    credential = MASTER_KEY

    def environment(self, upstream: int) -> Mapping[str, str]:
        """Configure it: what is not in the file comes from the environment."""
        return {
            "MASTER_KEY": MASTER_KEY,
            "OLLAMA_HOST": f"http://127.0.0.1:{upstream}",
            "OLLAMA_MODELS": ",".join(MODELS),
            "LOG_LEVEL": "error",
            "RATE_LIMIT_RPS": "1000000",
            "RATE_LIMIT_BURST": "1000000",
        }

    def command(self, port: int, upstream: int, folder: Path) -> list[str]:
        """Write the configuration. It takes its port from the environment."""
        file = folder / "ferro.yaml"
        file.write_text("strategy:\n  mode: single\ntargets:\n  - virtual_key: ollama\n")
        return ["env", f"PORT={port}", f"GATEWAY_CONFIG={file}", str(self.home / self.program), "serve"]


class Portkey(FromNpm):
    """Portkey's open source gateway on Node. It keeps nothing: provider and address come with each request.

    With the versions of `hono` that npm would choose it answers every stream with an error.
    """

    name = "portkey"
    description = "Portkey gateway (Node)"
    package = "@portkey-ai/gateway@1.15.2"
    program = "node_modules/@portkey-ai/gateway/build/start-server.js"
    overrides: Mapping[str, str] = {"hono": "4.9.7", "@hono/node-server": "1.13.8"}

    def environment(self, upstream: int) -> Mapping[str, str]:
        """Say that it is in production."""
        return {"NODE_ENV": "production"}

    def command(self, port: int, upstream: int, folder: Path) -> list[str]:
        """Start it without its console."""
        host = f"http://127.0.0.1:{upstream}/v1"
        self.headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": host}
        return ["node", str(self.home / self.program), f"--port={port}", "--headless"]


class AnyLLM(FromPyPI):
    """The gateway of Mozilla's any-llm, with a virtual key, usage and prices in SQLite.

    The last version with the gateway in the package. More than eight calls at once lock it up on SQLite.
    """

    name = "any-llm"
    description = "any-llm gateway (Python)"
    package = "any-llm-sdk[gateway,openai]==1.11.0"
    program = "bin/any-llm-gateway"
    prefix = "openai:"
    most = 8
    template = """
database_url: "sqlite:///{folder}/any-llm-{port}.db"
master_key: "{master_key}"
providers:
  openai: {{api_key: "{key}", api_base: "http://127.0.0.1:{upstream}/v1"}}
"""

    def environment(self, upstream: int) -> Mapping[str, str]:
        """Keep our code out of its path."""
        return {"PYTHONPATH": ""}

    def command(self, port: int, upstream: int, folder: Path) -> list[str]:
        """Write the configuration."""
        file = folder / "any-llm.yaml"
        file.write_text(
            self.template.format(folder=folder, port=port, master_key=MASTER_KEY, key=PROVIDER_KEY, upstream=upstream)
        )
        place = ["--host", "127.0.0.1", "--port", str(port)]
        return [str(self.home / self.program), "serve", "--config", str(file), "--log-level", "40", *place]

    def key(self, port: int, folder: Path) -> str:
        """Have it make a user and a key."""
        master = {"x-anyllm-key": f"Bearer {MASTER_KEY}"}
        read_json(f"http://127.0.0.1:{port}/v1/users", {"user_id": "benchmark"}, master)
        made = read_json(f"http://127.0.0.1:{port}/v1/keys", {"key_name": "benchmark", "user_id": "benchmark"}, master)
        return made["key"]


class Bifrost(FromNpm):
    """Bifrost, in Go. Its package is a program that downloads the gateway when it is started."""

    name = "bifrost"
    description = "Bifrost (Go)"
    package = "@maximhq/bifrost@1.6.3"
    program = "node_modules/@maximhq/bifrost/bin.js"

    def why_not(self) -> str | None:
        """Its download must have worked."""
        if reason := super().why_not():
            return reason
        with suppress(OSError):
            return (self.home / "why-not.txt").read_text().strip() or None
        return None

    def installed(self) -> list[str]:
        """Install the package, and find out whether it gets its gateway."""
        versions = super().installed()
        asked = subprocess.run(
            ["node", self.program, "-help"], cwd=self.home, capture_output=True, text=True, timeout=120, check=False
        )
        said = next((line for line in asked.stderr.splitlines() if "rror" in line), "it says nothing").strip()
        reason = "" if "app-dir" in asked.stdout + asked.stderr else f"its gateway could not be downloaded: {said}"
        (self.home / "why-not.txt").write_text(reason)
        return versions

    def command(self, port: int, upstream: int, folder: Path) -> list[str]:
        """Write the configuration."""
        home = folder / "bifrost"
        home.mkdir(exist_ok=True)
        key = {"value": PROVIDER_KEY, "models": list(MODELS), "weight": 1.0}
        network = {"base_url": f"http://127.0.0.1:{upstream}"}
        configuration = {"providers": {"openai": {"keys": [key], "network_config": network}}}
        (home / "config.json").write_text(json.dumps(configuration))
        place = ["-host", "127.0.0.1", "-port", str(port), "-app-dir", str(home), "-log-level", "error"]
        return ["node", str(self.home / self.program), *place]

    prefix = "openai/"


KINDS = (LiteLLM, TensorZero, Ferro, Portkey, AnyLLM, Bifrost)


def main() -> None:
    """Install what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers", description=__doc__)
    parser.add_argument("--install", nargs="?", type=Path, metavar="DIR", default=None, const=folder_of_peers())
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[kind.name for kind in KINDS], default=[])
    options = parser.parse_args()
    if options.install:
        os.environ["BENCHMARK_PEERS"] = str(options.install)
    for kind in KINDS:
        peer: Installed = kind()
        if options.install and (not options.only or peer.name in options.only):
            try:
                peer.install()
            except (subprocess.SubprocessError, OSError) as error:
                print(f"{peer.name}: not installed: {getattr(error, 'stderr', None) or error}", file=sys.stderr)
        print(f"{peer.name}: {peer.why_not() or peer.version()}")


if __name__ == "__main__":
    main()
