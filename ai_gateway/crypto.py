"""Authenticated encryption of what must be read again, and the making and checking of keys that need not be.

A ciphertext is `gw1:<key id>:<base64url of nonce, ciphertext and tag>`: AES-256-GCM with a random nonce. The version
and the key's id stand in front, so that several keys can be in use while one is exchanged for another, and nothing is
ever decrypted by trial. What a ciphertext was made for (its context) is authenticated with it: moved to another row,
column or purpose it does not open.

A virtual key is `gw_<public id>_<secret><checksum>`. The public id finds its row, the secret is 256 random bits of
which only an HMAC is kept, and the checksum turns random noise away without a question to anybody. Random keys of that
length need no slow hash.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import string
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ai_gateway.credentials import Secret

VERSION = "gw1"
KEY_BYTES = 32
NONCE_BYTES = 12
KEY_ID_LENGTH = 8

CIPHERTEXT = re.compile(rf"{VERSION}:([0-9a-f]{{{KEY_ID_LENGTH}}}):([A-Za-z0-9_-]+)", re.ASCII)

SEALED = re.compile(rf"{VERSION}:([0-9a-f]{{{KEY_ID_LENGTH}}}):".encode())

LETTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase
"""Base 62: what a double click selects as one word."""

PUBLIC_ID_LENGTH = 12
SECRET_LENGTH = 43
CHECKSUM_LENGTH = 6
TOKEN = re.compile(rb"gw_([0-9A-Za-z]{12})_[0-9A-Za-z]{43}([0-9A-Za-z]{6})")
TOKEN_LENGTH = len("gw_") + PUBLIC_ID_LENGTH + len("_") + SECRET_LENGTH + CHECKSUM_LENGTH


class CryptoError(Exception):
    """Base of all that goes wrong here. No message holds a key, a plaintext or a ciphertext."""


class InvalidKey(CryptoError):
    """A key that is none."""


class NoKey(CryptoError):
    """There is no key at all, or not the one that a ciphertext was made with."""


class WrongContext(CryptoError):
    """The key is there, but the ciphertext was changed, or made for something else."""


def generate_key() -> str:
    """Make an encryption key, written as base64url."""
    return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode("ascii")


def is_ciphertext(text: str) -> bool:
    """Whether a text has the shape of a ciphertext."""
    return CIPHERTEXT.fullmatch(text) is not None


def key_id_of(ciphertext: str) -> str:
    """Tell which key a ciphertext was made with. Raises WrongContext for what is no ciphertext."""
    found = CIPHERTEXT.fullmatch(ciphertext)
    if found is None:
        raise WrongContext("This is not a ciphertext of this gateway.")
    return found[1]


class Keyring:
    """Encryption keys. The first encrypts; all of them decrypt."""

    __slots__ = ("_ciphers", "_current")

    def __init__(self, keys: Sequence[Secret]) -> None:
        """Take keys as `generate_key` writes them, or as 64 hexadecimal digits. Raises InvalidKey, and NoKey if there
        are none."""
        self._ciphers: dict[str, AESGCM] = {}
        for number, secret in enumerate(keys, 1):
            self._ciphers.setdefault(*_read_key(secret, number))
        if not self._ciphers:
            raise NoKey("There is no encryption key.")
        self._current = next(iter(self._ciphers))

    def __repr__(self) -> str:
        return f"<Keyring {', '.join(self._ciphers)}>"

    @property
    def current(self) -> str:
        """The id of the key that encrypts."""
        return self._current

    def encrypt(self, plaintext: str, context: str) -> str:
        """Encrypt for a context."""
        packed = base64.urlsafe_b64encode(self._sealed(plaintext.encode(), context)).rstrip(b"=").decode("ascii")
        return f"{VERSION}:{self._current}:{packed}"

    def seal(self, plaintext: bytes, context: str) -> bytes:
        """Encrypt bytes for a context, as bytes: the same without base64."""
        return f"{VERSION}:{self._current}:".encode() + self._sealed(plaintext, context)

    def _sealed(self, plaintext: bytes, context: str) -> bytes:
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._ciphers[self._current].encrypt(nonce, plaintext, context.encode())

    def unseal(self, sealed: bytes, context: str) -> bytes:
        """Decrypt what `seal` encrypted for the same context. Raises NoKey or WrongContext."""
        found = SEALED.match(sealed)
        if found is None:
            raise WrongContext("This is not a ciphertext of this gateway.")
        return self._opened(found[1].decode("ascii"), sealed[found.end() :], context)

    def _opened(self, key_id: str, raw: bytes, context: str) -> bytes:
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise NoKey(f"The encryption key {key_id}, which this was encrypted with, is not among the gateway's keys.")
        try:
            return cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], context.encode())
        except (InvalidTag, ValueError) as error:
            raise WrongContext("The ciphertext was changed, or was made for another purpose.") from error

    def decrypt(self, ciphertext: str, context: str) -> str:
        """Decrypt what was encrypted for the same context. Raises NoKey or WrongContext; never gives anything else than
        the plaintext."""
        key_id = key_id_of(ciphertext)
        packed = ciphertext.rpartition(":")[2]
        try:
            raw = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
            if base64.urlsafe_b64encode(raw).rstrip(b"=") != packed.encode():
                raise ValueError("bits that mean nothing were changed")
            return self._opened(key_id, raw, context).decode()
        except ValueError as error:
            raise WrongContext("The ciphertext was changed, or was made for another purpose.") from error


def _read_key(secret: Secret, number: int) -> tuple[str, AESGCM]:
    """Read a key, and give its id and its cipher."""
    text = secret.reveal().strip()
    try:
        if len(text) == 2 * KEY_BYTES:
            key = bytes.fromhex(text)
        else:
            key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        key = b""
    del text  # Error trackers show the variables of the frame that raises.
    if len(key) != KEY_BYTES:
        raise InvalidKey(f"Encryption key number {number} is not {KEY_BYTES} bytes in base64url or hexadecimal.")
    return hashlib.sha256(b"ai_gateway key id" + key).hexdigest()[:KEY_ID_LENGTH], AESGCM(key)


class IssuedKey(NamedTuple):
    """A virtual key that was just made. The token is shown once; the rest is stored."""

    public_id: str
    token: str
    hash_key: str
    digest: str

    def __repr__(self) -> str:
        return f"IssuedKey(public_id={self.public_id!r})"


def issue_key(public_id: str | None = None) -> IssuedKey:
    """Make a virtual key, with a public id of its own unless one is given."""
    public_id = public_id or random_text(PUBLIC_ID_LENGTH)
    body = f"gw_{public_id}_{random_text(SECRET_LENGTH)}"
    token = body + checksum(body.encode())
    hash_key = secrets.token_hex(KEY_BYTES)
    return IssuedKey(public_id, token, hash_key, digest(hash_key, token.encode()).hex())


def public_id_of(token: bytes) -> str | None:
    """Read the public id of a token that has the shape and the checksum of a virtual key, else give None."""
    found = TOKEN.fullmatch(token)
    if found is None or checksum(token[:-CHECKSUM_LENGTH]).encode() != found[2]:
        return None
    return found[1].decode("ascii")


def digest(hash_key: str, token: bytes) -> bytes:
    """Give the HMAC-SHA256 of a token."""
    return hmac.digest(bytes.fromhex(hash_key), token, "sha256")


def checksum(body: bytes) -> str:
    """Write the CRC-32 of a token's body in six letters."""
    number, text = zlib.crc32(body), ""
    for _ in range(CHECKSUM_LENGTH):
        number, rest = divmod(number, len(LETTERS))
        text = LETTERS[rest] + text
    return text


def random_text(length: int) -> str:
    """Make a random text in base 62."""
    return "".join(secrets.choice(LETTERS) for _ in range(length))
