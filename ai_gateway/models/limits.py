"""How often, how much, how many at once: limits, and what the database backend keeps to enforce them."""

from __future__ import annotations

import re
from typing import Any, ClassVar
from zoneinfo import available_timezones

from django.conf import settings as site
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from ai_gateway.allowances import SECRET_HEADERS, most_of
from ai_gateway.exact_text import ExactCharField
from ai_gateway.models.base import LIMIT_OF_A_NAME, TimeStamped
from ai_gateway.models.keys import VirtualKey

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What the name of a header is made of (RFC 9110, 5.6.2)."""


class Limit(TimeStamped):
    """What may be used of the gateway: by a key, a user, a group, everybody; of a route, a provider, a model.

    A limit of a scope that names nobody in particular holds for each one by itself: "each key 60 requests a minute".
    """

    class Scope(models.TextChoices):
        """Whose calls are counted together."""

        EVERYONE = "everyone", _("everybody together")
        KEY = "key", _("a key")
        USER = "user", _("a user")
        GROUP = "group", _("a group")
        ROUTE = "route", _("a route")
        PROVIDER = "provider", _("a provider")
        MODEL = "model", _("a model")
        HEADER = "header", _("a value of a header")

    class Measure(models.TextChoices):
        """What is counted."""

        REQUESTS = "requests", _("requests")
        TOKENS = "tokens", _("tokens")
        COST = "cost", _("dollars")
        CONCURRENCY = "concurrency", _("calls at once")

    class Window(models.TextChoices):
        """In which time. A minute slides; all others are of the calendar."""

        MINUTE = "minute", _("in a minute")
        HOUR = "hour", _("in an hour")
        DAY = "day", _("in a day")
        WEEK = "week", _("in a week")
        MONTH = "month", _("in a month")
        TOTAL = "total", _("in all")
        NONE = "", _("at once")

    name = ExactCharField(
        _("name"), max_length=LIMIT_OF_A_NAME, unique=True, help_text=_("Callers that it refuses are told this name.")
    )
    scope = models.CharField(_("scope"), max_length=20, choices=Scope.choices)
    key = models.ForeignKey(
        VirtualKey, on_delete=models.CASCADE, null=True, blank=True, related_name="limits", verbose_name=_("key")
    )
    user = models.ForeignKey(
        site.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="gateway_limits",
        verbose_name=_("user"),
    )
    group = models.ForeignKey(
        Group, on_delete=models.CASCADE, null=True, blank=True, related_name="gateway_limits", verbose_name=_("group")
    )
    header = ExactCharField(
        _("header"),
        max_length=100,
        blank=True,
        help_text=_("For a limit of a header's values: the header, for example x-user-id."),
    )
    subject = ExactCharField(
        _("which"),
        max_length=LIMIT_OF_A_NAME,
        blank=True,
        help_text=_(
            "The route, the provider, the model (or provider/model), or the value of the header, with * for anything. "
            "Empty: each one by itself."
        ),
    )
    measure = models.CharField(_("counts"), max_length=20, choices=Measure.choices)
    window = models.CharField(_("window"), max_length=10, choices=Window.choices, blank=True, default=Window.NONE)
    amount = models.DecimalField(
        _("amount"), max_digits=20, decimal_places=9, validators=[MinValueValidator(0)], help_text=_("What is allowed.")
    )
    soft_percent = models.PositiveSmallIntegerField(
        _("warn at (%)"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text=_("From this share on, answers carry a warning and a signal is sent. Empty: no warning."),
    )
    is_soft = models.BooleanField(
        _("warns only"), default=False, help_text=_("Whether it never refuses, but only warns when it is used up.")
    )
    time_zone = ExactCharField(
        _("time zone"),
        max_length=64,
        blank=True,
        help_text=_("In which its days begin, for example Europe/Vienna. Empty for that of the gateway."),
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)

    class Meta:
        verbose_name = _("limit")
        verbose_name_plural = _("limits")
        ordering: ClassVar[list[str]] = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Check that the parts fit together. Raises ValidationError."""
        super().clean()
        problems: dict[str, Any] = {}
        is_at_once = self.measure == self.Measure.CONCURRENCY
        if is_at_once != (self.window == self.Window.NONE):
            problems["window"] = (
                _("Calls at once have no window.") if is_at_once else _("Choose in which time they are counted.")
            )
        if self.measure == self.Measure.COST and self.window == self.Window.MINUTE:
            problems["window"] = _("Money is counted by the hour or longer.")
        if self.measure != self.Measure.COST and self.amount is not None and self.amount % 1:
            problems["amount"] = _("Only dollars have a fraction.")
        if self.measure in self.Measure.values and self.amount is not None and self.amount > most_of(self.measure):
            problems["amount"] = _("At most %(most)s can be counted.") % {"most": f"{most_of(self.measure):,}"}
        for name in ("key", "user", "group"):
            if getattr(self, f"{name}_id") is not None and self.scope != name:
                problems[name] = _("The scope is another one.")
        if self.subject and self.scope not in (
            self.Scope.ROUTE,
            self.Scope.PROVIDER,
            self.Scope.MODEL,
            self.Scope.HEADER,
        ):
            problems["subject"] = _("The scope says it already.")
        if bool(self.header) != (self.scope == self.Scope.HEADER):
            problems["header"] = _("The header belongs to the scope of a header's values.")
        elif self.header and not TOKEN.fullmatch(self.header):
            problems["header"] = _("No header has such a name.")
        elif self.header.lower() in SECRET_HEADERS:
            problems["header"] = _("It holds a secret, which would be written down in clear. Use the scope of a key.")
        if self.time_zone and self.time_zone not in available_timezones():
            problems["time_zone"] = _("There is no such time zone.")
        if problems:
            raise ValidationError(problems)

    def entry(self) -> dict[str, Any]:
        """Write it as the entry of `AI_GATEWAY["LIMITS"]` that says the same."""
        particular = {"key": self.key_id, "user": self.user_id, "group": self.group_id}.get(self.scope)
        return {
            "name": self.name,
            "scope": self.scope,
            "subject": self.subject if particular is None else particular,
            "header": self.header,
            "measure": self.measure,
            "window": self.window,
            "amount": self.amount,
            "soft_percent": self.soft_percent,
            "is_soft": self.is_soft,
            "time_zone": self.time_zone,
        }


