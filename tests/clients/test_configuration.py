"""The ways of docs/clients.md to configure clients, each followed to the letter, but for the gateway's port."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.clients.matrix import PAGE, only_in_a_run_of_everything
from tests.clients.packages import ENVIRONMENTS, installed, npm_environment, python_environment
from tests.clients.sandbox import Run, Sandbox
from tests.conftest import GATEWAY_KEY
from tests.gateway_process import GatewayProcess
from tests.upstream import Upstream

pytestmark = only_in_a_run_of_everything

SECTION = re.compile(r"^### (.+)\n((?:(?!^### ).*\n)*)", re.MULTILINE)
FILE = re.compile(r"test_configuration\.py writes: ~/(\S+) -->\n\n```\w+\n(.*?)```", re.DOTALL)
EXAMPLE = re.compile(r'test_configuration\.py does, with the packages of "(.+?)" -->\n\n```(\w+)\n(.*?)```', re.DOTALL)
ADDRESS = "http://127.0.0.1:3000"


class Example(NamedTuple):
    """How the page says to configure a client."""

    client: str
    packages: str
    language: str
    code: str
    files: dict[str, str]


def examples() -> list[Example]:
    """Read the page."""
    return [
        Example(title, found[1], found[2], found[3], dict(FILE.findall(text)))
        for title, text in SECTION.findall(PAGE.read_text(encoding="utf-8"))
        if (found := EXAMPLE.search(text))
    ]


def programs_of(example: Example, cache: Callable[[str], Path]) -> Path:
    """Install what an example needs; give the folder of programs."""
    if example.packages == "package.json":
        return installed(cache("clients")) / ".bin"
    folder = cache("environments") / example.packages
    if (ENVIRONMENTS / f"{example.packages}.json").exists():
        return npm_environment(folder, example.packages)
    return python_environment(folder, example.packages)


def run(example: Example, sandbox: Sandbox, url: str) -> Run:
    """Do what the page says."""
    for path, content in example.files.items():
        sandbox.settings(path, content.replace(ADDRESS, url))
    code = example.code.replace(ADDRESS, url)
    if example.language == "console":
        lines = "\n".join(line.removeprefix("$ ") for line in code.splitlines())
        return sandbox.run(shutil.which("bash") or "/bin/bash", "-ec", lines, GATEWAY_KEY=GATEWAY_KEY)
    if example.language == "python":
        return sandbox.run("python", "-c", code, GATEWAY_KEY=GATEWAY_KEY)
    # Scripts find their packages from where they lie.
    script = sandbox.scripts / "example.mjs"
    script.write_text(code)
    return sandbox.run("node", str(script), GATEWAY_KEY=GATEWAY_KEY)


@pytest.mark.parametrize("door", ["direct"])
@pytest.mark.parametrize("example", examples(), ids=lambda example: example.client)
def test_a_client_that_is_configured_as_the_page_says(
    example: Example,
    gateway: GatewayProcess,
    cache: Callable[[str], Path],
    tmp_path: Path,
    outside: Upstream,
) -> None:
    done = run(example, Sandbox(programs_of(example, cache), tmp_path, outside), gateway.url)
    assert done.code == 0, done
    assert "Hello" in done.output, done
