"""Where the encryption keys come from, and what is said where they do not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from django.test import override_settings

from ai_gateway import keyring
from ai_gateway.crypto import InvalidKey, NoKey, generate_key


def keys_of(*references: str) -> override_settings:
    return override_settings(AI_GATEWAY={"ENCRYPTION_KEYS": list(references)})


def test_a_file_that_cannot_be_read_is_named_and_no_missing_one(tmp_path: Path) -> None:
    with keys_of(f"file:{tmp_path}"):
        with pytest.raises(InvalidKey, match=str(tmp_path)):
            keyring.keyring()
        assert not keyring.has_key()
        assert keyring.missing_file() is None, "none is to be written over it"


def test_a_file_that_is_not_there_yet_is_passed_over_and_named_if_there_is_no_other_key(tmp_path: Path) -> None:
    missing = tmp_path / "keys"
    with keys_of(f"file:{missing}"):
        with pytest.raises(NoKey):
            keyring.keyring()
        assert keyring.missing_file() == missing
    with keys_of(f"file:{missing}", generate_key()):
        assert keyring.has_key()
        assert keyring.missing_file() is None


def test_of_two_that_make_the_first_key_at_once_the_first_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    keyring.create(path)
    first = path.read_text()
    keyring.create(path)
    assert path.read_text() == first
    assert os.listdir(tmp_path) == ["keys"], "no draft is left"
    assert path.stat().st_mode & 0o777 == 0o600
    with keys_of(f"file:{path}"):
        assert keyring.has_key()
