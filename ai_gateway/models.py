"""The configuration that people keep in the database: providers and their credentials, routes, and who holds a key.

Users and groups are Django's own: a group is a team. Nothing here is read on the path of a request. `stored.py` turns
providers and routes into the registry's snapshot, `key_store.py` looks keys up, and `changes.py` counts every change in
the one `ConfigurationVersion`, which all processes of all hosts watch.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from functools import partial
from typing import Any, ClassVar

from django.conf import settings as site
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ai_gateway import crypto, providers, validators
from ai_gateway.conf import settings
from ai_gateway.credentials import Secret, is_permitted
from ai_gateway.fields import EncryptedField
from ai_gateway.keyring import keyring
from ai_gateway.providers import CATALOG

LIMIT_OF_A_NAME = 200

HINT_LENGTH = 4
"""Letters of a stored secret that are shown, for people to tell one from the other."""

SHORTEST_HINTED = 20
"""Of a shorter secret nothing is shown: four letters would be too much of it."""

NamesField = partial(models.JSONField, default=list, blank=True, validators=[validators.validate_names])


class TimeStamped(models.Model):
    """When a row was made, and last changed by a person."""

    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    class Meta:
        abstract = True

    def clean(self) -> None:
        """Take an empty list or object for what was left empty: a form gives None for it."""
        for field in self._meta.concrete_fields:
            if isinstance(field, models.JSONField) and not getattr(self, field.attname):
                setattr(self, field.attname, field.get_default())


class Provider(TimeStamped):
    """Where calls can go: a row of the catalogue or a class of the site's own, with what is different about it here."""

    alias = models.CharField(
        _("alias"),
        max_length=LIMIT_OF_A_NAME,
        unique=True,
        validators=[validators.validate_alias],
        help_text=_("What callers write in x-provider, and before the slash of a model's name."),
    )
    label = models.CharField(_("name"), max_length=LIMIT_OF_A_NAME, blank=True, help_text=_("The name for people."))
    backend = models.CharField(
        _("backend"),
        max_length=LIMIT_OF_A_NAME,
        help_text=_('A name of the catalogue, "custom" for any OpenAI-compatible API, or a dotted path to a class.'),
    )
    base_url = models.CharField(
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
        if not isinstance(self.options, dict):
            return  # Its field says so.
        secret = next((name for name in self.options if is_secret_option(name)), None)
        if secret is not None:
            raise ValidationError({"options": _("%(name)s is a secret: add a credential.") % {"name": secret}})
        misplaced = {"base_url", "allow_private", "dialects", "timeouts", "label", "max_concurrency"} & set(
            self.options
        )
        if misplaced:
            raise ValidationError({"options": _("%(name)s has a field of its own.") % {"name": min(misplaced)}})
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

    def build(self) -> providers.Provider:
        """Make what serves calls, without credentials. Raises ValueError, TypeError, ImportError or OSError."""
        return providers.build_provider(self.alias, self.entry())

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
    name = models.CharField(
        _("name"), max_length=LIMIT_OF_A_NAME, help_text=_("For people to tell it from the provider's others.")
    )
    option = models.CharField(
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
    secret_hint = models.CharField(_("ends in"), max_length=HINT_LENGTH, blank=True, editable=False)
    reference = models.CharField(
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
            value = self.secret.reveal()
            self.secret_hint = value[-HINT_LENGTH:] if len(value) >= SHORTEST_HINTED else ""
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
            self.clean_secret(self.secret.reveal())

    def clean_secret(self, secret: str) -> None:
        """Check a secret that was just entered. Raises ValidationError, which does not show it."""
        if secret != secret.strip() or not (secret.isascii() and secret.isprintable()):
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


class Route(TimeStamped):
    """A model name of the gateway's own, and where it leads."""

    class Strategy(models.TextChoices):
        """In which order the targets are tried."""

        FAILOVER = "failover", _("in order: the next one if the one before fails")
        WEIGHTED = "weighted", _("at random, in proportion to their weights")

    name = models.CharField(
        _("name"),
        max_length=LIMIT_OF_A_NAME,
        unique=True,
        validators=[validators.validate_model_name],
        help_text=_("What callers write as the model."),
    )
    description = models.CharField(_("description"), max_length=500, blank=True)
    strategy = models.CharField(
        _("strategy"), max_length=20, choices=Strategy.choices, default=Strategy.FAILOVER, help_text=_("Who is asked.")
    )
    tags = NamesField(verbose_name=_("tags"), help_text=_("For reports and policies."))
    is_public = models.BooleanField(
        _("open to everybody"),
        default=True,
        help_text=_("Whether every caller may use it. If not, only the users and groups below, and who may use all."),
    )
    users = models.ManyToManyField(
        site.AUTH_USER_MODEL, blank=True, related_name="+", verbose_name=_("users"), help_text=_("Who may use it.")
    )
    groups = models.ManyToManyField(
        Group, blank=True, related_name="+", verbose_name=_("groups"), help_text=_("Whose members may use it.")
    )
    is_enabled = models.BooleanField(_("enabled"), default=True, help_text=_("Switched off, it does not exist."))

    class Meta:
        verbose_name = _("route")
        verbose_name_plural = _("routes")
        ordering: ClassVar[list[str]] = ["name"]
        permissions: ClassVar[list[tuple[str, Any]]] = [("use_route", _("Can use every route, open or not"))]

    def __str__(self) -> str:
        return self.name


class RouteTarget(models.Model):
    """One of the places that a route leads to."""

    route = models.ForeignKey(Route, on_delete=models.CASCADE, related_name="targets", verbose_name=_("route"))
    position = models.PositiveSmallIntegerField(_("position"), default=0, help_text=_("Lower ones are tried first."))
    provider = models.CharField(
        _("provider"),
        max_length=LIMIT_OF_A_NAME,
        validators=[validators.validate_alias],
        help_text=_("The alias of a provider: one of the database, of the settings, or of the catalogue."),
    )
    model = models.CharField(
        _("model"),
        max_length=LIMIT_OF_A_NAME,
        validators=[validators.validate_model_name],
        help_text=_("The provider's own name of the model."),
    )
    weight = models.PositiveSmallIntegerField(
        _("weight"),
        default=1,
        validators=[MinValueValidator(1)],
        help_text=_("Its share of the calls, if the strategy goes by weight."),
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)

    class Meta:
        verbose_name = _("target")
        verbose_name_plural = _("targets")
        ordering: ClassVar[list[str]] = ["route", "position", "pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["route", "provider", "model"],
                name="ai_gateway_target_once",
                violation_error_message=_("This route has that target already."),
            )
        ]

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"

    def clean(self) -> None:
        """Check that there is such a provider. Raises ValidationError."""
        self.provider = self.provider.lower()
        if self.provider not in known_aliases():
            raise ValidationError({"provider": _("There is no provider %(alias)s.") % {"alias": self.provider}})


def known_aliases() -> set[str]:
    """The names that lead to a provider: of the catalogue, the settings and the database."""
    return {*CATALOG, *map(str.lower, settings.PROVIDERS), *Provider.objects.values_list("alias", flat=True)}


class VirtualKey(TimeStamped):
    """A key to this gateway. Of the key itself only an HMAC is kept, under a key of its own that is encrypted."""

    public_id = models.CharField(
        _("public id"), max_length=crypto.PUBLIC_ID_LENGTH, unique=True, editable=False, help_text=_("Its middle part.")
    )
    hash_key = EncryptedField(editable=False)
    digest = models.CharField(max_length=64, editable=False)
    secret_hint = models.CharField(_("ends in"), max_length=HINT_LENGTH, editable=False)
    name = models.CharField(_("name"), max_length=LIMIT_OF_A_NAME, help_text=_("What it is for."))
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
        """Check that the owner is a member of the group. Raises ValidationError."""
        super().clean()
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
    def bump(cls, *counters: str) -> None:
        """Count a change, in the transaction that makes it: nobody sees the one without the other."""
        step = {counter: models.F(counter) + 1 for counter in counters}
        if not cls.objects.filter(pk=1).update(**step):
            cls.objects.get_or_create(pk=1)
            cls.objects.filter(pk=1).update(**step)
