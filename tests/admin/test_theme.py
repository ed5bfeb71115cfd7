"""With django-unfold installed, every page of the admin still does what it does without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def test_unfold__passes_the_tests_of_all_pages() -> None:
    pytest.importorskip("unfold", reason="django-unfold is not installed")
    files = sorted(str(path) for path in Path(__file__).parent.glob("test_*.py") if path.name != Path(__file__).name)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--ds=tests.admin.unfold_settings"]
    # Of unfold's own making, with Django 6.1.
    command += ["-W", "ignore:Overriding get_action_choices", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
