"""The proxies of docs/deployment, as real processes with the files that stand there.

What a file says of one machine is replaced, as `sed` would do it: the ports where callers come in (8080, and 8443 for
TLS) and where the gateways are (3001 and 3002), and the folders of certificates, logs and what else a program writes.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.private_server import free_port

SAMPLES = Path(__file__).resolve().parent.parent.parent / "docs" / "deployment"
PATIENCE = 20.0
NGINX_WRITES = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One of the programs."""

    name: str
    sample: str
    folders: tuple[str, ...]
    """What the sample calls the folders that a test has its own for."""
    command: Callable[[Path, Path], list[str]]
    """Gives the command that runs a file in the foreground."""
    others: Callable[[Path], Mapping[str, str]] = lambda folder: {}
    """What else is replaced."""


def _nginx(file: Path, folder: Path) -> list[str]:
    me = pwd.getpwuid(os.getuid()).pw_name
    as_me = f" user {me};" if os.getuid() == 0 else ""
    return ["nginx", "-e", f"{folder}/error.log", "-c", str(file), "-g", f"daemon off;{as_me}"]


def _nginx_folders(folder: Path) -> dict[str, str]:
    """Debian's nginx makes these when it starts, in a place where only root may."""
    paths = " ".join(f"{name}_temp_path {folder}/{name};" for name in NGINX_WRITES)
    return {"http {\n": f"http {{ {paths}\n"}


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            name="nginx",
            sample="nginx.conf",
            folders=("/run/", "/var/log/nginx/", "/etc/nginx/"),
            command=_nginx,
            others=_nginx_folders,
        ),
        Kind(
            name="haproxy",
            sample="haproxy.cfg",
            folders=("/etc/haproxy/",),
            command=lambda file, folder: ["haproxy", "-db", "-f", str(file)],
        ),
        Kind(
            name="caddy",
            sample="Caddyfile",
            folders=("/etc/caddy/",),
            command=lambda file, folder: ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)],
        ),
    )
}


class Proxy:
    """A proxy in front of two ports where gateways are, or nobody."""

    def __init__(self, kind: Kind, folder: Path, gateways: tuple[int, int]) -> None:
        self.kind = kind
        self.port, self.tls_port = free_port(), free_port()
        self.certificate = make_certificate(folder)
        ports = dict(zip(("8080", "8443", "3001", "3002"), (self.port, self.tls_port, *gateways), strict=True))
        text = (SAMPLES / kind.sample).read_text(encoding="utf-8")
        for before, port in ports.items():
            text = text.replace(f":{before}", f":{port}")
        for name in kind.folders:
            text = text.replace(name, f"{folder}/")
        for before, after in kind.others(folder).items():
            text = text.replace(before, after)
        file = folder / kind.sample
        file.write_text(text, encoding="utf-8")
        self._log = folder / "output"
        # Programs of Debian's that are for the administrator are not on everybody's path.
        environment = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "HOME": str(folder)}
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                kind.command(file, folder),
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def wait_until_it_answers(self) -> None:
        """Wait until a request gets through it to a gateway."""
        deadline = time.monotonic() + PATIENCE
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=PATIENCE):
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(self._log.read_text(errors="replace"))

    def connect_by_tls(self) -> ssl.SSLSocket:
        """Connect as a caller that trusts the certificate."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        return context.wrap_socket(
            socket.create_connection(("127.0.0.1", self.tls_port), PATIENCE), server_hostname="localhost"
        )

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(PATIENCE)


def is_installed(name: str) -> bool:
    """Whether a program is there, and what makes the certificate."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    return bool(shutil.which(name, path=path) and shutil.which("openssl"))


def make_certificate(folder: Path) -> Path:
    """Make a certificate for `localhost`: on its own, its key, and both in one file, as HAProxy wants it."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    more = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *more], check=True, capture_output=True)
    certificate.write_text(certificate.read_text() + key.read_text())
    return certificate


def connections_to(port: int) -> int:
    """Count the connections that the process behind a port of this machine has accepted and not closed."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return sum(local.endswith(f":{port:04X}") and state == "01" for _, local, _, state, *_ in fields)
