"""Secrets: where they are read from, and that they never show themselves."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from ai_gateway import credentials
from ai_gateway.credentials import Secret, changed_files, resolve

CANARY = "sk-canary-0123456789"


@pytest.mark.parametrize(
    "show",
    [
        str,
        repr,
        format,
        lambda secret: f"{secret}",
        lambda secret: f"{secret!r}",
        lambda secret: str([secret]),
        lambda secret: str({"api_key": secret}),
    ],
)
def test_a_secret_is_masked_however_it_is_shown(show: object) -> None:
    assert callable(show)
    shown = show(Secret(CANARY))
    assert CANARY not in shown
    assert "***" in shown


def test_a_secret_is_masked_in_a_log_record(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("tests").warning("the key is %s, or %r", Secret(CANARY), Secret(CANARY))
    assert CANARY not in caplog.text


def test_only_reveal_gives_the_value() -> None:
    assert Secret(CANARY).reveal() == CANARY
    assert not hasattr(Secret(CANARY), "__dict__")


def test_equal_secrets_are_equal_and_nothing_else_is() -> None:
    assert Secret(CANARY) == Secret(CANARY)
    assert hash(Secret(CANARY)) == hash(Secret(CANARY))
    assert Secret(CANARY) != Secret(CANARY + "x")
    assert Secret(CANARY) != CANARY


def test_a_literal_is_the_secret_itself() -> None:
    assert resolve(f" {CANARY}\n") == Secret(CANARY)


def test_a_secret_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_API_KEY", f"{CANARY}\n")
    assert resolve("env:TEST_API_KEY") == Secret(CANARY)


@pytest.mark.parametrize("value", [None, "", "  \n"])
def test_an_unset_or_empty_variable_is_no_secret(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("TEST_API_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("TEST_API_KEY", value)
    assert resolve("env:TEST_API_KEY") is None


def test_a_secret_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{CANARY}\n", encoding="utf-8")
    assert resolve(f"file:{path}") == Secret(CANARY)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        resolve(f"file:{tmp_path / 'missing'}")


@pytest.mark.parametrize("ending", ["é", "\nx-injected: 1", "\x00", "\x7f"])
def test_what_cannot_stand_in_a_header_is_refused(ending: str) -> None:
    with pytest.raises(ValueError, match="a literal") as refused:
        resolve(CANARY + ending + "y")
    assert CANARY not in str(refused.value)


def test_a_file_that_is_not_text_is_refused_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(CANARY.encode() + b"\xff\xfe")
    with pytest.raises(ValueError, match="characters") as refused:
        resolve(f"file:{path}")
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("source", ["literal", "env", "file"])
def test_the_variables_of_the_frame_that_raises_do_not_show_the_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str
) -> None:
    value = CANARY + "é"
    monkeypatch.setenv("TEST_API_KEY", value)
    (tmp_path / "key").write_text(value, encoding="utf-8")
    reference = {"literal": value, "env": "env:TEST_API_KEY", "file": f"file:{tmp_path / 'key'}"}[source]
    with pytest.raises(ValueError, match="characters") as refused:
        resolve(reference)
    # What an error page or an error tracker would print: the frames of this app with their variables.
    frames = traceback.TracebackException.from_exception(refused.value, capture_locals=True).stack
    shown = [frame.locals for frame in frames if frame.name == "resolve"]
    assert shown
    assert CANARY not in str(shown)


# Files that are exchanged.


@pytest.fixture
def secret_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that a secret was read from."""
    monkeypatch.setattr(credentials, "_files", {})
    path = tmp_path / "secret"
    path.write_text("first")
    assert resolve(f"file:{path}") == Secret("first")
    assert changed_files() == []
    return path


def write(path: Path) -> None:
    path.write_text("other")  # As long as the first.


def rename(path: Path) -> None:
    other = path.with_name("new")
    other.write_text("other")
    other.replace(path)


def switch_links(path: Path) -> None:
    """As Kubernetes does it with a volume of secrets."""
    (path.parent / "version-2").mkdir()
    (path.parent / "version-2" / "secret").write_text("other")
    path.unlink()
    path.symlink_to("version-2/secret")


@pytest.mark.parametrize("exchange", [write, rename, switch_links])
def test_an_exchanged_file_is_named_once(secret_file: Path, exchange: Callable[[Path], None]) -> None:
    exchange(secret_file)
    assert changed_files() == [str(secret_file)]
    assert changed_files() == []
    assert resolve(f"file:{secret_file}") == Secret("other")
    assert changed_files() == []


def test_a_file_that_goes_away_and_comes_back_is_named_both_times(secret_file: Path) -> None:
    secret_file.unlink()
    assert changed_files() == [str(secret_file)]
    assert changed_files() == []
    secret_file.write_text("again")
    assert changed_files() == [str(secret_file)]


def test_a_file_that_was_not_there_is_named_when_it_comes(secret_file: Path) -> None:
    missing = secret_file.with_name("missing")
    with pytest.raises(OSError, match="missing"):
        resolve(f"file:{missing}")
    assert changed_files() == []
    missing.write_text("here")
    assert changed_files() == [str(missing)]


def test_a_pipe_is_not_looked_at_again(secret_file: Path) -> None:
    """What it had to give is gone."""
    reader, writer = os.pipe()
    os.write(writer, b"once")
    os.close(writer)
    assert resolve(f"file:/dev/fd/{reader}") == Secret("once")
    os.close(reader)
    assert changed_files() == []
