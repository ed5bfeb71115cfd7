"""What calls said and were answered, of those that the operator wants to read. Encrypted, and deleted before long."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings as site
from django.db import models
from django.utils.translation import gettext_lazy as _

from ai_gateway.fields import EncryptedField
from ai_gateway.models.keys import VirtualKey
from ai_gateway.models.usage import reference


class RecordedCall(models.Model):
    """The bodies of one call. Its id is that of its usage record, which may be deleted before or after it."""

    id = models.UUIDField(_("id"), primary_key=True)
    recorded_at = models.DateTimeField(_("time"))
    key = reference(VirtualKey, _("key"))
    user = reference(site.AUTH_USER_MODEL, _("user"))
    bytes_kept = models.PositiveIntegerField(_("bytes kept"), default=0)
    is_cut = models.BooleanField(_("cut"), default=False, help_text=_("A body was longer than is kept."))
    document = EncryptedField(_("bodies"), editable=False)

    class Meta:
        verbose_name = _("recorded call")
        verbose_name_plural = _("recorded calls")
        default_permissions = ("view",)
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["recorded_at"], name="ai_gateway_recorded_time")]

    def __str__(self) -> str:
        return str(self.id)

    def encryption_context(self, field: str) -> str:
        """Bind the bodies to the call: moved to another row they do not open."""
        return str(self.id)
