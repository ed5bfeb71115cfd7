"""The npm packages of the clients: installed once, into pytest's cache, from the exact versions of `package.json`."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MANIFEST = HERE / "package.json"
SCRIPTS = ("sdks.mjs", "vercel.mjs")
PATIENCE = 600
"""Seconds that an installation may take: it is about a gigabyte."""
INSTALL = ("install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel", "error", "--prefix")


class Missing(Exception):
    """Something that is needed to run the clients is not there."""


def installed(cache: Path) -> Path:
    """Install the packages below a folder unless they are there; give their `node_modules`.

    Skips the test if that is not possible; on a CI server with node it is an error instead.
    """
    try:
        return _installed(cache)
    except Missing as missing:
        if os.environ.get("CI") and shutil.which("node"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))


def _installed(cache: Path) -> Path:
    missing = [program for program in ("node", "npm") if shutil.which(program) is None]
    if missing:
        raise Missing(f"{' and '.join(missing)} must be installed to run the clients")
    digest = hashlib.sha256(MANIFEST.read_bytes()).hexdigest()
    mark, modules = cache / "installed", cache / "node_modules"
    # Several processes of pytest-xdist may come here at once.
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (modules.exists() and mark.exists() and mark.read_text() == digest):
            shutil.rmtree(modules, ignore_errors=True)
            shutil.copy(MANIFEST, cache)
            _install(cache)
            mark.write_text(digest)
        # Scripts find their packages from where they lie.
        for script in SCRIPTS:
            shutil.copy(HERE / script, cache)
    return modules


def _install(folder: Path) -> None:
    try:
        done = subprocess.run(
            ["npm", *INSTALL, str(folder)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise Missing(f"npm did not install the clients' packages within {PATIENCE} s") from None
    if done.returncode:
        raise Missing(f"npm could not install the clients' packages: {done.stderr[-2000:]}")
