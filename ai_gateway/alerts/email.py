"""Alerts by e-mail, through the mail server of the site (`EMAIL_*`)."""

from __future__ import annotations

import smtplib
from collections.abc import Sequence

from django.core.mail import EmailMessage, get_connection

from ai_gateway.alerts.base import TIMEOUT, Channel, Letter, Undelivered


class Email(Channel):
    """Letters to some addresses, from the site's `DEFAULT_FROM_EMAIL`."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.name = "e-mail"
        self._addresses = list(addresses)

    def deliver(self, letter: Letter) -> None:
        """See Channel.deliver()."""
        lines = [letter.news.text, "", *(f"{name}: {value}" for name, value in letter.news.details.items())]
        # The site's own EMAIL_TIMEOUT is none by default.
        message = EmailMessage(
            subject=f"[AI gateway] {letter.news.text}".replace("\n", " ").replace("\r", " ")[:200],
            body="\n".join([*lines, "", f"{letter.news.kind}, {letter.moment}"]),
            to=self._addresses,
            headers={"Message-ID": f"<{letter.id}@ai-gateway>"},
            connection=get_connection(timeout=TIMEOUT),
        )
        try:
            message.send()
        except (OSError, smtplib.SMTPException) as error:
            raise Undelivered(f"{type(error).__name__}: {error}") from error
