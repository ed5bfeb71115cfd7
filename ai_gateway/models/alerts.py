"""What people were alerted to."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from ai_gateway.exact_text import ExactCharField
from ai_gateway.models.usage import text


class Alert(models.Model):
    """Something that people were told of, and how often it was seen.

    `slot` names what goes on: of all processes that see the same, the one that inserts the row tells of it. When it is
    over, the slot is freed.
    """

    slot = ExactCharField(max_length=64, unique=True)
    kind = text(_("kind"), 40)
    subject = text(_("subject"))
    text = models.TextField(_("text"))
    first_at = models.DateTimeField(_("first"))
    last_at = models.DateTimeField(_("last"))
    count = models.PositiveBigIntegerField(_("times seen"), default=1)
    sent_at = models.DateTimeField(_("told"), null=True)
    resolved_at = models.DateTimeField(_("over"), null=True)
    problem = models.TextField(_("not delivered"), blank=True, default="")

    class Meta:
        verbose_name = _("alert")
        verbose_name_plural = _("alerts")
        ordering: ClassVar[list[str]] = ["-last_at"]
        default_permissions = ("view",)
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["last_at"], name="ai_gateway_alert_time")]

    def __str__(self) -> str:
        return f"{self.kind}: {self.subject}"
