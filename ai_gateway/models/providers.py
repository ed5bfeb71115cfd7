"""Where calls can go, and what with."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from ai_gateway import crypto, providers, validators
from ai_gateway.conf import settings
from ai_gateway.credentials import Secret, is_permitted
from ai_gateway.exact_text import ExactCharField
from ai_gateway.fields import EncryptedField
from ai_gateway.keyring import keyring
from ai_gateway.models.base import HINT_LENGTH, LIMIT_OF_A_NAME, SHORTEST_HINTED, TimeStamped, is_right
from ai_gateway.patterns import fits


class Provider(TimeStamped):
    """Where calls can go: a row of the catalogue or a class of the site's own, with what is different about it here."""

    alias = ExactCharField(
        _("alias"),
        max_length=LIMIT_OF_A_NAME,
        unique=True,
        validators=[validators.validate_alias],
        help_text=_("What callers write in x-provider, and before the slash of a model's name."),
    )
    label = ExactCharField(_("name"), max_length=LIMIT_OF_A_NAME, blank=True, help_text=_("The name for people."))
    backend = ExactCharField(
        _("backend"),
        max_length=LIMIT_OF_A_NAME,
        help_text=_('A name of the catalogue, "custom" for any OpenAI-compatible API, or a dotted path to a class.'),
    )
    base_url = ExactCharField(
        _("base URL"),
        max_length=500,
        blank=True,
        validators=[validators.validate_base_url],
        help_text=_(
            "Where the API is, as its documentation writes it. Empty for the backend's own. "
            "Stored credentials must be entered again if this leads to another host."
        ),
    )
    allow_private = models.BooleanField(
        _("on a private address"),
        default=False,
        help_text=_("Whether its host may be inside the own network. Without this, such a host is not called."),
    )
    dialects = models.JSONField(
        _("wire formats"),
        default=list,
        blank=True,
        validators=[validators.validate_dialects],
        help_text=_("The formats that it speaks, where they are not the backend's."),
    )
    timeouts = models.JSONField(
        _("timeouts"),
        default=dict,
        blank=True,
        validators=[validators.validate_timeouts],
        help_text=_('Seconds by phase, for example {"first_byte": 60, "idle": 120}. What is missing is the site\'s.'),
    )
    max_concurrency = models.PositiveIntegerField(
        _("concurrent calls"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("How many calls it takes at once. Empty for no limit."),
    )
    options = models.JSONField(
        _("other options"),
        default=dict,
        blank=True,
        validators=[validators.validate_mapping],
        help_text=_('Other facts of the backend, for example {"region": "eu-west-1"}. Never a secret.'),
    )
    is_enabled = models.BooleanField(_("enabled"), default=True, help_text=_("Switched off, it does not exist here."))

    class Meta:
        verbose_name = _("provider")
        verbose_name_plural = _("providers")
        ordering: ClassVar[list[str]] = ["alias"]

    def __str__(self) -> str:
        return self.alias

    def clean(self) -> None:
        """Build the provider, as a call would. Raises ValidationError."""
        super().clean()
        self.alias = self.alias.lower()
        if not is_right(self):
            return  # Each field says what is wrong with it.
        secret = next((name for name in self.options if is_secret_option(name)), None)
        if secret is not None:
            raise ValidationError({"options": _("%(name)s is a secret: add a credential.") % {"name": secret}})
        misplaced = {"base_url", "allow_private", "dialects", "timeouts", "label", "max_concurrency"} & set(
            self.options
        )
        if misplaced:
            raise ValidationError({"options": _("%(name)s has a field of its own.") % {"name": min(misplaced)}})
        try:
            self.check_backend()
        except ValueError as error:
            raise ValidationError({"backend": str(error)}) from error
        try:
            self.build()
        except (ValueError, TypeError, ImportError, OSError) as error:
            raise ValidationError(
                _("This provider could not be called. %(reason)s"), params={"reason": error}, code="invalid_provider"
            ) from error

    def entry(self) -> dict[str, Any]:
        """Write it as an entry of `AI_GATEWAY["PROVIDERS"]`, without credentials."""
        given = {
            "label": self.label,
            "base_url": self.base_url,
            "allow_private": self.allow_private,
            "dialects": self.dialects,
            "timeouts": self.timeouts,
            "max_concurrency": self.max_concurrency,
        }
        options = {name: value for name, value in given.items() if value}
        return {"BACKEND": self.backend, "OPTIONS": {**self.options, **options}}

    def check_backend(self) -> None:
        """Raise ValueError for one that there is not, and for a dotted path that is not permitted: it must not even be
        imported, for a function that it leads to is called."""
        if self.backend.lower() in providers.CATALOG:
            return
        if "." not in self.backend:
            known = ", ".join(sorted(providers.CATALOG))
            raise ValueError(
                f'There is no backend {self.backend!r}. Write "custom" for any OpenAI-compatible API, '
                f"or one of: {known}."
            )
        if not fits(self.backend, settings.STORED_BACKENDS):
            permitted = ", ".join(settings.STORED_BACKENDS) or "none"
            raise ValueError(
                f"The backend {self.backend!r} is not permitted. AI_GATEWAY['STORED_BACKENDS'] permits: {permitted}."
            )

    def build(self, secrets: Mapping[str, Secret] | None = None) -> providers.Provider:
        """Make what serves calls, with secrets of its options, or without. Raises ValueError, TypeError, ImportError or
        OSError."""
        self.check_backend()
        entry = self.entry()
        return providers.build_provider(self.alias, {**entry, "OPTIONS": {**entry["OPTIONS"], **(secrets or {})}})

    @property
    def host(self) -> str:
        """Where its credentials go: scheme, host and port. Raises what `build` raises."""
        origin = self.build().base.origin
        return f"{origin.scheme}://{origin.host}:{origin.port}"


def is_secret_option(name: str) -> bool:
    """Whether an option of this name holds a secret."""
    return name.lower().endswith(("key", "secret", "token", "password", "key_id"))


class ProviderCredential(TimeStamped):
    """What a provider is called with: a secret of its own, or a reference to where one is kept.

    A secret is encrypted for this row and for the host that it was entered for. If the provider is moved to another
    host, it does not open any more: who may edit an address cannot have a credential sent there that others stored.
    """

    class State(models.TextChoices):
        """Whether it is used."""

        ACTIVE = "active", _("active")
        DISABLED = "disabled", _("disabled")

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    provider = models.ForeignKey(
        Provider, on_delete=models.CASCADE, related_name="credentials", verbose_name=_("provider")
    )
    name = ExactCharField(
        _("name"), max_length=LIMIT_OF_A_NAME, help_text=_("For people to tell it from the provider's others.")
    )
    option = ExactCharField(
        _("option"),
        max_length=100,
        default="api_key",
        help_text=_("What it is to the provider: api_key, or for example secret_access_key of Amazon Bedrock."),
    )
    secret = EncryptedField(
        _("secret"),
        blank=True,
        help_text=_("The credential itself. It is encrypted and never shown again; leave it empty to keep it."),
    )
    secret_hint = ExactCharField(_("ends in"), max_length=HINT_LENGTH, blank=True, editable=False)
    reference = ExactCharField(
        _("reference"),
        max_length=500,
        blank=True,
        validators=[RegexValidator(r"\A(env:[A-Za-z_][A-Za-z0-9_]*|file:/\S+)\Z", _("Write env:NAME or file:/path."))],
        help_text=_("In place of a secret: env:NAME of an environment variable, or file:/path of a file."),
    )
    weight = models.PositiveSmallIntegerField(
        _("weight"),
        default=1,
        validators=[MinValueValidator(1)],
        help_text=_("Its share of the calls, in proportion to the weights of the provider's others."),
    )
    state = models.CharField(_("state"), max_length=20, choices=State.choices, default=State.ACTIVE)

    class Meta:
        verbose_name = _("credential")
        verbose_name_plural = _("credentials")
        ordering: ClassVar[list[str]] = ["provider", "name"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["provider", "name"],
                name="ai_gateway_credential_name",
                violation_error_message=_("This provider has a credential of that name already."),
            )
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, and note the last letters of a new secret."""
        if isinstance(self.secret, Secret):
            self.secret_hint = hint_of(self.secret)
        elif not self.secret:
            self.secret_hint = ""
        super().save(*args, **kwargs)

    def clean(self) -> None:
        """Check that there is one secret or one reference, and that it may be used. Raises ValidationError."""
        if self.reference and not isinstance(self.secret, Secret):
            self.secret = ""  # A reference takes the place of what was stored.
        if bool(self.secret) == bool(self.reference):
            raise ValidationError(_("Enter either a secret or a reference."), code="secret_or_reference")
        if not is_secret_option(self.option):
            raise ValidationError({"option": _("This is no option that holds a secret.")})
        if self.reference and not is_permitted(self.reference, settings.STORED_REFERENCES):
            permitted = ", ".join(settings.STORED_REFERENCES)
            message = _("This reference is not permitted. AI_GATEWAY['STORED_REFERENCES'] permits: %(permitted)s.")
            raise ValidationError({"reference": message % {"permitted": permitted}})
        if isinstance(self.secret, Secret):
            self.clean_secret(self.secret)

    def clean_secret(self, secret: Secret) -> None:
        """Check a secret that was just entered. Raises ValidationError, which does not show it."""
        if not is_sendable(secret):
            raise ValidationError({"secret": _("It has blanks around it, or characters that no header can carry.")})
        try:
            keyring()
            self.encryption_context("secret")
        except crypto.CryptoError as error:
            raise ValidationError({"secret": str(error)}) from error
        except (ValueError, TypeError, ImportError, OSError) as error:
            message = _("The provider must be put right first. %(reason)s")
            raise ValidationError(message, params={"reason": error}) from error

    def encryption_context(self, field: str) -> str:
        """Bind the secret to this row and to the host that it is for."""
        return f"{self.uid}@{self.provider.host}"


def hint_of(secret: Secret) -> str:
    """Give the last letters of a secret that is long enough to spare them."""
    value = secret.reveal()
    return value[-HINT_LENGTH:] if len(value) >= SHORTEST_HINTED else ""


def is_sendable(secret: Secret) -> bool:
    """Whether a secret can stand in a header."""
    value = secret.reveal()
    return value == value.strip() and value.isascii() and value.isprintable()
