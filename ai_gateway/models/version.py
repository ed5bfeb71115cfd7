"""How often the configuration was changed."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class ConfigurationVersion(models.Model):
    """Counts the changes, in its only row. Every process looks at it every few seconds."""

    configuration = models.PositiveBigIntegerField(default=0)
    """Counts what providers, credentials and routes are."""

    keys = models.PositiveBigIntegerField(default=0)
    """Counts what keys are, and what their owners are and may."""

    class Meta:
        verbose_name = _("version of the configuration")
        verbose_name_plural = _("version of the configuration")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.configuration}.{self.keys}"

    @classmethod
    def hold(cls) -> None:
        """Have whoever else changes the configuration wait until this transaction is over: what is read from here on
        stays so. It writes, because not every database has a lock for what is only read."""
        same = {"configuration": models.F("configuration")}
        if not cls.objects.filter(pk=1).update(**same):
            cls.objects.get_or_create(pk=1)
            cls.objects.filter(pk=1).update(**same)

    @classmethod
    def bump(cls, *counters: str) -> None:
        """Count a change, in the transaction that makes it: nobody sees the one without the other."""
        step = {counter: models.F(counter) + 1 for counter in counters}
        if not cls.objects.filter(pk=1).update(**step):
            cls.objects.get_or_create(pk=1)
            cls.objects.filter(pk=1).update(**step)
