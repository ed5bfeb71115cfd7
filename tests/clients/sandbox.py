"""Where a client runs: an empty home, an empty folder to work in, and no way out but loopback."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.upstream import Upstream

PATIENCE = 600.0
"""Seconds until a client must have ended."""


@dataclass(frozen=True)
class Run:
    """What became of a client: its exit code and what it wrote."""

    code: int
    output: str
    errors: str

    def json(self) -> Any:
        """The output, which is one JSON document."""
        assert self.code == 0, self
        return json.loads(self.output)

    def json_lines(self) -> list[Any]:
        """The output, which is a JSON document on every line."""
        assert self.code == 0, self
        return [json.loads(line) for line in self.output.splitlines()]


def environment_of(home: Path, outside: Upstream) -> dict[str, str]:
    """Write the environment of a program that has a home of its own, and no way out but to `outside`."""
    way_out = f"http://127.0.0.1:{outside.port}"
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    proxies = {variable: way_out for name in names for variable in (name, name.lower())}
    direct = "127.0.0.1,localhost"
    return {
        **proxies,
        "NO_PROXY": direct,
        "no_proxy": direct,
        "NODE_USE_ENV_PROXY": "1",
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
    }


class Sandbox:
    """Runs programs of a folder. Whoever wants to leave the machine is led to `outside`, which refuses."""

    def __init__(self, programs: Path, folder: Path, outside: Upstream) -> None:
        self._programs = programs
        self.home = folder / "home"
        self.work = folder / "work"
        self.home.mkdir()
        self.work.mkdir()
        self._outside = outside
        self.looks_around = False
        """Whether the client is known to look for news of its own elsewhere. It is refused, and that is all."""

    @property
    def scripts(self) -> Path:
        """Where the tests' own scripts for npm packages lie."""
        return self._programs.parent.parent

    def settings(self, path: str, content: str) -> None:
        """Write a settings file below the home folder."""
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    def run(self, program: str, *arguments: str, text: str = "", **variables: str) -> Run:
        """Run a program with a text on its standard input."""
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            cwd=self.work,
            env={**environment_of(self.home, self._outside), **self._path(), **variables},
            input=text,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        return Run(done.returncode, done.stdout, done.stderr)

    def _path(self) -> Mapping[str, str]:
        return {"PATH": f"{self._programs}:{os.environ.get('PATH', '')}"}

    def assert_it_stayed_inside(self) -> None:
        """Fail if a client wanted to talk to somebody else than the gateway."""
        requests = [f"{request.method} {request.target}" for request in self._outside.requests]
        assert self.looks_around or requests == []
