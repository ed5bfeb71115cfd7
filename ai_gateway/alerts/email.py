"""Alerts by e-mail, through the mail server of the site (`MAILERS["default"]`, or `EMAIL_*` before Django 6.1)."""

from __future__ import annotations

import smtplib
from collections.abc import Sequence
from typing import Any

from django.core import mail
from django.core.exceptions import ImproperlyConfigured

from ai_gateway.alerts.base import TIMEOUT, Channel, Letter, Undelivered


class Email(Channel):
    """Letters to some addresses, from the site's `DEFAULT_FROM_EMAIL`."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.name = "e-mail"
        self._addresses = list(addresses)

    def deliver(self, letter: Letter) -> None:
        """See Channel.deliver()."""
        lines = [letter.news.text, "", *(f"{name}: {value}" for name, value in letter.news.details.items())]
        message = mail.EmailMessage(
            subject=f"[AI gateway] {letter.news.text}".replace("\n", " ").replace("\r", " ")[:200],
            body="\n".join([*lines, "", f"{letter.news.kind}, {letter.moment}"]),
            to=self._addresses,
            headers={"Message-ID": f"<{letter.id}@ai-gateway>"},
        )
        try:
            mailer().send_messages([message])
        except ImproperlyConfigured as error:
            raise Undelivered(str(error), may_help=False) from error
        except (OSError, smtplib.SMTPException) as error:
            raise Undelivered(f"{type(error).__name__}: {error}") from error


def mailer() -> Any:
    """Make a connection to the site's mail server, which waits no longer than TIMEOUT."""
    # Django 6.1 has mailers, and deprecates get_connection(), which versions before it have instead.
    found: Any = mail.mailers.default if hasattr(mail, "mailers") else mail.get_connection()
    # What servers are asked with by default waits for ever.
    found.timeout = TIMEOUT
    return found
