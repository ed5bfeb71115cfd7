"""The packages of the clients: installed once, into pytest's cache, in exact versions.

Those of npm that every run uses stand in `package.json`. The rest is only for a run of everything: lists for pip and
npm in `environments/`, each for a folder of its own, because clients disagree about what else must be there.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MANIFEST = HERE / "package.json"
ENVIRONMENTS = HERE / "environments"
DRIVERS = HERE / "drivers"
SCRIPTS = ("sdks.mjs", "vercel.mjs")
PATIENCE = 900
"""Seconds that an installation may take: the largest is about a gigabyte."""
NPM_INSTALL = (
    "install",
    "--no-save",
    "--no-package-lock",
    "--no-audit",
    "--no-fund",
    "--loglevel",
    "error",
    "--prefix",
)
PIP_INSTALL = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement")


class Missing(Exception):
    """Something that is needed to run the clients is not there."""


def installed(cache: Path, manifest: Path = MANIFEST) -> Path:
    """Install npm packages below a folder unless they are there; give their `node_modules`.

    Skips the test if that is not possible; on a CI server with node it is an error instead.
    """
    try:
        return _node_modules(cache, manifest)
    except Missing as missing:
        if os.environ.get("CI") and shutil.which("node"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))


def _node_modules(cache: Path, manifest: Path) -> Path:
    missing = [program for program in ("node", "npm") if shutil.which(program) is None]
    if missing:
        raise Missing(f"{' and '.join(missing)} must be installed to run the clients")
    modules = cache / "node_modules"

    def install() -> None:
        shutil.rmtree(modules, ignore_errors=True)
        shutil.copy(manifest, cache / "package.json")
        _run(["npm", *NPM_INSTALL, str(cache)], cache)

    _once(cache, manifest, install)
    # Scripts find their packages from where they lie.
    for script in (*(HERE / name for name in SCRIPTS), *DRIVERS.glob("*.mjs")):
        shutil.copy(script, cache)
    return modules


def npm_environment(cache: Path, name: str) -> Path:
    """Install the npm packages of a list unless they are there; give their folder of programs."""
    cache.mkdir(exist_ok=True)
    return installed(cache, ENVIRONMENTS / f"{name}.json") / ".bin"


def python_environment(cache: Path, name: str) -> Path:
    """Make a virtual environment with the packages of a list unless it is there; give its folder of programs."""
    requirements, programs = ENVIRONMENTS / f"{name}.txt", cache / "bin"

    def install() -> None:
        _run([sys.executable, "-m", "venv", "--clear", str(cache)], HERE)
        _run([str(programs / "python"), *PIP_INSTALL, str(requirements)], HERE)

    cache.mkdir(parents=True, exist_ok=True)
    _once(cache, requirements, install)
    return programs


def _once(folder: Path, source: Path, install: Callable[[], None]) -> None:
    """Install what a list names, if that has not been done with this very list."""
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    mark = folder / "installed"
    # Several processes of pytest-xdist may come here at once.
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (mark.exists() and mark.read_text() == digest):
            install()
            mark.write_text(digest)


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise Missing(f"the clients' packages were not installed within {PATIENCE} s: {command}") from None
    if done.returncode:
        raise Missing(f"the clients' packages could not be installed: {command}: {done.stderr[-2000:]}")


def pinned(environment: str) -> dict[str, str]:
    """Give the exact versions that a list in `environments/`, or `package.json`, names."""
    if environment == "package.json":
        return _of_npm(MANIFEST)
    if (manifest := ENVIRONMENTS / f"{environment}.json").exists():
        return _of_npm(manifest)
    lines = (ENVIRONMENTS / f"{environment}.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line)
    return {re.sub(r"\[.*\]", "", name): version for name, version in pairs}


def _of_npm(manifest: Path) -> dict[str, str]:
    versions: dict[str, str] = json.loads(manifest.read_text())["dependencies"]
    return versions
