"""The system checks as a whole: a site in order hears nothing, and every id is documented and tried out."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

from ai_gateway import checks
from tests.checks.ids import ids_in
from tests.checks.site import CANARY, ROOT, Site

IN_CODE = ids_in(*Path(checks.__file__).parent.glob("*.py"))


def test_a_site_in_order_hears_nothing(site: Site) -> None:
    assert site.ids(deploy=True) == set()


def test_a_site_without_the_setting_hears_nothing(site: Site) -> None:
    del site.settings.AI_GATEWAY
    assert site.ids(deploy=True) == set()


def test_every_id_is_documented_and_no_other() -> None:
    assert ids_in(ROOT / "docs" / "checks.md") == IN_CODE


def test_every_id_is_tested_here() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("*.py"))
    assert {name.removeprefix("ai_gateway.") for name in IN_CODE} == set(re.findall(r'"([EW]\d{3})"', text))


def test_every_number_is_used_once() -> None:
    numbers = [name[-3:] for name in IN_CODE]
    assert sorted(numbers) == sorted(set(numbers))


def test_the_example_project_in_production_hears_of_sqlite_alone() -> None:
    environment = {
        **{"PATH": os.environ["PATH"], "SECRET_KEY": hashlib.sha512(b"x").hexdigest(), "HTTPS": "1"},
        **{"ALLOWED_HOSTS": "gateway.example", "CORS_ALLOWED_ORIGINS": "https://app.example"},
        **{"OPENAI_API_KEY": CANARY, "GATEWAY_API_KEYS": f"team-a=gw_{CANARY}", "METRICS_TOKEN": CANARY},
    }
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert re.findall(r"\((\w+\.[A-Z]\d+)\)", done.stderr) == ["ai_gateway.W065"], done.stderr
