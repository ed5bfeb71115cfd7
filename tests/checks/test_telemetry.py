"""Checks of metrics and traces."""

from __future__ import annotations

import importlib.util

import pytest

from ai_gateway import telemetry
from tests.checks.site import Site


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Have a package not be installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(telemetry, "find_spec", lambda name: None if name.startswith(package) else find(name))


def test_metrics_without_their_package(site: Site) -> None:
    site.gateway(METRICS=True)
    assert site.ids() == set()
    without(site.monkeypatch, "prometheus_client")
    assert site.ids() == {"W132"}
    site.gateway(METRICS=False)
    assert site.ids() == set()


def test_traces_without_their_packages(site: Site) -> None:
    site.monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
    assert site.ids() == set()
    site.monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    assert site.ids() == {"W132"}
    site.monkeypatch.delenv("OTEL_EXPORTER_OTLP_PROTOCOL")
    without(site.monkeypatch, "opentelemetry.exporter")
    assert site.ids() == {"W132"}


def test_telemetry_of_a_site_that_writes_nothing_down(site: Site) -> None:
    site.gateway(METRICS=True, USAGE=False)
    assert site.ids() == {"W133"}
    site.gateway(METRICS=False, USAGE=False)
    assert site.ids() == set()
    site.monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    assert site.ids() == {"W133"}
