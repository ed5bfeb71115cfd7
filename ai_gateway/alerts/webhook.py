"""Alerts by a webhook, signed as Standard Webhooks (standardwebhooks.com) says.

The signature is HMAC-SHA256 over the id, the time and the body: a receiver knows by it who sent an alert, that it is
new, and whether it has it already.

Only the addresses of the settings are called, and no redirect is followed: nobody can have the gateway call another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from urllib.parse import urlsplit

import httpx
import msgspec

from ai_gateway.alerts.base import TIMEOUT, Channel, Letter, Undelivered
from ai_gateway.credentials import Secret, resolve

PREFIX = "whsec_"
"""How a secret begins whose rest is in base64."""


class Webhook(Channel):
    """Letters to one address."""

    def __init__(self, url: str, secret: str = "") -> None:
        """`secret` is the secret itself, or `env:` or `file:` and where it is."""
        self.name = f"webhook at {urlsplit(url).hostname}"  # The rest of an address may be secret.
        self._url = url
        self._secret = secret

    def deliver(self, letter: Letter) -> None:
        """See Channel.deliver()."""
        body, now = body_of(letter), int(time.time())
        headers = {"content-type": "application/json", "webhook-id": letter.id, "webhook-timestamp": str(now)}
        if self._secret:
            headers["webhook-signature"] = signature(self._key(), letter.id, now, body)
        try:
            # Proxies and certificates of the environment are not for a gateway.
            with (
                httpx.Client(timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client,
                client.stream("POST", self._url, content=body, headers=headers) as answer,
            ):
                status = answer.status_code
        except httpx.HTTPError as error:
            raise Undelivered(type(error).__name__) from error
        if not 200 <= status < 300:
            raise Undelivered(f"it answered with {status}", may_help=status >= 500 or status in (408, 425, 429))

    def check(self) -> None:
        """Raise Undelivered if it cannot be signed as it should be."""
        if self._secret:
            signature(self._key(), "", 0, b"")

    def _key(self) -> Secret:
        try:
            key = resolve(self._secret)
        except (OSError, ValueError) as error:
            raise Undelivered("its secret cannot be read", may_help=False) from error
        if key is None:
            raise Undelivered("its secret is not there", may_help=False)
        return key


def body_of(letter: Letter) -> bytes:
    """Write what a receiver gets."""
    news = letter.news
    state = "over" if news.is_over else "open"
    data = {"subject": news.subject, "text": news.text, "state": state, **news.details}
    return msgspec.json.encode({"type": f"ai_gateway.{news.kind}", "timestamp": letter.moment, "data": data})


def signature(key: Secret, id: str, at: int, body: bytes) -> str:
    """Sign a message."""
    secret = key.reveal()
    try:
        raw = base64.b64decode(secret[len(PREFIX) :], validate=True) if secret.startswith(PREFIX) else secret.encode()
    except binascii.Error as error:
        raise Undelivered(f"its secret begins with {PREFIX} and is not base64", may_help=False) from error
    signed = f"{id}.{at}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(raw, signed, hashlib.sha256)).decode()}"
