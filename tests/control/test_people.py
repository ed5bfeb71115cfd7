"""A site with a user model of its own, without groups and permissions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ai_gateway import crypto

ROOT = Path(__file__).resolve().parent.parent.parent


def test_keys_belong_to_the_users_that_the_site_has() -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.people.settings",
        "AI_GATEWAY_ENCRYPTION_KEYS": crypto.generate_key(),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-W", "error", "-m", "tests.people.walk"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("done\n")
