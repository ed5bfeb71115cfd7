"""Who holds a key to this gateway, and what for."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings as site
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ai_gateway import crypto, validators
from ai_gateway.exact_text import ExactCharField
from ai_gateway.fields import EncryptedField
from ai_gateway.keyring import keyring
from ai_gateway.models import base
from ai_gateway.models.base import HINT_LENGTH, LIMIT_OF_A_NAME, NamesField, TimeStamped


class VirtualKey(TimeStamped):
    """A key to this gateway. Of the key itself only an HMAC is kept, under a key of its own that is encrypted."""

    public_id = ExactCharField(
        _("public id"), max_length=crypto.PUBLIC_ID_LENGTH, unique=True, editable=False, help_text=_("Its middle part.")
    )
    hash_key = EncryptedField(editable=False)
    digest = ExactCharField(max_length=64, editable=False)
    secret_hint = ExactCharField(_("ends in"), max_length=HINT_LENGTH, editable=False)
    name = ExactCharField(_("name"), max_length=LIMIT_OF_A_NAME, help_text=_("What it is for."))
    user = models.ForeignKey(
        site.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="gateway_keys",
        verbose_name=_("owner"),
        help_text=_("A key works as long as its owner is active."),
    )
    group = models.ForeignKey(
        Group,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="gateway_keys",
        verbose_name=_("group"),
        help_text=_("The team that it is used for. It works as long as its owner is a member."),
    )
    allowed_models = NamesField(
        verbose_name=_("allowed models"),
        help_text=_('Names of routes, models, or provider/model, with *: ["fast", "openai/*"]. Empty: all.'),
    )
    allowed_providers = NamesField(
        verbose_name=_("allowed providers"), help_text=_("Aliases, with * for anything. Empty: all.")
    )
    allowed_endpoints = NamesField(
        verbose_name=_("allowed endpoints"),
        help_text=_('Paths below /v1/, with * for anything: ["chat/completions", "models*"]. Empty: all.'),
    )
    allowed_networks = models.JSONField(
        _("allowed networks"),
        default=list,
        blank=True,
        validators=[validators.validate_networks],
        help_text=_('Where it may be used from: ["192.0.2.0/24", "2001:db8::/32"]. Empty: everywhere.'),
    )
    may_choose_fallbacks = models.BooleanField(
        _("may choose fallbacks"),
        default=True,
        db_default=True,  # For processes that do not know the column yet, while a site is updated.
        help_text=_("Whether a call may name, by header or body, the models that are asked if the first one fails."),
    )
    records_bodies = base.records_bodies()
    guardrails = base.guardrails()
    caching = base.caching()
    metadata = models.JSONField(
        _("metadata"), default=dict, blank=True, validators=[validators.validate_metadata], help_text=_("For reports.")
    )
    tags = NamesField(verbose_name=_("tags"), help_text=_("For reports and policies."))
    is_active = models.BooleanField(_("active"), default=True, help_text=_("Switch it off to revoke the key."))
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True, help_text=_("Empty for never."))
    last_used_at = models.DateTimeField(_("last used at"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("virtual key")
        verbose_name_plural = _("virtual keys")
        ordering: ClassVar[list[str]] = ["-pk"]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["name"], name="ai_gateway_key_name"),
            models.Index(fields=["expires_at"], name="ai_gateway_key_expiry"),
        ]
        permissions: ClassVar[list[tuple[str, Any]]] = [
            ("issue_keys", _("Can issue keys to other people")),
            ("issue_own_keys", _("Can issue keys for themselves")),
            ("view_usage", _("Can see what other people used")),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Check that the owner is a member of the group, and that a new key has not ended. Raises ValidationError."""
        super().clean()
        if self._state.adding and self.is_expired:
            raise ValidationError({"expires_at": _("This is past: the key would never work.")}, code="expired")
        member_of = getattr(self.user, "groups", None) if self.user_id is not None else None
        if self.group_id is not None and member_of is not None and not member_of.filter(pk=self.group_id).exists():
            raise ValidationError({"group": _("The owner is not a member of this group.")}, code="no_member")

    def issue(self) -> str:
        """Give this row a new key, in place of the one that it may have had, and return it, this once. Does not save.
        Raises CryptoError if there is no encryption key."""
        keyring()
        issued = crypto.issue_key(self.public_id or None)
        self.public_id = issued.public_id
        self.hash_key = issued.hash_key
        self.digest = issued.digest
        self.secret_hint = issued.token[-HINT_LENGTH:]
        return issued.token

    @property
    def shown(self) -> str:
        """The key as it may be shown: its public id and last letters."""
        return f"gw_{self.public_id}_…{self.secret_hint}"

    @property
    def is_expired(self) -> bool:
        """Whether its time is over."""
        expires_at: datetime | None = self.expires_at
        return expires_at is not None and expires_at <= timezone.now()

    def encryption_context(self, field: str) -> str:
        """Bind the hash key to this row's public id."""
        return self.public_id