class LimitCounter(models.Model):
    """Where a limit stands, kept by the database backend (`limits/database.py`)."""

    name = ExactCharField(max_length=255, unique=True)
    spent = models.BigIntegerField(default=0)
    reserved = models.BigIntegerField(default=0)
    arrival_at = models.BigIntegerField(default=0)
    """For rates: the theoretical arrival time of GCRA, in microseconds since 1970. For others: when it was last taken
    of, so that it is not taken for idle while a call that reserved nothing is under way."""
    ends_at = models.BigIntegerField(default=0)
    """When it is of no use any more, in seconds since 1970; 0 for never."""

    class Meta:
        verbose_name = _("counter")
        verbose_name_plural = _("counters")
        default_permissions = ()
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["ends_at"], name="ai_gateway_counter_end")]

    def __str__(self) -> str:
        return self.name


class Reservation(models.Model):
    """What one call has taken of a counter and not yet settled."""

    call = models.UUIDField()
    counter = ExactCharField(max_length=255)
    amount = models.BigIntegerField()
    expires_at = models.BigIntegerField()
    """When it is taken for spent, in seconds since 1970: whoever made it is dead."""
    is_open = models.BooleanField(default=True)

    class Meta:
        verbose_name = _("reservation")
        verbose_name_plural = _("reservations")
        default_permissions = ()
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["call", "counter"], name="ai_gateway_reservation_once")
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["counter", "is_open"], name="ai_gateway_reservation_open"),
            models.Index(fields=["is_open", "expires_at"], name="ai_gateway_reservation_due"),
        ]

    def __str__(self) -> str:
        return f"{self.call} {self.counter}"
