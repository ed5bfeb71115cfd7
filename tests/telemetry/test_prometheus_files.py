"""The files of shared metrics: a full disk is an error, never the end of the process."""

from __future__ import annotations

import logging
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ai_gateway import telemetry
from ai_gateway.telemetry import METRICS_DIRECTORY, prometheus
from ai_gateway.telemetry.prometheus_files import FIRST_SIZE, ReservedFile
from tests.ledger.entries import entry

MANY = 600
"""Entries that are more than a new file has room for."""


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file may have more bytes than this."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def key(number: int) -> str:
    return f"{number:0200}"


def opened(path: Path) -> Any:
    """One of the files; the package's class has no types."""
    return ReservedFile(str(path))


def fill(file: Any, done: list[str]) -> None:
    """Write new entries, and note which are written."""
    for number in range(MANY):
        file.write_value(key(number), number, 0.0)
        done.append(key(number))


def has_every_block(path: Path) -> bool:
    status = path.stat()
    return status.st_blocks * 512 >= status.st_size


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "counter_1.db"


def test_the_disk_has_given_every_page_of_a_file(path: Path) -> None:
    file = opened(path)
    assert path.stat().st_size == FIRST_SIZE
    assert has_every_block(path)
    fill(file, [])
    assert path.stat().st_size > FIRST_SIZE
    assert has_every_block(path)
    file.close()
    read = opened(path)
    assert [read.read_value(key(number))[0] for number in range(MANY)] == list(range(MANY))
    read.close()


def test_a_new_file_for_which_there_is_no_room_leaves_nothing(path: Path) -> None:
    with full_disk(FIRST_SIZE // 2), pytest.raises(OSError, match="too large"):
        opened(path)
    assert not path.exists()


def test_a_full_file_for_which_there_is_no_more_room_stays_as_it_is(path: Path) -> None:
    file = opened(path)
    done: list[str] = []
    with full_disk(FIRST_SIZE + 4096), pytest.raises(OSError, match="too large"):
        fill(file, done)
    assert path.stat().st_size == FIRST_SIZE
    file.write_value(done[0], 7.0, 0.0)  # What has its place is counted.
    file.write_value(next_one := key(len(done)), 8.0, 0.0)  # There is room again.
    assert (file.read_value(done[0])[0], file.read_value(next_one)[0]) == (7.0, 8.0)
    file.close()


def test_metrics_without_room_are_told_once_and_stop_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(prometheus, "room", prometheus.Room())
    monkeypatch.setattr(prometheus, "_count_request", fail)
    monkeypatch.setattr(prometheus.sampler, "_look_at_calls", fail)
    with caplog.at_level(logging.ERROR):
        prometheus.hear(entry())
        prometheus.hear(entry())
        prometheus.sampler.look()
    assert caplog.messages == ["Metrics are incomplete, there is no room for them: no space left"]


def test_a_directory_that_is_not_there_is_made_and_one_that_cannot_be_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(prometheus, "connect", lambda: None)
    monkeypatch.setenv(METRICS_DIRECTORY, str(tmp_path / "some" / "where"))
    telemetry._connect_prometheus()
    assert (tmp_path / "some" / "where").is_dir()
    (tmp_path / "file").touch()
    monkeypatch.setenv(METRICS_DIRECTORY, str(tmp_path / "file" / "below"))
    with caplog.at_level(logging.ERROR):
        telemetry._connect_prometheus()
    assert "collects no metrics" in caplog.text


def test_a_process_uses_such_files(tmp_path: Path) -> None:
    program = (
        "import django; from django.conf import settings; settings.configure(); "
        "from ai_gateway.telemetry import prometheus; prometheus.IN_FLIGHT.set(1)"
    )
    environ = {METRICS_DIRECTORY: str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", program], env=environ, check=True, timeout=60)
    files = list(tmp_path.glob("*.db"))
    assert files
    assert all(map(has_every_block, files))
