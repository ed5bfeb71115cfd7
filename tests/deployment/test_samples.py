"""The samples in docs/deployment agree with the gateway, and with each other."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from ai_gateway.calls import Timeouts
from ai_gateway.conf import Settings
from ai_gateway.management.commands.rungateway import KEEP_ALIVE_SECONDS
from tests.deployment.proxies import KINDS, SAMPLES

LAST_WORDS = 10
"""Seconds that a process may need after its calls have ended."""

PAGE = SAMPLES.with_suffix(".md").read_text(encoding="utf-8")


def number(pattern: str, sample: str) -> int:
    """Find a number in a sample."""
    found = re.search(pattern, (SAMPLES / sample).read_text(encoding="utf-8"), re.MULTILINE)
    assert found, pattern
    return int(found[1])


@pytest.mark.parametrize(
    ("sample", "pattern"),
    [
        ("nginx.conf", r"proxy_read_timeout (\d+)s;"),
        ("haproxy.cfg", r"timeout server (\d+)s$"),
        ("Caddyfile", r"response_header_timeout (\d+)s$"),
    ],
)
def test_a_proxy_has_more_patience_than_the_gateway(sample: str, pattern: str) -> None:
    assert number(pattern, sample) > Timeouts().first_byte


@pytest.mark.parametrize(
    ("sample", "pattern"), [("haproxy.cfg", r"pool-purge-delay (\d+)s$"), ("Caddyfile", r"keepalive (\d+)s$")]
)
def test_a_proxy_closes_an_idle_connection_before_the_gateway_does(sample: str, pattern: str) -> None:
    """nginx does so by default."""
    assert number(pattern, sample) < KEEP_ALIVE_SECONDS


def test_a_proxy_takes_bodies_that_the_gateway_takes() -> None:
    limit = Settings().MAX_UPLOAD_BYTES
    assert number(r"client_max_body_size (\d+)m;", "nginx.conf") * 1024**2 == limit
    assert number(r"max_size (\d+)MiB$", "Caddyfile") * 1024**2 == limit


@pytest.mark.parametrize("sample", [kind.sample for kind in KINDS.values()])
def test_a_proxy_keeps_what_is_not_for_everybody_to_itself__with_a_slash_behind_it_too(sample: str) -> None:
    text = (SAMPLES / sample).read_text(encoding="utf-8")
    patterns = re.findall(r"^\s*location ~ (\S+) \{$", text, re.MULTILINE)
    paths = {word for line in re.findall(r"\bpath (/[^}\n]*)", text) for word in line.split()}
    for path in ("/health/providers", "/metrics", "/health/providers/", "/metrics/"):
        assert path in paths or any(re.search(pattern, path) for pattern in patterns), path


def test_systemd_waits_long_enough() -> None:
    settings = Settings()
    wanted = settings.DRAIN_DELAY + math.ceil(settings.DRAIN_TIMEOUT) + LAST_WORDS
    assert number(r"^TimeoutStopSec=(\d+)$", "gateway.service") >= wanted


@pytest.mark.parametrize("sample", ["haproxy.cfg", "Caddyfile"])
def test_health_checks_ask_whether_the_process_is_ready(sample: str) -> None:
    assert "/health/ready" in (SAMPLES / sample).read_text(encoding="utf-8")


def test_the_page_names_every_sample_and_its_links_lead_somewhere() -> None:
    links = set(re.findall(r"\]\(([^)#]+)\)", PAGE))
    assert links >= {f"deployment/{path.name}" for path in SAMPLES.iterdir()}
    assert links >= {f"deployment/{kind.sample}" for kind in KINDS.values()}
    for link in links:
        assert (Path(SAMPLES.parent) / link).exists(), link
