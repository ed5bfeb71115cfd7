"""Blocks of the language `console`: commands, each after `$ `, and what they print below them.

A block without a `$` is all commands. `...` in what is printed stands for anything, in a line or for lines. What a
command exports is there for those after it on the page.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.gateway import PATIENCE, ROOT, DocumentedGateway

SHELL = re.compile(r"[|&;<>$`*]")
"""What only a shell understands: a command without any of it is run without one."""

SAVE_ENVIRONMENT = 'status=$?; env -0 > "$0"; exit $status'


@dataclass(slots=True)
class Command:
    """What is typed, and what the page says that it prints."""

    typed: str
    printed: list[str] = field(default_factory=list)


def commands_of(text: str) -> list[Command]:
    """Read a block."""
    lines = text.replace("\\\n", "").splitlines()
    if not any(line.startswith("$ ") for line in lines):
        return [Command(line) for line in lines if line.strip()]
    commands: list[Command] = []
    for line in lines:
        if line.startswith("$ "):
            commands.append(Command(line[2:]))
        else:
            commands[-1].printed.append(line)
    return commands


def matches(expected: list[str], printed: str) -> bool:
    """Whether a command printed what the page says, with `...` for anything."""
    pattern = re.escape("\n".join(expected).strip()).replace(r"\.\.\.", ".*")
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


class Terminal:
    """Where the reader of a page types its commands."""

    def __init__(self, gateway: DocumentedGateway, folder: Path) -> None:
        self._gateway = gateway
        self._saved = folder / "environment"
        self._environment = dict(gateway.environment)

    def type(self, command: str) -> tuple[int, str]:
        """Run a command; give its exit code and what it printed."""
        typed = self._gateway.localized(command)
        words = [] if SHELL.search(typed) else shlex.split(typed, comments=True)
        if words[:2] == ["python", "manage.py"]:
            return self._gateway.run(
                *words[2:], environment=self._environment
            )  # Without the second that Python and Django take to start.
        return self._in_a_shell(typed)

    def _in_a_shell(self, typed: str) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-c", f"{typed}\n{SAVE_ENVIRONMENT}", str(self._saved)],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        entries = self._saved.read_text(encoding="utf-8").split("\0")
        self._environment = dict(entry.split("=", 1) for entry in entries if "=" in entry)
        return done.returncode, done.stdout
