"""Encryption with key ids and contexts, and the shape of virtual keys."""

from __future__ import annotations

import pytest

from ai_gateway import crypto
from ai_gateway.credentials import Secret
from ai_gateway.crypto import InvalidKey, NoKey, WrongContext

OLD, NEW = crypto.generate_key(), crypto.generate_key()


def ring(keys: list[str]) -> crypto.Keyring:
    return crypto.Keyring([Secret(key) for key in keys])


def test_what_is_encrypted_opens_in_its_context_alone() -> None:
    keys = ring([NEW])
    sealed = keys.encrypt("sk-café", "row 1")
    assert keys.decrypt(sealed, "row 1") == "sk-café"
    with pytest.raises(WrongContext):
        keys.decrypt(sealed, "row 2")


def test_the_same_text_is_never_encrypted_alike() -> None:
    keys = ring([NEW])
    assert keys.encrypt("sk", "x") != keys.encrypt("sk", "x")


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    sealed = ring([OLD]).encrypt("sk", "x")
    both = ring([NEW, OLD])
    assert both.decrypt(sealed, "x") == "sk"
    assert crypto.key_id_of(both.encrypt("sk", "x")) == both.current == ring([NEW]).current


def test_without_the_key_it_was_made_with_nothing_opens() -> None:
    with pytest.raises(NoKey, match="not among the gateway's keys"):
        ring([NEW]).decrypt(ring([OLD]).encrypt("sk-canary", "x"), "x")


@pytest.mark.parametrize("position", [5, 20, -1])
def test_a_changed_ciphertext_does_not_open(position: int) -> None:
    keys = ring([NEW])
    sealed = keys.encrypt("sk-canary", "x")
    letter = "A" if sealed[position] != "A" else "B"
    changed = sealed[:position] + letter + (sealed[position + 1 :] if position != -1 else "")
    with pytest.raises((WrongContext, NoKey)) as caught:
        keys.decrypt(changed, "x")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "sk-plain", "gw1:", "gw1:zz:abc", "gw2:00000000:abc", "gw1:00000000:ab c"])
def test_what_is_no_ciphertext_is_never_given_back(text: str) -> None:
    assert not crypto.is_ciphertext(text)
    with pytest.raises(WrongContext):
        ring([NEW]).decrypt(text, "x")


@pytest.mark.parametrize("key", ["short", "x" * 44, "é" * 44, "0" * 63])
def test_what_is_no_key_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(InvalidKey, match="number 2") as caught:
        ring([NEW, key])
    assert key not in str(caught.value)


def test_hexadecimal_keys_work_too() -> None:
    assert ring(["00" * 32]).current == ring(["A" * 43 + "="]).current


def test_no_key_is_no_keyring() -> None:
    with pytest.raises(NoKey):
        ring([])


def test_nothing_shows_itself() -> None:
    issued = crypto.issue_key()
    shown = repr(issued) + repr(ring([NEW]))
    assert NEW not in shown
    assert issued.token not in shown
    assert issued.hash_key not in shown


def test_a_virtual_key_has_its_public_id_and_a_checksum() -> None:
    issued = crypto.issue_key()
    assert issued.token.startswith(f"gw_{issued.public_id}_")
    assert len(issued.token) == crypto.TOKEN_LENGTH
    assert crypto.public_id_of(issued.token.encode()) == issued.public_id
    assert crypto.digest(issued.hash_key, issued.token.encode()).hex() == issued.digest


@pytest.mark.parametrize("position", range(3, crypto.TOKEN_LENGTH))
def test_one_mistyped_letter_is_noticed_without_asking_anybody(position: int) -> None:
    token = crypto.issue_key().token
    letter = "x" if token[position] != "x" else "y"
    assert crypto.public_id_of((token[:position] + letter + token[position + 1 :]).encode()) is None


@pytest.mark.parametrize(
    "token", [b"", b"gw_", b"gw_dev_abc", b"sk-x", b"\xff" * crypto.TOKEN_LENGTH, b"gw_" + b"a" * 62]
)
def test_what_has_another_shape_is_no_virtual_key(token: bytes) -> None:
    assert crypto.public_id_of(token) is None


def test_two_keys_never_look_alike() -> None:
    keys = [crypto.issue_key() for _ in range(200)]
    assert len({key.public_id for key in keys}) == len({key.hash_key for key in keys}) == len(keys)
