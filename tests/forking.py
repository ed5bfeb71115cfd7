"""Programs that fork, as servers do that load a site before they start their workers."""

from __future__ import annotations

import subprocess
import sys
import textwrap

from tests.patience import PATIENCE

PROGRAM = """
import os, sys
{before}
child = os.fork()
if child == 0:
{child}
    sys.stdout.flush()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
{parent}
"""


def forked(before: str, child: str, parent: str = "") -> list[str]:
    """Run a program that forks, in the settings of the tests, and give the lines that its child prints, and then those
    that it prints itself when the child has ended. Fails if one of both does."""
    program = PROGRAM.format(before=before, child=textwrap.indent(child, "    "), parent=parent)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=3 * PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
