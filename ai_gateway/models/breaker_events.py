"""When targets failed so often that they were asked last, and when they were well again."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from ai_gateway.breakers import CLOSED, OPENED
from ai_gateway.models.usage import text


class BreakerEvent(models.Model):
    """A breaker opened or closed."""

    at = models.DateTimeField(_("time"))
    provider = text(_("provider"))
    model = text(_("model"))
    event = models.CharField(_("event"), max_length=20, choices=[(OPENED, _("opened")), (CLOSED, _("closed"))])
    reason = text(_("reason"))
    seconds = models.FloatField(_("seconds"), default=0, help_text=_("For how long it was opened."))

    class Meta:
        verbose_name = _("breaker event")
        verbose_name_plural = _("breaker events")
        ordering: ClassVar[list[str]] = ["-at"]
        default_permissions = ("view",)
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["at"], name="ai_gateway_breaker_time")]

    def __str__(self) -> str:
        return f"{self.provider}/{self.model} {self.event}"
