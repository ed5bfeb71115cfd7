"""The keys that encrypt what the database holds: read from where `AI_GATEWAY["ENCRYPTION_KEYS"]` says.

They are not derived from SECRET_KEY, whose exchange must not lock the gateway out. They are read anew at each use, none
of which is on the path of a request: an exchanged file is in force at the next refresh.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ai_gateway.conf import settings
from ai_gateway.credentials import Secret, read_file, resolve
from ai_gateway.crypto import CryptoError, InvalidKey, Keyring, NoKey, generate_key

SEPARATORS = re.compile(r"[\s,]+")


def keyring() -> Keyring:
    """Give the encryption keys. Raises NoKey if none is set, InvalidKey if one is none or cannot be read."""
    keys: list[Secret] = []
    for reference in settings.ENCRYPTION_KEYS:
        try:
            keys += _read(reference)
        except FileNotFoundError:
            continue  # That of a first start, say; if no other reference leads to a key, there is none.
        except (OSError, ValueError) as error:
            where = reference if reference.startswith(("env:", "file:")) else "a literal"
            raise InvalidKey(f"The encryption keys cannot be read from {where}.") from error
    if not keys:
        raise NoKey(
            "There is no encryption key. Make one with: manage.py gateway_rotate_secrets --generate, and put it into "
            "the environment variable AI_GATEWAY_ENCRYPTION_KEYS, or where AI_GATEWAY['ENCRYPTION_KEYS'] says."
        )
    return Keyring(keys)


def _read(reference: str) -> list[Secret]:
    if reference.startswith("file:"):
        # A file may hold a key per line, which `resolve` takes for no secret at all.
        text = read_file(reference[5:])
    else:
        secret = resolve(reference)
        text = "" if secret is None else secret.reveal()
    return [Secret(key) for key in SEPARATORS.split(text) if key]


def has_key() -> bool:
    """Whether there is a key to encrypt with."""
    try:
        keyring()
    except CryptoError:
        return False
    return True


def missing_file() -> Path | None:
    """Name the file that the settings expect a key in and that is not there, if there is no key at all."""
    try:
        keyring()
    except NoKey:
        paths = [Path(reference[5:]) for reference in settings.ENCRYPTION_KEYS if reference.startswith("file:")]
        return next((path for path in paths if not path.exists()), None)
    except InvalidKey:
        return None
    return None


def create(path: Path) -> None:
    """Write a new key to a file that only its owner can read. If somebody else was faster, theirs stays: the file is
    written whole under another name and linked into place."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(generate_key() + "\n")
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
