"""Management commands, run in the test's own process."""

from __future__ import annotations

import io

import pytest
from django.core.management import call_command


def run(name: str, *arguments: str) -> tuple[str, str]:
    """Run a command; give what it printed, and what it said besides."""
    out, err = io.StringIO(), io.StringIO()
    call_command(name, *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def failing(name: str, *arguments: str) -> tuple[str, str]:
    """The same for a command that ends with 1."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(SystemExit) as caught:
        call_command(name, *arguments, stdout=out, stderr=err)
    assert caught.value.code == 1
    return out.getvalue(), err.getvalue()
