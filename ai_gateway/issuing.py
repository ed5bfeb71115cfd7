"""Who may issue keys, and how a form issues one and not two.

`issue_keys` lets people issue keys to anybody, `issue_own_keys` to themselves. A form that makes a key brings a ticket,
signed here, with the public id that the key will have: sent twice, by a reload or by an impatient hand, it makes one
key. A form that exchanges a key brings a ticket for the key as it is: once exchanged, it is good for nothing.
"""

from __future__ import annotations

from typing import Any

from django.core import signing
from django.core.exceptions import ValidationError
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.translation import gettext_lazy as _

from ai_gateway import crypto
from ai_gateway.keyring import keyring
from ai_gateway.models import VirtualKey

SALT = "ai_gateway.issuing"

FORM_AGE = 24 * 60 * 60
"""Seconds for which a form can be sent."""


class Token(str):
    """A key that was just made. It is written where it is asked for, and by no `repr()`: error reports show those."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Token(***)"


def may_issue_to_others(user: Any) -> bool:
    """Whether a user may make keys that others own."""
    return _has(user, "issue_keys")


def may_issue_to_self(user: Any) -> bool:
    """Whether a user may make keys of their own."""
    return may_issue_to_others(user) or _has(user, "issue_own_keys")


def _has(user: Any, permission: str) -> bool:
    """Whether a user has a permission. Those of a site's own making may not know of permissions at all."""
    return hasattr(user, "has_perm") and bool(user.has_perm(f"ai_gateway.{permission}"))


def check_keyring() -> None:
    """Raise ValidationError if there is nothing to encrypt with."""
    try:
        keyring()
    except crypto.CryptoError as error:
        raise ValidationError(str(error), code="no_encryption_key") from error


def new_ticket() -> str:
    """Make what lets a form make one key."""
    return signing.dumps(crypto.random_text(crypto.PUBLIC_ID_LENGTH), salt=SALT)


def read_ticket(ticket: str) -> str:
    """Give the public id that a form came with. Raises ValidationError if it was used, is old, or is not from here."""
    try:
        public_id: str = signing.loads(ticket, salt=SALT, max_age=FORM_AGE)
    except signing.BadSignature as error:
        raise ValidationError(_("This form is too old. Open it again."), code="ticket") from error
    if VirtualKey.objects.filter(public_id=public_id).exists():
        message = _("This form was sent already, and its key was shown. Revoke that key if you could not note it.")
        raise ValidationError(message, code="ticket")
    return public_id


def exchange_ticket(key: VirtualKey) -> str:
    """Make what lets a form exchange the key that it was shown for, and no later one."""
    return salted_hmac(SALT, f"{key.public_id}:{key.digest}", algorithm="sha256").hexdigest()


def check_exchange(key: VirtualKey, ticket: str) -> None:
    """Raise ValidationError if a key cannot be exchanged by a form that brings this ticket."""
    check_keyring()
    if not constant_time_compare(ticket, exchange_ticket(key)):
        message = _("This key was exchanged in the meantime, perhaps by this very form.")
        raise ValidationError(message, code="ticket")
