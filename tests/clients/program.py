"""A client's program that goes on for many jobs: see `drivers/driver.py`."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PATIENCE = 600.0
"""Seconds until a program must have said that it is there. It may still be loading its client."""

JOB_PATIENCE = 180.0
"""Seconds until it must have done a job."""


class Program:
    """A running driver. It says first which versions of its client's packages it has."""

    def __init__(self, command: list[str], environment: Mapping[str, str], folder: Path) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True, encoding="utf-8"
        )
        self._errors: list[str] = []
        # Nobody may be held up because what it complains of is not read.
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self.versions: dict[str, str] = self._read(PATIENCE)

    def _listen(self) -> None:
        assert self._process.stderr is not None
        self._errors.extend(self._process.stderr)

    def __call__(self, job: Mapping[str, Any]) -> Any:
        """Have a job done."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return self._read(JOB_PATIENCE)

    @property
    def has_ended(self) -> bool:
        """Whether nothing can be asked of it any more."""
        return self._process.poll() is not None

    def _read(self, seconds: float) -> Any:
        assert self._process.stdout is not None
        patience = threading.Timer(seconds, self._process.kill)
        patience.start()
        try:
            line = self._process.stdout.readline()
        finally:
            patience.cancel()
        if not line:
            self._process.wait()
            self._listener.join()
            raise AssertionError(f"{self._process.args!r} ended:\n{''.join(self._errors[-50:])}")
        return json.loads(line)

    def stop(self) -> None:
        """End it."""
        with self._process:
            self._process.kill()
        self._listener.join()
