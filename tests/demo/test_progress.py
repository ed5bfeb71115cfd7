"""Every command that may take long shows how far it is, and what it prints for programs is not touched by that."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from django.core.management import call_command

from ai_gateway.management import progress

pytestmark = pytest.mark.django_db

COMMANDS = {
    "gateway_export": "providers written",
    "gateway_import document.json": "routes read",
    "gateway_sync_prices --from prices.json": "models compared",
    "gateway_rotate_secrets": "ai_gateway.virtualkey.hash_key",
    "gateway_reconcile_usage": "days compared",
    "gateway_usage export --format jsonl": "calls written",
    "gateway_prune_usage --older-than 1d": "records deleted",
    "gateway_demo --remove": "records deleted",
}
"""Each command, with what it is seen to be at. The last ones take away what the others work on."""


class Terminal(io.StringIO):
    """A terminal that can show any letter."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _demo(encryption_key: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call_command("gateway_demo", calls=60, days=3, verbosity=0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "BEGINS", 0.0)
    monkeypatch.setattr(progress, "REDRAWS", 0.0)
    price = {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
    Path("prices.json").write_text(json.dumps({"gpt-5": price}))
    Path("document.json").write_text(run("gateway_export")[0])


def run(line: str, err: io.StringIO | None = None, **options: object) -> tuple[str, str]:
    """Run a command; give what it printed, and what it said besides."""
    name, *arguments = line.split()
    out, err = io.StringIO(), err or io.StringIO()
    call_command(name, *arguments, stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


def test_a_terminal_sees_a_bar__and_not_afterwards() -> None:
    for line, label in COMMANDS.items():
        _, seen = run(line, Terminal())
        assert label in seen, line
        assert " \r" in seen.rpartition("%")[2], line


def test_what_programs_read_is_not_touched__and_verbosity_0_is_silence() -> None:
    calls, seen = run("gateway_usage export --format jsonl", Terminal())
    assert "60 of 60" in seen
    assert len([json.loads(line) for line in calls.splitlines()]) == 60
    for line in list(COMMANDS)[:5]:
        assert "%" not in run(line, Terminal(), verbosity=0)[1], line
